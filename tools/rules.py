#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks the references to rules and decisions: each number that a comment or a document uses has
a row in docs/RULES.md or a paragraph in docs/DESIGN.md, and each file, test and proof that a row
names exists. Prints the errors, and exits with 1 if there are any. Called by `make lint-rules`."""

import pathlib
import re
import sys

from textcheck import SKIPPED

REFERENCE = re.compile(r"(?<![\w/.#+-])([SPFCWXTND][1-9]\d{0,2})(?![\w.:=-]*\w)")
ROW = re.compile(r"^\| ([SPFCWXTN]\d+) \|(.*)\|$", re.MULTILINE)
DECISION = re.compile(r"^\*\*(D\d+)\.", re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
SOURCES = {".c", ".h", ".S", ".inc", ".pml"}
PROSE = {".md", ".py", ".mutants"}
# Opcodes and processor names look like rules there.
OPCODES = ("docs/MMIO_INSTRUCTIONS.md", "mmio/decode.c", "mmio/instructions.",
           "tests/unit/mmio/test_mmio_decode.c", "tests/unit/mmio/mmio_vectors",
           "tools/instructions.c", "guest/programs/mmio/forms.inc")  # fmt: skip


def references(path: pathlib.Path, name: str) -> list[tuple[int, str]]:
    """Line and number of each reference in a file."""
    if name.startswith(OPCODES) or path.suffix not in SOURCES | PROSE:
        return []
    text = path.read_text()
    if path.suffix in SOURCES:
        parts = [(match.start(), match[0]) for match in COMMENT.finditer(text)]
    else:
        parts = [(0, text)]
    return [
        (text.count("\n", 0, start + match.start()) + 1, match[1])
        for start, part in parts
        for match in REFERENCE.finditer(part)
    ]


def exists(root: pathlib.Path, name: str) -> bool:
    """Whether what a row calls `name` is in the tree: a path, a test, a proof, a model, a guest."""
    if "/" in name:
        return (root / name).is_file()
    if name.startswith("prove_"):
        return any(name in p.read_text() for p in (root / "tests/proofs").glob("*.c"))
    places = [f"tests/unit/*/{name}.c", f"tests/unit/{name}.c", f"tests/target/{name}",
              f"tests/models/{name}", f"guest/programs/{name}.c"]  # fmt: skip
    return any(path.is_file() for place in places for path in root.glob(place))


def check_rows(root: pathlib.Path, rows: list[tuple[str, str]]) -> list[str]:
    found = []
    for number, row in rows:
        columns = [column.strip() for column in row.split("|")]
        kept, proved = (re.findall(r"`([^`]+)`", column) for column in columns[-2:])
        found += [f"docs/RULES.md: {number}: there is no `{name}`"
                  for name in kept + proved if not exists(root, name)]  # fmt: skip
        if not (kept and proved) and "There are no" not in row:
            found.append(f"docs/RULES.md: {number} names no file that keeps it or no test")
    return found


def check(root: pathlib.Path, names: list[str]) -> list[str]:
    rows = ROW.findall((root / "docs/RULES.md").read_text())
    known = {number for number, _ in rows}
    found = [f"docs/RULES.md: {number} has two rows"
             for number in sorted(known) if sum(n == number for n, _ in rows) > 1]  # fmt: skip
    known |= set(DECISION.findall((root / "docs/DESIGN.md").read_text()))
    found += check_rows(root, rows)
    for name in names:
        if (root / name).is_file():
            found += [f"{name}:{line}: {number} is neither in docs/RULES.md nor in docs/DESIGN.md"
                      for line, number in references(root / name, name)
                      if number not in known]  # fmt: skip
    return found


if __name__ == "__main__":
    top = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    paths = [path.relative_to(top) for path in top.rglob("*")]
    names = [str(path) for path in paths if not SKIPPED & set(path.parts)]
    complaints = check(top, sorted(names))
    print("\n".join(complaints), end="\n" * bool(complaints))
    sys.exit(bool(complaints))
