# SPDX-License-Identifier: MIT
"""How costs grow with the number of slots, regions or pages: rows of the budget named `curve@n`.

They become tables of docs/PERFORMANCE.md, docs/scaling.svg, and build/bench/scaling.csv.
"""

import pathlib

import charts
from harness.boot import BUILD, ROOT

CHART = ROOT / "docs/scaling.svg"
CSV = BUILD / "bench/scaling.csv"
# The x axes, and the curves over each of them, with their labels.
AXES = {
    "slots": {
        "mmio_write": "MMIO write, made before",
        "slot_fault": "first touch, in another slot than the last fault",
        "mmio_after_slot": "first MMIO write after a slot was added and deleted",
        "slot_delete": "deleting a slot in the middle",
        "slot_add": "adding a slot in the middle",
    },
    "regions of a bus": {"bus_read": "finding and reading a device"},
    "MiB": {
        "zap": "zapping all leaves of 2 MiB",
        "harvest_clean": "harvesting the dirty log of a slot that was not written",
        "harvest_dirty": "harvesting the dirty log of a slot that was wholly written",
    },
}

Cells = dict[str, dict[str, list[str]]]  # by set and row
Curves = dict[str, dict[int, int]]


def curves(sets: Cells) -> Curves:
    found: Curves = {}
    for rows in sets.values():
        for row, cells in rows.items():
            name, at, n = row.partition("@")
            if at:
                found.setdefault(name, {})[int(n)] = int(cells[0])
    return found


def tables(sets: Cells) -> str:
    found, lines = curves(sets), []
    for axis, names in AXES.items():
        if not any(name in found for name in names):
            continue
        places = sorted({n for name in names for n in found.get(name, {})})
        lines += [f"| {axis} | " + " | ".join(map(str, places)) + " |",
                  "|---" * (len(places) + 1) + "|"]  # fmt: skip
        for name, what in names.items():
            cells = (str(found.get(name, {}).get(n, "")) for n in places)
            lines.append(f"| {what} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines[:-1])


def write_csv(sets: Cells, path: pathlib.Path = CSV) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    axis_of = {name: axis for axis, names in AXES.items() for name in names}
    lines = ["curve,of,n,instructions"]
    for name, points in curves(sets).items():
        lines += [f"{name},{axis_of[name]},{n},{value}" for n, value in points.items()]
    path.write_text("\n".join(lines) + "\n")


def draw(sets: Cells) -> None:
    """Draws a chart for each axis; the legend has each curve's label and last value."""
    found = curves(sets)
    axes = {axis: names for axis, names in AXES.items() if any(name in found for name in names)}
    size = (4 * len(axes), 4)
    figure, pictures = charts.pyplot().subplots(1, len(axes), figsize=size, sharey=True)
    for picture, (axis, names) in zip(pictures, axes.items(), strict=True):
        places = sorted({n for name in names for n in found.get(name, {})})
        for name, what in names.items():
            at, values = zip(*sorted(found[name].items()), strict=True)
            picture.plot(at, values, marker="o", markersize=3, label=f"{what}: {values[-1]}")
        picture.set(xscale="log", yscale="log", xlabel=axis, xticks=places,
                    xticklabels=map(str, places))  # fmt: skip
        picture.minorticks_off()
        picture.spines[["top", "right"]].set_visible(False)
        picture.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), fontsize=8)
    pictures[0].set_ylabel("instructions")
    charts.save(figure, CHART)
