#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks the text of every source file: no long files, functions or lines, no unfinished code."""

import pathlib
import re
import sys

MAX_LINES = 500
MAX_COLUMNS = 100
MAX_FUNCTION = 60
SOURCES = {".c", ".h", ".S", ".py", ".sh", ".ld", ".mk", ".awk"}
# The words are split, so that this file passes its own check.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|^\s*#\s*if 0\b")
SKIPPED = {"build", ".git", "__pycache__"}


def long_functions(path: pathlib.Path, lines: list[str]) -> list[str]:
    """Functions of C, whose braces stand at the beginning of a line."""
    found, start = [], 0
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and number - start - 1 > MAX_FUNCTION:
            found.append(f"{path}:{start}: a function of {number - start - 1} lines, at most "
                         f"{MAX_FUNCTION}: split it, or move its table out of it")
    return found


def check_file(path: pathlib.Path) -> list[str]:
    lines = path.read_text().splitlines()
    found = []
    if len(lines) > MAX_LINES:
        found.append(f"{path}: {len(lines)} lines; a file is one idea, at most {MAX_LINES} lines")
    if path.suffix in {".c", ".h"}:
        found += long_functions(path, lines)
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            found.append(f"{path}:{number}: {len(line)} columns, at most {MAX_COLUMNS}")
        if match := UNFINISHED.search(line):
            found.append(f"{path}:{number}: {match[0].strip()}: finish it or leave it out")
        if line != line.rstrip():
            found.append(f"{path}:{number}: space at the end of the line")
    return found


def check(root: pathlib.Path) -> list[str]:
    found = []
    for path in sorted(root.rglob("*")):
        is_source = path.suffix in SOURCES or path.name == "Makefile"
        if is_source and path.is_file() and not SKIPPED & set(path.relative_to(root).parts):
            found += check_file(path)
    return found


if __name__ == "__main__":
    complaints = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(complaints), end="\n" * bool(complaints))
    sys.exit(bool(complaints))
