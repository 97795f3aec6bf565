#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks that SPTEs are stored at the choke point (mmu/store.h) and nowhere else in mmu/.

Pointers to SPTEs and to tables point to const, so a store does not compile. This script refuses the
ways around that: such a pointer without const, a cast that removes const, and a pointer that is
computed from an SPTE. mmu/tables.c fills tables that are not linked yet.
"""

import pathlib
import re
import sys

MAY_STORE = ("mmu/store.h", "mmu/tables.c")
REFUSED = (
    (
        re.compile(r"(?<!const )\bu?int64_t \*+(?:const )?\w*(?:sptep|tables?|composite)\b"),
        "points to SPTEs: make it a pointer to const",
    ),
    (
        re.compile(r"\(\s*(?:volatile )?u?int64_t \*+\s*\)\s*\(\s*uintptr_t\s*\)"),
        "takes const away",
    ),
    (
        re.compile(r"(?<!const )\b(?:u?int64_t|void) \*\w+ = phys_to_virt\(spte_page"),
        "points to a table: make it a pointer to const",
    ),
)
ADVICE = "SPTEs are stored by tdp_store() of mmu/store.h alone"


def check(root: pathlib.Path) -> list[str]:
    found = []
    for file in sorted((root / "mmu").glob("*.[ch]")):
        path = file.relative_to(root).as_posix()
        if path in MAY_STORE:
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            for pattern, why in REFUSED:
                if match := pattern.search(line):
                    found.append(f"{path}:{number}: `{match[0].strip()}` {why}; {ADVICE}")
    return found


if __name__ == "__main__":
    complaints = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(complaints), end="\n" * bool(complaints))
    sys.exit(bool(complaints))
