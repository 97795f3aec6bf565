#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Which broken rules do the guests notice on the emulator?

Each mutant of tests/mutants/ is built into an image in a scratch copy of the tree. The image boots
with the MMU's guests, once for each command line below. With MACHINE=nested KVM walks eptvisor's
tables, and keeps translations until they are flushed; this takes a minute for each mutant. `seen`
is followed by the first tests that failed, or by the end of the run (a BUG is a check in the
hypervisor). `hidden` means that this machine does not show the broken rule, so that only the hosted
tests prove it. docs/EMULATOR-GAPS.md is the summary.

    gaps.py [NAME...]      with `make all guests` done; run as `make gaps`
"""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import mutants  # noqa: E402
import mutation  # noqa: E402
from mutant_image import Image  # noqa: E402

NESTED = os.environ.get("MACHINE") == "nested"
COMMAND_LINES = [""] if NESTED else ["", "ept_ad=0 nx_huge=off", "pml=0"]
GUESTS = (["slots", "remap", "mmu", "scenarios"] if NESTED else
          ["mmu", "flush", "wrap", "counters", "trace", "giant", "scenarios"])  # fmt: skip
HOW = ({"MACHINE": "nested", "METHOD": "kernel", "TIMEOUT": "600"} if NESTED else
       {"MACHINE": "bochs", "METHOD": "optrom", "TIMEOUT": "60"})  # fmt: skip


def boot(image: Image, command_line: str) -> str:
    """Returns the names of the tests that failed, or an empty text."""
    guests = " ".join(f"build/guest/{name}.elf:testctl,budget=600000" for name in GUESTS)
    output = image.run("/usr/bin/python3", "tools/run.py", NAME="gaps", CMDLINE=command_line,
                       GUESTS=guests, **HOW)  # fmt: skip
    if not output.endswith("\nfailed"):
        return ""
    failed = re.findall(r"^run: failed: (\S+)$", output, re.M)
    end = re.search(r"^EXIT \d+ (\S+)$", output, re.M)
    return ", ".join(failed[:3]) or (f"EXIT {end[1]}" if end else "it hangs")


def judge(image: Image, mutant: mutation.Mutant) -> str:
    with image.broken_by(mutant) as fault:
        if fault:
            return fault
        for line in COMMAND_LINES:
            if failed := boot(image, line):
                return f"seen    {failed}" + (f" ({line})" if line else "")
        return "hidden"


def main() -> int:
    image = Image(mutants.BUILD / "gaps")
    if failed := boot(image, ""):
        sys.exit(f"gaps: without any mutant these fail: {failed}")
    names, seen, hidden = sys.argv[1:], 0, 0
    for mutant in mutation.load(mutants.FOLDER):
        if names and mutant.name not in names:
            continue
        verdict = judge(image, mutant)
        seen += verdict.startswith("seen")
        hidden += verdict == "hidden"
        print(f"{mutant.name:45} {verdict}", flush=True)
    print(f"{seen} seen, {hidden} hidden")
    return 0


if __name__ == "__main__":
    sys.exit(main())
