#!/usr/bin/python3
"""Checks that includes point down the layers only.

A file may include headers of its own folder and of the folders above it in layers.txt. Product
code takes nothing from the system but the compiler's freestanding headers. guest/abi.h is the
contract with the guests, and anyone may know it. The guest programs stand apart: beside their own
files they know only that, lib/, and what single ones of them are linked with: the decoder, which
makes up instructions, and the bus, which is measured.
"""

import pathlib
import re
import sys

LAYERS = (pathlib.Path(__file__).parent / "layers.txt").read_text().split()  # bottom up
PROGRAMS = "guest/programs"
CONTRACT = "guest/abi.h"
LINKED = ("mmio/decode.h", "mmio/bus.h")
FREESTANDING = {"stdint.h", "stddef.h", "stdbool.h", "stdarg.h", "stdnoreturn.h", "limits.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def layer_of(path: str) -> str | None:
    return next((layer for layer in LAYERS if path.startswith(layer + "/")), None)


def complaint(path: str, kind: str, included: str) -> str | None:
    """Why `path` must not include `included`, or None."""
    if kind == "<":
        return None if included in FREESTANDING else "is not a freestanding header"
    if included == CONTRACT:
        return None
    if path.startswith(PROGRAMS + "/"):
        allowed = included.startswith((PROGRAMS + "/", "lib/", *LINKED))
        return None if allowed else "is not for guest programs (only guest/abi.h and lib/ are)"
    own, other = layer_of(path), layer_of(included)
    if other is None:
        return "is in no layer; name it from the root"
    assert own is not None
    if included.startswith(PROGRAMS + "/"):
        return "belongs to the guest programs"
    if LAYERS.index(other) > LAYERS.index(own):
        return f"points up, from {own}/ to {other}/"
    return None


def check(root: pathlib.Path) -> list[str]:
    found = []
    for layer in LAYERS:
        for file in sorted((root / layer).rglob("*.[chS]")):
            path = file.relative_to(root).as_posix()
            for number, line in enumerate(file.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                why = match and complaint(path, match[1], match[2])
                if match and why:
                    found.append(f"{path}:{number}: {match[2]} {why}")
    return found


if __name__ == "__main__":
    complaints = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(complaints), end="\n" * bool(complaints))
    sys.exit(bool(complaints))
