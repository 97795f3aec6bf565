#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks that each function that a document names with its file is defined there. A reference is a
code span of the form `vm/run.c: run_attend()`; the walks of `docs/READING.md` consist of
them."""

import pathlib
import re
import sys

DOCUMENTS = ["README.md", "docs/*.md"]
NAMED = re.compile(r"`([\w/]+\.[chS]):\s+(\w+)\(\)`")


def is_defined(text: str, name: str) -> bool:
    """In C: a declaration that begins a line and ends with a brace; in assembly: a label."""
    in_c = rf"^\w[^;{{}}()]*\b{name}\([^;{{}}]*\)\s*{{"
    return bool(re.search(rf"{in_c}|^{name}:", text, re.MULTILINE))


def check(root: pathlib.Path) -> list[str]:
    found = []
    for document in sorted(path for pattern in DOCUMENTS for path in root.glob(pattern)):
        text = document.read_text()
        for match in NAMED.finditer(text):
            file, name = match.groups()
            where = f"{document.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}"
            if not (root / file).is_file():
                found.append(f"{where}: there is no {file}")
            elif not is_defined((root / file).read_text(), name):
                found.append(f"{where}: {file} does not define {name}()")
    return found


if __name__ == "__main__":
    complaints = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(complaints), end="\n" * bool(complaints))
    sys.exit(bool(complaints))
