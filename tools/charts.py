# SPDX-License-Identifier: MIT
"""Charts as SVG. Text stays text, and the same numbers always give the same bytes."""

import pathlib

from harness.errors import HarnessError


def pyplot():
    try:
        import matplotlib
    except ImportError as error:
        raise HarnessError("the chart needs python3-matplotlib: tools/deps.sh bench") from error
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "eptvisor", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot as module

    return module


def save(figure, path: pathlib.Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
