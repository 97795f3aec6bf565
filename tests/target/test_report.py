# SPDX-License-Identifier: MIT
"""`make report`: the word `report`, the text file of a machine, and docs/MACHINES.md."""

import functools
import pathlib
import re
import subprocess
import sys

import pytest
import report
from conftest import CODES, OTHER, OWN, ROOT, BootFixture, Result, hello

from harness import sums

MACHINES = ROOT / "docs/MACHINES.md"
# The rows of emulators, each with the fields of its boot.
ROWS = {
    f"Bochs {version}, `{cpu}`": {"bochs": version, "cpu": cpu}
    for version, cpus in {
        "2.7": ("corei7_icelake_u", "corei7_skylake_x", "corei7_haswell_4770",
                "corei7_ivy_bridge_3770k", "core2_penryn_t9600"),
        "3.0": ("corei7_icelake_u", "tigerlake", "sapphire_rapids", "arrow_lake"),
    }.items() for cpu in cpus
}  # fmt: skip


QEMU = "QEMU 7.2 (TCG), `max`"


def log(result: Result) -> bytes:
    return result.run.log.read_bytes()


@pytest.fixture
def alone(boot: BootFixture) -> Result:
    return boot(cmdline="report", guests=())


def test_a_report_alone_is_a_boot(alone: Result) -> None:
    assert alone.status == 0, alone
    assert alone.output.summary == (0, 0, 0)
    found = report.read(log(alone))
    assert found.missing == []
    assert found.fact("loader").startswith("multiboot2 by eptvisor optrom")
    assert found.fact("CPU vendor") == "GenuineIntel"
    assert any(fact.startswith("APIC, revision ") for fact in found.facts["ACPI table"])
    assert "enable EPT" in found.fact("secondary controls that may be 1")


def test_without_the_word_nothing_is_reported(boot: BootFixture) -> None:
    result = boot(guests=())
    assert result.exit == CODES.NO_GUESTS, result
    assert not result.has("^report: ")
    assert report.read(log(result)).missing == [
        "no line `report: begin`: boot with the word `report` on the command line"]  # fmt: skip


def test_a_machine_that_is_refused_is_reported(boot: BootFixture) -> None:
    """Also with guests: the report comes before the refusal."""
    result = boot(machine="qemu-tcg", method="kernel", cmdline="report", guests=(hello(),))
    assert result.exit == CODES.NO_VMX, result
    found = report.read(log(result))
    assert found.missing == []
    assert report.vmx(found) == "none" and found.fact("below us").endswith("(TCGTCGTCGTCG)")
    assert report.result(found) == "EXIT 10 no-vmx"
    said = report.row(found, QEMU).strip("| ").split(" | ")
    del said[2], (row := [QEMU, *rows()[QEMU]])[2]  # the CPU's signature is the version's
    assert row == said


def missing(data: bytes) -> str:
    return "; ".join(report.read(data).missing)


def test_what_a_capture_lacks_is_said(alone: Result) -> None:
    got = log(alone)
    assert missing(b"noise\n" * 9 + got) == ""
    assert missing(got[got.index(b"TSC") :]) == (
        "the first line of a boot, `eptvisor: \N{HORIZONTAL ELLIPSIS}`, was not captured; "
        "the console lost characters and ends of lines: "
        + missing(got[got.index(b"TSC") :]).rpartition("ends of lines: ")[2])  # fmt: skip
    at = got.index(b"report: CPU: ")
    assert "the beginning of the report, `report: begin`, was not captured" in missing(got[at:])
    cut = missing(got[:at])
    assert re.search(r"the report ends early, after `report: TSC: \d+ kHz`; the last line of a "
                     r"boot, `EXIT code name`, was not captured; the last one is `report: T", cut)
    assert "a line of the report has lost or changed characters: its sum is 0x" in missing(
        got.replace(b"GenuineIntel", b"GenuinIntel"))  # fmt: skip
    lines = got.split(b"\n")
    gone = next(i for i, line in enumerate(lines) if line.startswith(b"report: CPUID: "))
    assert re.search(r"^\d+ of the report's \d+ lines were captured; the console lost",
                     missing(b"\n".join(lines[:gone] + lines[gone + 1 :])))  # fmt: skip
    assert missing(got.replace(b"report: begin: 1", b"report: begin: 2")).startswith(
        "`report: begin: 2`: this tool reads version 1 of the report")  # fmt: skip
    assert re.search(r"^the console lost characters in line \d+: apicv: interupts",
                     missing(got.replace(b"apicv: interrupts", b"apicv: interupts")))  # fmt: skip


def test_the_last_boot_of_a_log_counts(alone: Result) -> None:
    got = log(alone)
    assert missing(got[:2000] + got) == ""
    assert missing(got + b"\x1b[2J" + got) == ""


def test_one_wrong_line_is_found(alone: Result) -> None:
    got = sums.lines(log(alone))
    got[40] = got[40][1:]
    found = sums.check_console(got)
    assert (found.complete, found.line) == (False, 41)
    got[50] += b"x"
    assert sums.check_console(got).line == 0


def report_py(*words: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "tools/report.py", *words], cwd=ROOT, text=True,
                          capture_output=True, check=False)  # fmt: skip


def test_the_file_has_everything(boot: BootFixture, tmp_path: pathlib.Path) -> None:
    result = boot(cmdline="report", guests=(hello(),))
    path = tmp_path / "report-test.log"
    path.write_bytes(log(result))
    done = report_py("--log", path, "--title", "a test")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| a test | QuadCore Intel Core i7-1065G7, 1300 MHz | family 6,")
    text = (ROOT / "build/report/report-test.txt").read_text()
    assert text.startswith("== A report of eptvisor on a test\n\ncomplete\n2 passed, 0 failed; EX")
    for line in ("CPU vendor: GenuineIntel", "ok hello # ended=exit", "EXIT 0 ok"):
        assert f"\n{line}" in text
    path.write_bytes(log(result)[:-12])
    done = report_py("--log", path)
    assert (done.returncode, done.stdout[:8]) == (1, "| a PC |")
    assert "report: missing: the last line of a boot, `EXIT code name`" in done.stderr
    assert "\nMISSING: the last line of a boot" in (
        ROOT / "build/report/report-test.txt").read_text()  # fmt: skip
    done = report_py("--log", tmp_path / "nothing")
    assert done.returncode == 123
    assert done.stderr.endswith("nothing: No such file or directory\n")


@functools.cache
def rows() -> dict[str, list[str]]:
    """The cells after the title of each row of the document."""
    found = re.findall(r"^\| (.*) \|$", MACHINES.read_text(), re.M)
    return {cells[0]: cells[1:] for row in found if len(cells := row.split(" | ")) == 6}


@pytest.mark.parametrize("title", [t for t, f in ROWS.items() if f["bochs"] in (OWN, OTHER)])
def test_a_row_is_what_the_machine_says(boot: BootFixture, title: str) -> None:
    """All but the results, which another boot has had."""
    found = report.read(log(boot(cmdline="report", guests=(), **ROWS[title])))
    said = report.row(found, title).strip("| ").split(" | ")
    assert rows()[title][:-1] == said[1:-1]


def test_all_rows_are_of_emulators_that_are_tested_or_say_so() -> None:
    others = set(rows()) - set(ROWS) - {"machine", QEMU}
    assert all(re.match(r"KVM |Bochs 3\.1", title) for title in others), others
    assert set(ROWS) <= set(rows())
