#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs Intel's compliance tests of a TDX guest in a TD: `LKVS=DIR make tdx-compliance`.

The argument is a checkout of Intel's Linux Kernel Validation Suite. Its module must be built
against the headers of the kernel that is booted, which KERNEL names (a bzImage):

    make -C DIR/BM/tdx-compliance KERNEL_SRC=/usr/src/linux-headers-…

The result is the number of tests that pass. A test that fails must be in
tools/linux/compliance.txt, with its reason.
"""

import fnmatch
import os
import pathlib
import re
import sys

from harness import debian, session
from harness.boot import BUILD, ROOT, Boot
from harness.errors import HarnessError, run_tool

REASONS = ROOT / "tools/linux/compliance.txt"
MODULE = "BM/tdx-compliance/tdx-compliance.ko"
TIMEOUT = 1500.0  # seconds of the emulator's CPU time
RESULT = re.compile(r"^\s*\d+: (.*)_[\w.]+:\s+(PASS|FAIL|NRUN)$", re.MULTILINE)


def reasons() -> list[tuple[str, str]]:
    """Returns patterns of names, each with the reason why such tests fail."""
    lines = [line for line in REASONS.read_text().splitlines() if line and line[0] != "#"]
    pairs = [re.split(r"\s{2,}", line, maxsplit=1) for line in lines]
    return [(name.replace("[", "[[]") if "[*" not in name else name.replace("[*", "[[]*"), why)
            for name, why in pairs]  # fmt: skip


def reason_of(name: str, known: list[tuple[str, str]]) -> str:
    return next((why for pattern, why in known if fnmatch.fnmatchcase(name, pattern)), "")


def judge(text: str) -> tuple[int, int, list[str]]:
    """Returns how many tests passed and how many ran, and the names of those that failed."""
    results = RESULT.findall(text)
    passed = sum(result == "PASS" for _, result in results)
    return passed, len(results), [name for name, result in results if result != "PASS"]


def run(module: pathlib.Path, kernel: pathlib.Path) -> str:
    """Runs the tests in a TD, and returns what it prints."""
    files = {"compliance": ROOT / "tools/linux/compliance", "modules/tdx-compliance.ko": module}
    initrd = debian.make_tdx_initrd(BUILD / "linux/initrd-tdx-compliance", files, kernel)
    # After its last test, the suite leaves no timer, so the TD ends by a reset: Linux loads an
    # empty IDT and executes INT3.
    guests = debian.tdx_guests(
        kernel, initrd, f"{debian.TDX_CMDLINE} compliance", ("expect=triple-fault",)
    )
    boot = Boot(name="tdx-compliance", guests=guests, ips=debian.IPS, timeout=TIMEOUT,
                mem=debian.machine_memory(debian.MEM, guests))  # fmt: skip
    result = session.run(boot, lambda text: None)
    text = "\n".join(result.output.lines)
    if "# compliance: done" not in text:
        raise HarnessError(f"the tests did not end: {result.reason}; see {result.log}")
    return text


def main() -> int:
    if len(sys.argv) != 2 or not sys.argv[1]:
        raise HarnessError("no checkout of LKVS is given; type: LKVS=DIR make tdx-compliance")
    module = pathlib.Path(sys.argv[1]) / MODULE
    kernel = pathlib.Path(os.environ.get("KERNEL") or debian.TDX_KERNEL)
    if not module.is_file():
        raise HarnessError(f"{module} does not exist; build it against the headers of {kernel}:\n"
                           f"make -C {module.parent} KERNEL_SRC=HEADERS")  # fmt: skip
    passed, number, failed = judge(run(module, kernel))
    known = reasons()
    for name in failed:
        print(f"{name}: {reason_of(name, known) or 'NO REASON IS KNOWN'}")
    print(f"{passed} of {number} tests pass")
    return 0 if number and all(reason_of(n, known) for n in failed) else 1


if __name__ == "__main__":
    run_tool("tdx-compliance", main)
