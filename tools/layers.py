#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks that includes and calls point down the layers only.

A file may include headers of its own folder and of the folders listed before it in layers.txt.
Product code includes nothing from the system but the compiler's freestanding headers, and Linux'
headers for user space. Every file may include guest/abi.h, the contract with the guests. Guest
programs include only their own files, guest/abi.h, lib/, the boot shim's TDCALL, and two headers of
code that single programs are linked with: the decoder, for generating instructions, and the bus,
which is measured. The boot shim of a TD includes only its own files, lib/ and the status codes;
guest/shim/interface.h is its contract with the loader.
"""

import pathlib
import re
import subprocess
import sys

LAYERS = (pathlib.Path(__file__).parent / "layers.txt").read_text().split()  # bottom up
PROGRAMS = "guest/programs"
SHIM = "guest/shim"
CONTRACTS = ("guest/abi.h", "guest/shim/interface.h")
LINKED = ("mmio/decode.h", "mmio/bus.h", "guest/shim/tdcall.h")
STATUSES = "ept/tdx_status.h"
FREESTANDING = {"stdint.h", "stddef.h", "stdbool.h", "stdarg.h", "stdnoreturn.h", "limits.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def layer_of(path: str) -> str | None:
    return next((layer for layer in LAYERS if path.startswith(layer + "/")), None)


def complaint(path: str, kind: str, included: str) -> str | None:
    """Returns why `path` must not include `included`, or None if it may."""
    if kind == "<":
        allowed = included in FREESTANDING or included.startswith("linux/")
        return None if allowed else "is not a freestanding header"
    if included in CONTRACTS:
        return None
    if path.startswith(SHIM + "/"):
        allowed = included.startswith((SHIM + "/", "lib/", STATUSES))
        return None if allowed else "is not for the boot shim"
    if path.startswith(PROGRAMS + "/"):
        allowed = included.startswith((PROGRAMS + "/", "lib/", STATUSES, *LINKED))
        return None if allowed else "is not for guest programs (only guest/abi.h and lib/ are)"
    if included.startswith((PROGRAMS + "/", SHIM + "/")):
        return "belongs to the guests"
    own, other = layer_of(path), layer_of(included)
    if other is None:
        return "is in no layer; name it from the root"
    assert own is not None
    if LAYERS.index(other) > LAYERS.index(own):
        return f"points up, from {own}/ to {other}/"
    return None


def sources(root: pathlib.Path) -> list[str]:
    folders = [root / name for name in [*LAYERS, PROGRAMS, SHIM]]
    files = (file for folder in folders for file in sorted(folder.rglob("*.[chS]")))
    return [file.relative_to(root).as_posix() for file in files]


def check(root: pathlib.Path) -> list[str]:
    found = []
    for path in sources(root):
        for number, line in enumerate((root / path).read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            why = match and complaint(path, match[1], match[2])
            if match and why:
                found.append(f"{path}:{number}: {match[2]} {why}")
    return found


# ---- Calls that point up -------------------------------------------------------------------------
# The linker finds any name. A function or variable of a higher folder may be used only if a header
# of the user's folder, or of a lower one, declares it after a comment with "Supplied by FILE".
COMMENT = re.compile(r"/\*((?:(?!\*/).)*)\*/\n(?=(.*?)(?:\n\n|\Z))", re.S)
SUPPLIER = re.compile(r"Supplied by\s+(?:\* )?([\w/]+\.[cS])")


def supplied(root: pathlib.Path) -> dict[str, tuple[str, str]]:
    """Names that lower folders declare and higher ones supply: the supplier and the header."""
    names = {}
    for path in sources(root):
        if path.endswith(".h"):
            for comment, declarations in COMMENT.findall((root / path).read_text()):
                if match := SUPPLIER.search(comment):
                    for name in re.findall(r"(\w+)(?=[(\[;])", declarations):
                        names[name] = match[1], path
    return names


def symbols(root: pathlib.Path, objects: pathlib.Path) -> tuple[dict[str, str], list]:
    """Returns where each global name is defined, and (file, name) of what each file needs of
    others. Files are named without their suffixes: `vm/run` stands for build/obj/vm/run.o. Objects
    whose source has gone are left out."""
    compiled = (objects / pathlib.Path(p).with_suffix(".o") for p in sources(root))
    existing = sorted({str(path) for path in compiled if path.exists()})
    text = subprocess.check_output(["nm", "-P", "-A", *existing], text=True)
    defined, needed = {}, []
    for line in text.splitlines():
        where, name, kind = line.split()[:3]
        file = pathlib.Path(where.rstrip(":")).relative_to(objects).with_suffix("").as_posix()
        if kind == "U":
            needed.append((file, name))
        elif kind.isupper():
            defined[name] = file
    return defined, needed


def check_calls(root: pathlib.Path, objects: pathlib.Path) -> list[str]:
    """`objects` holds what was compiled from `root`."""
    declared = supplied(root)
    defined, needed = symbols(root, objects)
    found = []
    for user, name in sorted(needed):
        definer = defined.get(name, "")
        own, other = layer_of(user), layer_of(definer)
        if own is None or other is None or LAYERS.index(other) <= LAYERS.index(own):
            continue
        file, header = declared.get(name, ("", ""))
        at_home = header and LAYERS.index(layer_of(header) or own) <= LAYERS.index(own)
        if not at_home or pathlib.Path(file).with_suffix("").as_posix() != definer:
            found.append(f"{user}: {name} points up, to {definer}; a header of {own}/ or below has "
                         f"to declare it after a comment with \"Supplied by {definer}.c\"")
    return found


if __name__ == "__main__":
    top = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    complaints = check(top) + check_calls(top, top / "build/obj")
    print("\n".join(complaints), end="\n" * bool(complaints))
    sys.exit(bool(complaints))
