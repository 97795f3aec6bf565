# SPDX-License-Identifier: MIT
"""The README is correct: its output is that of `make run`, and its commands work."""

import pathlib
import re
import subprocess

import pytest
from conftest import ROOT

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# These commands run the tests that include this test.
OURSELVES = {"make test", "make check", "make target"}
# The first command downloads a kernel and rewrites the documents. What the others do,
# test_linux_cost.py, test_linux.py, test_tdx_linux.py and test_debian.py do in less time, or in
# parts; what is to be typed to the monitor, test_monitor.py types. test_image.py makes the image
# and the folder, and boots them. The next two need files that their user brings; test_foreign.py
# tests their tools, and test_matrix.py that of the third. In the last one, somebody has to type;
# test_gdb.py tests what it uses.
UNTRIED = {
    "make bench", "make bench-linux", "make linux-matrix", "make bench-tdx", "make linux",
    "make tdx", "make tdx VCPUS=2", "make debian", "make debian VCPUS=2",
    "make tdx KERNEL=build/linux/kernels/sid-cloud/vmlinuz",
    'make run CMDLINE=monitor GUESTS="ada=build/guest/echo.elf:pc,live '
    'build/guest/scenarios.elf:testctl"',
    "make image", "make netboot", "make run MEDIUM=build/eptvisor.iso MACHINE=qemu-kvm",
    "make foreign XV6=~/xv6-public LK=~/lk MACH=gnumach-1.8-486.gz XEN=xen-4.17-amd64.gz",
    "make foreign KUT=~/kvm-unit-tests TIMEOUT=1500", "make gdb GUEST=linux",
}  # fmt: skip
# These commands fail on purpose.
FAIL = ("break_field=", "core2_penryn_t9600")


def blocks(doc: pathlib.Path) -> list[list[str]]:
    """The fenced blocks of a document, as lines."""
    found = re.findall(r"^```\n(.*?)^```", doc.read_text(), re.M | re.S)
    return [block.splitlines() for block in found]


def commands() -> list[str]:
    found = []
    for doc in DOCS:
        for line in re.findall(r"^    (make .*)$", doc.read_text(), re.M):
            command = re.sub(r"\s+#.*", "", line)
            if command not in OURSELVES | UNTRIED and command not in found:
                found.append(command)
    return found


def run(command: str) -> subprocess.CompletedProcess[str]:
    # Each command has its own name for its logs, because tests run in parallel.
    name = "docs-" + re.sub(r"\W+", "-", command)
    return subprocess.run(["bash", "-c", f"{command} NAME={name}"], cwd=ROOT, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=1800,
                          check=False)  # fmt: skip


@pytest.fixture(scope="module")
def make_run() -> subprocess.CompletedProcess[str]:
    return run("env -u GUESTS make run")


def assert_shows(shown: list[str], printed: str) -> None:
    """Asserts that every line shown is in the output, in this order. `…` stands for any text."""
    at = 0
    for line in shown:
        if line == "…":
            continue
        pattern = re.compile("^" + re.escape(line.strip()).replace("…", ".*") + r"\s*$", re.M)
        found = pattern.search(printed, at)
        assert found, f"not printed, or not in this place: {line}"
        at = found.end()


def test_the_output_in_the_readme_is_real(make_run) -> None:
    assert make_run.returncode == 0, make_run.stdout + make_run.stderr
    shown = blocks(DOCS[0])[0]
    assert 25 <= len(shown) <= 40, "about one screen"
    assert_shows(shown, re.sub(r"(?m)^ +", "", make_run.stdout))


def test_the_message_in_the_readme_is_real() -> None:
    (command,) = [command for command in commands() if "break_field" in command]
    (shown,) = [block for block in blocks(DOCS[0]) if block[0].startswith("# hello: error:")]
    assert_shows(shown, run(f"env -u GUESTS {command}").stdout)


@pytest.mark.parametrize("command", commands())
def test_command(command: str) -> None:
    done = run(f"env -u GUESTS {command}" if "GUESTS=" not in command else command)
    failed = any(word in command for word in FAIL)
    assert (done.returncode != 0) == failed, done.stdout[-3000:] + done.stderr[-3000:]
