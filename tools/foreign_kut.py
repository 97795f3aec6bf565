#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs kvm-unit-tests from a checkout: `make foreign KUT=DIR`.

The checkout is built below build/foreign/kut/, for 64 and for 32 bits, and nothing is written to
it. Each test of its x86/unittests.cfg runs in a VM with the word `kut`, or with --bare on the
emulator itself, started by GRUB, which shows what fails without a hypervisor, too.

A test passes if it ends with status 0 and each line of it that fails is in tools/foreign/kut.txt.
A line of the list has four columns, separated by `|`:

    test | what | why | the reason, in words

`what` is the text of a failing line after `FAIL: `, which may contain `*`; or `skip`, which keeps
the test from running; or `end`, which allows that the test does not end with status 0. `why` is
`bochs` if the same fails with --bare, `emulated` if it asks for what the hypervisor has decided not
to offer, and `test` if the test asks for what no CPU promises. A column `test` may contain `*`.
"""

import argparse
import dataclasses
import fnmatch
import os
import pathlib
import re
import shlex
import subprocess
import sys

from harness import host, session
from harness.boot import BUILD, ROOT, Boot, Guest, variable
from harness.errors import HarnessError, run_tool

LIST = ROOT / "tools/foreign/kut.txt"
OUT = BUILD / "foreign/kut"
WIDTHS = ("x86_64", "i386")
REASONS = ("bochs", "emulated", "test")
MEM = 128  # MiB of a VM, as QEMU gives
CPUS = 4  # of the machine, at most
# What a test may take: in seconds of KVM, unless unittests.cfg says otherwise, and in milliseconds
# of a VM, of which it gets more if it needs more of KVM's.
PATIENCE, BUDGET = 90, 600_000
# The status of a test that ends after failures, and of one that skips itself (report_summary() in
# lib/report.c). A test that gives up in between has another one.
FAILED, SKIPPED = 1, 77 >> 1
ENDED = re.compile(r"wrote (\d+) to the debug-exit port")
BARE_ENDED = re.compile(r"^--- DONE: (\d+) ---")

env = os.environ.get


@dataclasses.dataclass
class Test:
    name: str
    file: str = ""
    smp: int = 1
    args: str = ""
    arch: str = ""
    timeout: int = PATIENCE

    @property
    def budget(self) -> int:
        return BUDGET * max(self.timeout, PATIENCE) // PATIENCE

    def program(self) -> pathlib.Path:
        """The 64-bit program, unless there is only one for 32 bits."""
        for width in (self.arch,) if self.arch else WIDTHS:
            path = OUT / width / "x86" / self.file
            if path.is_file():
                return path
        raise HarnessError(f"{self.name}: {self.file} was not built")


@dataclasses.dataclass
class Known:
    test: str
    what: str
    why: str
    reason: str
    seen: bool = False


@dataclasses.dataclass
class Result:
    test: Test
    status: int | None  # None: the test did not end by itself
    reason: str
    passed: int
    failures: list[str]


def read_tests(checkout: pathlib.Path) -> list[Test]:
    """The tests of x86/unittests.cfg, whose sections contain lines `key = value`."""
    tests: list[Test] = []
    for line in (checkout / "x86/unittests.cfg").read_text().splitlines():
        if match := re.match(r"\[(.+)\]", line):
            tests.append(Test(match[1]))
        elif tests and (match := re.match(r"(\w+)\s*=\s*(.*)", line)):
            key, value = match[1], match[2].strip()
            if key == "smp":
                tests[-1].smp = int(value) if value.isdigit() else CPUS
            elif key == "timeout":
                tests[-1].timeout = int(value)
            elif key == "test_args":
                tests[-1].args = value.strip("'\"")
            elif key in ("file", "arch"):
                setattr(tests[-1], key, value)
    return tests


def read_list(path: pathlib.Path = LIST) -> list[Known]:
    known = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = [column.strip() for column in line.split("|")]
        if len(columns) != 4 or columns[2] not in REASONS:
            raise HarnessError(f"{path}:{number}: want `test | what | why | reason`, where why is "
                               f"one of {', '.join(REASONS)}")  # fmt: skip
        known.append(Known(*columns))
    return known


def build(checkout: pathlib.Path) -> None:
    for width in WIDTHS:
        folder = OUT / width
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "build.log"
        steps = [["make", f"-j{os.cpu_count()}", "all"]]
        if not (folder / "config.mak").is_file():
            steps.insert(0, [str(checkout / "configure"), f"--arch={width}"])
        with log.open("w") as output:
            for step in steps:
                done = subprocess.run(step, cwd=folder, stdout=output, stderr=output, check=False)
                if done.returncode:
                    raise HarnessError(f"`{shlex.join(step)}` failed in {folder}: see {log}")


def boot_of(test: Test, bare: bool) -> Boot:
    name, smp = f"kut/{test.name}", min(test.smp, CPUS)
    timeout = variable("TIMEOUT", 300)
    if not bare:
        words = ("kut", "live", f"mem={MEM}M", f"vcpus={test.smp}", f"budget={test.budget}")
        return Boot(name=name, guests=(Guest(test.program(), words, test.args, test.name),),
                    smp=smp, mem=512, timeout=timeout)  # fmt: skip
    folder = BUILD / "run/kut-bare"
    folder.mkdir(parents=True, exist_ok=True)
    # The environment takes the place of fw_cfg and of the test device.
    environment = folder / f"{test.name}.env"
    environment.write_text(f"NR_CPUS={smp}\nMEMSIZE=256\nTEST_DEVICE=0\n")
    return Boot(name=f"kut-bare/{test.name}", method="grub-bios", image=test.program(),
                multiboot=1, cmdline=f"{test.file} {test.args}", smp=smp, timeout=timeout,
                guests=(Guest(environment, name="env"),))  # fmt: skip


def run(test: Test, bare: bool) -> Result:
    done = session.run(boot_of(test, bare), show=print if env("V") else lambda line: None)
    lines = [line.strip() for line in done.output.lines]
    ended = [match[1] for line in lines if (match := (BARE_ENDED if bare else ENDED).search(line))]
    if any(case.passed for case in done.output.cases):
        ended = ["0"]
    prefix = f"# {test.name}: "
    told = [line for line in lines if line.startswith(prefix) and "expected the ending" not in line]
    return Result(
        test,
        int(ended[-1]) if ended else None,
        done.reason or (told[-1].removeprefix(prefix) if told else "it did not end"),
        sum(line.startswith("PASS: ") for line in lines),
        [line.removeprefix("FAIL: ") for line in lines if line.startswith("FAIL: ")],
    )


def listed(known: list[Known], test: Test, what: str) -> Known | None:
    for entry in known:
        if fnmatch.fnmatch(test.name, entry.test) and fnmatch.fnmatch(what, entry.what):
            entry.seen = True
            return entry
    return None


def judge(result: Result, known: list[Known]) -> tuple[str, list[str]]:
    """PASS, FAIL or SKIP, and lines that say why."""
    notes, failed = [], False
    for text in result.failures:
        entry = listed(known, result.test, text)
        failed |= not entry
        notes.append(f"{entry.why}: {text}: {entry.reason}" if entry else f"FAIL: {text}")
    if result.status == SKIPPED and not result.failures:
        return "SKIP", ["it skips itself"]
    aborted = result.status not in (0, FAILED, SKIPPED)
    if aborted or (result.status and not result.failures):
        entry = listed(known, result.test, "end")
        failed |= not entry
        why = f"{entry.why}: {entry.reason}" if entry else f"it did not pass: {result.reason}"
        notes.append(why)
    return "FAIL" if failed else "PASS", notes


def main() -> int:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkout", type=pathlib.Path, help="a checkout of kvm-unit-tests")
    parser.add_argument("tests", nargs="*", help="names of tests; all if there are none")
    parser.add_argument("--bare", action="store_true", help="without the hypervisor")
    options = parser.parse_args()
    checkout = options.checkout.resolve()
    if not (checkout / "x86/unittests.cfg").is_file():
        raise HarnessError(f"KUT={checkout}: no x86/unittests.cfg there; name a checkout of "
                           "kvm-unit-tests")  # fmt: skip
    host.require(host.boot_needs("bochs", "grub-bios" if options.bare else "optrom", False))
    known = [] if options.bare else read_list()
    build(checkout)
    counts = dict.fromkeys(("PASS", "FAIL", "SKIP"), 0)
    for test in read_tests(checkout):
        if options.tests and test.name not in options.tests:
            continue
        skip = listed(read_list(), test, "skip")
        if skip and test.name not in options.tests:
            verdict, notes, passed = "SKIP", [f"{skip.why}: {skip.reason}"], 0
        else:
            result = run(test, options.bare)
            verdict, notes = judge(result, known)
            passed = result.passed
        counts[verdict] += 1
        print(f"{verdict} {test.name}" + (f" ({passed} lines pass)" if passed else ""))
        for note in notes:
            print(f"    {note}")
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    run_tool("foreign", main)
