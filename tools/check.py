#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs make targets one after the other and adds up what they counted: tools/check.py TARGET...
An argument that names several targets, as in "unit lint", makes them beside each other.

A target that fails does not keep the later ones from running. The last line printed is
`N passed, N failed, N skipped`, and the status is 0 only if nothing failed. The targets' output
is kept in build/check/.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

LOGS = pathlib.Path("build/check")

# cmocka prints how many tests a group starts, and how they ended. A group that crashes prints only
# the former.
STARTED = re.compile(r"^\[=+\] (?:\w+: )?Running (\d+) test", re.MULTILINE)
CMOCKA = {
    "passed": re.compile(r"^\[  PASSED  \] (?:\w+: )?(\d+) test", re.MULTILINE),
    "failed": re.compile(r"^\[  FAILED  \] (?:\w+: )?(\d+) test", re.MULTILINE),
    "skipped": re.compile(r"^\[  SKIPPED \] (?:\w+: )?(\d+) test", re.MULTILINE),
}
# pytest: `12 passed, 1 skipped in 3.21s`; the image: `12 passed, 0 failed, 1 skipped`; mutants and
# proofs use terms of their own.
SUMMARY = re.compile(r"^=* ?(?:\d+ \w+, )*\d+ \w+(?: in [\d.]+s.*)?$")
COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?|killed|survived|proved)\b")
MEANS = {"error": "failed", "errors": "failed", "killed": "passed", "survived": "failed",
         "proved": "passed"}  # fmt: skip

Counts = dict[str, int]


def count(text: str) -> Counts:
    """Returns the sum of all summaries in a target's output."""
    total = {key: sum(map(int, found.findall(text))) for key, found in CMOCKA.items()}
    lost = sum(map(int, STARTED.findall(text))) - sum(total.values())
    total["failed"] += max(lost, 0)
    for line in text.splitlines():
        if SUMMARY.match(line):
            for number, what in COUNT.findall(line):
                total[MEANS.get(what, what)] += int(number)
    return total


def run(target: str) -> tuple[Counts, int]:
    """Runs a target and shows its output as it comes. Returns the counts and the exit status."""
    command = ["make", f"-j{os.cpu_count()}", "-Otarget", "-k"]
    command += target.split()
    if target in ("run", "run-quick", "target"):  # one program, whose lines are shown as they come
        command.remove("-Otarget")
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
    text = "".join(lines)
    (LOGS / f"{target.replace(' ', '-')}.log").write_text(text)
    return count(text), process.returncode


def main() -> int:
    LOGS.mkdir(parents=True, exist_ok=True)
    total = {"passed": 0, "failed": 0, "skipped": 0}
    broken = []
    for target in sys.argv[1:]:
        print(f"== make {target}")
        start = time.monotonic()
        counts, status = run(target)
        print(f"-- make {target}: {time.monotonic() - start:.0f} s")
        if status != 0:
            broken.append(target)
            # A target that could not be built or started counts as one failure.
            counts["failed"] = max(counts["failed"], 1)
        for key in total:
            total[key] += counts[key]
    if broken:
        print(f"failed: make {', make '.join(broken)}")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if broken or total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
