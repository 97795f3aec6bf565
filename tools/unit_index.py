#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes tests/unit/README.md from the comments at the head of the tests. `unit_index.py check`
fails if the file is not up to date."""

import pathlib
import re
import sys

INDEX = pathlib.Path("tests/unit/README.md")
HEAD = """# What the hosted tests prove

Each program runs in user space under ASan and UBSan: `make unit` runs all of them, and
`make build/unit/NAME` builds one. A folder tests the folder of the product that has its name;
`support.[ch]` stands for the machine, and the files whose names end in `_world` and `_model` for
what a test needs around the code that it tests. `make unit-index` writes this file from the first
comment of each test.
"""
COMMENT = re.compile(r"\A/\*(?! SPDX)(.*?)\*/", re.S)


def proves(path: pathlib.Path) -> str:
    """Returns the first paragraph of the file's first comment after the licence, on one line."""
    text = re.sub(r"\A/\* SPDX.*?\*/\s*", "", path.read_text())
    match = COMMENT.match(text)
    if not match:
        sys.exit(f"{path}: it has no comment at its head that says what it proves")
    lines = [re.sub(r"^ ?\* ?", "", line).strip() for line in match[1].strip().split("\n")]
    return " ".join("\n".join(lines).split("\n\n")[0].split()).replace("|", "\\|")


def index() -> str:
    parts = [HEAD]
    for folder in sorted({path.parent for path in INDEX.parent.glob("**/test_*.c")}):
        rows = [f"| `{path.stem}` | {proves(path)} |" for path in sorted(folder.glob("test_*.c"))]
        head = [f"## {folder.name}/", "", "| program | what it proves |", "|---|---|"]
        parts.append("\n".join([*head, *rows, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    if sys.argv[1:] != ["check"]:
        INDEX.write_text(index())
    elif not INDEX.exists() or INDEX.read_text() != index():
        sys.exit(f"{INDEX} is not up to date; type: make unit-index")
