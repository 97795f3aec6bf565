#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks that no files depend on each other in a circle, except files that are one idea.

A file depends on another one if it uses the other's functions or variables, as `nm` shows. Files in
a circle can only be read, tested and replaced together. A declaration after a comment with
"Supplied by FILE" (see layers.py) is no dependency, because the caller knows only the header.
Headers cannot include each other in a circle, since each is compiled alone.
"""

import pathlib
import sys

import layers

# Circles that are one idea in several files, each named by one of its files.
ALLOWED = {
    "dev/lapic": "the timer interrupts through its APIC, whose registers start it",
}

Needs = dict[str, dict[str, str]]


def needs(root: pathlib.Path, objects: pathlib.Path) -> Needs:
    """Returns the files on which each file depends, each with one name that the file uses."""
    declared = layers.supplied(root)
    defined, needed = layers.symbols(root, objects)
    found: Needs = {file: {} for file in {*defined.values(), *(file for file, _ in needed)}}
    for file, name in sorted(needed):
        if name in defined and name not in declared:
            found[file].setdefault(defined[name], name)
    return found


def components(graph: Needs) -> list[set[str]]:
    """Returns the strongly connected components of more than one file (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(file: str) -> None:
        order[file] = low[file] = len(order)
        stack.append(file)
        for other in graph[file]:
            if other not in order:
                visit(other)
            if other in stack:
                low[file] = min(low[file], low[other])
        if low[file] == order[file]:
            component = set(stack[stack.index(file):])
            del stack[stack.index(file):]
            if len(component) > 1:
                found.append(component)

    for file in sorted(graph):
        if file not in order:
            visit(file)
    return found


def check(graph: Needs) -> list[str]:
    found = []
    circles = components(graph)
    for circle in circles:
        if not circle & ALLOWED.keys():
            found.append(f"these {len(circle)} files need each other in a circle:")
            for file in sorted(circle):
                uses = [f"{name}() of {other}" for other, name in graph[file].items()
                        if other in circle]
                found.append(f"    {file} needs {', '.join(uses)}")
    for file in ALLOWED:
        if not any(file in circle for circle in circles):
            found.append(f"{file} is in no circle any more; take it out of ALLOWED")
    return found


if __name__ == "__main__":
    top = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    complaints = check(needs(top, top / "build/obj"))
    print("\n".join(complaints), end="\n" * bool(complaints))
    sys.exit(bool(complaints))
