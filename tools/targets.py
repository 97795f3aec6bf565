#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Lists or checks the targets of the Makefile: `targets.py help MAKEFILE...` lists the targets with
their descriptions, which follow `##`; `targets.py docs MAKEFILE...` checks that each `make TARGET`
in a code block, a code span or an indented command of the documents is one that help lists."""

import pathlib
import re
import sys

TARGET = re.compile(r"^([\w-]+):(?!=).*?##\s*(\S.*)$", re.MULTILINE)
# A command at the start of a line of a block, maybe after a prompt, or of a code span.
COMMAND = re.compile(r"^(?: {4,}|\t)?(?:\$ )?make((?: .*)?)$|`make((?: [^`]*)?)`")
DOCUMENTS = ["README.md", "docs/*.md"]


def targets(makefiles: list[str]) -> dict[str, str]:
    """The targets that have a description, in the order of the Makefiles."""
    texts = (pathlib.Path(name).read_text() for name in makefiles)
    return {name: text for part in texts for name, text in TARGET.findall(part)}


def asked_for(line: str) -> list[str]:
    """The targets of the `make` commands in a line of a document."""
    found = []
    for match in COMMAND.finditer(line):
        words = (match[1] or match[2] or "").split("#")[0]
        words = re.sub(r"""[\w]+=("[^"]*"|'[^']*'|\S*)""", "", words)
        found += [word for word in words.split() if not word.startswith("-")]
    return found


def check(root: pathlib.Path, known: dict[str, str]) -> list[str]:
    return [
        f"{path.relative_to(root)}:{number}: `make {word}`: there is no such target in `make help`"
        for pattern in DOCUMENTS
        for path in sorted(root.glob(pattern))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for word in asked_for(line)
        if word not in known
    ]


def main() -> int:
    known = targets(sys.argv[2:])
    if sys.argv[1] == "docs":
        complaints = check(pathlib.Path(), known)
        print("\n".join(complaints), end="\n" * bool(complaints))
        return bool(complaints)
    width = max(map(len, known))
    for name, text in known.items():
        print(f"  make {name:{width}}  {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
