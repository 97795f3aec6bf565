# SPDX-License-Identifier: MIT
"""What `make foreign` makes of its variables, of a checkout, and of what a test has printed. The
kernels themselves are not here, so nothing is booted."""

import gzip
import pathlib

import foreign
import foreign_kut
import pytest
from harness.errors import HarnessError

XV6, MACH = foreign.KERNELS[:2]


def test_a_kernel_is_found_in_its_checkout(tmp_path) -> None:
    (tmp_path / XV6.file).write_bytes(b"kernel")
    assert foreign.file_of(XV6, str(tmp_path)) == tmp_path / XV6.file


def test_a_packed_kernel_is_unpacked(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(foreign, "FOLDER", tmp_path / "out")
    (tmp_path / "mach.gz").write_bytes(gzip.compress(b"kernel"))
    assert foreign.file_of(MACH, str(tmp_path / "mach.gz")).read_bytes() == b"kernel"


@pytest.mark.parametrize(
    ("kernel", "name", "text"),
    [
        (XV6, "", r"/kernelmemfs is not there; build it first: docs/FOREIGN\.md says how$"),
        (XV6, "none", r"^XV6=.*none: there is no such file$"),
        (MACH, "", r"^MACH=.* is a folder; name the kernel's file$"),
    ],
)
def test_a_kernel_that_is_not_there(kernel, name: str, text: str, tmp_path) -> None:
    with pytest.raises(HarnessError, match=text):
        foreign.file_of(kernel, str(tmp_path / name))


def test_no_kernel_is_named(monkeypatch) -> None:
    for kernel in foreign.KERNELS:
        monkeypatch.delenv(kernel.variable, raising=False)
    with pytest.raises(HarnessError, match=r"name at least one kernel: make foreign XV6=… MACH=…"):
        foreign.main()


def test_the_tests_of_a_checkout(tmp_path) -> None:
    (tmp_path / "x86").mkdir()
    (tmp_path / "x86/unittests.cfg").write_text(
        "# comment = no\n[smptest3]\nfile = smptest.flat\nsmp = 3\n"
        "[vmexit]\nfile = vmexit.flat\nsmp = $MAX\ntest_args = 'cpuid mov'\narch = x86_64\n"
        "[sieve]\nfile = sieve.flat\ntimeout = 180\n[apic]\nfile = apic.flat\ntimeout = 30\n"
    )
    tests = foreign_kut.read_tests(tmp_path)
    assert tests == [
        foreign_kut.Test("smptest3", "smptest.flat", 3),
        foreign_kut.Test("vmexit", "vmexit.flat", foreign_kut.CPUS, "cpuid mov", "x86_64"),
        foreign_kut.Test("sieve", "sieve.flat", timeout=180),
        foreign_kut.Test("apic", "apic.flat", timeout=30),
    ]
    assert [test.budget for test in tests] == [600_000, 600_000, 1_200_000, 600_000]


def test_the_list_of_known_failures(tmp_path) -> None:
    assert all(entry.reason for entry in foreign_kut.read_list())
    bad = tmp_path / "list"
    bad.write_text("# comment\n\napic | x | nobody | no reason\n")
    with pytest.raises(HarnessError, match=r"list:3: want `test \| what \| why \| reason`"):
        foreign_kut.read_list(bad)


KNOWN = """\
msr* | WRMSR of * | emulated | why one
msr* | end | emulated | why two
pmu | RDPMC | emulated | why three
"""


@pytest.mark.parametrize(
    ("name", "status", "failures", "verdict", "note"),
    [
        ("msr", 0, [], "PASS", ""),
        ("msr", 1, ["WRMSR of 1"], "PASS", "emulated: WRMSR of 1: why one"),
        ("msr", 1, ["RDMSR"], "FAIL", "FAIL: RDMSR"),
        ("apic", 1, ["WRMSR of 1"], "FAIL", "FAIL: WRMSR of 1"),
        ("msr", None, [], "PASS", "emulated: why two"),
        ("msr", 63, ["RDMSR"], "FAIL", "FAIL: RDMSR"),
        ("apic", None, [], "FAIL", "it did not pass: late"),
        ("apic", 2, [], "FAIL", "it did not pass: late"),
        ("pmu", 63, ["RDPMC"], "FAIL", "emulated: RDPMC: why three"),
        ("apic", foreign_kut.SKIPPED, [], "SKIP", "it skips itself"),
    ],
)
def test_the_verdict(
    name: str, status: int | None, failures: list[str], verdict: str, note: str,
    tmp_path: pathlib.Path,
) -> None:  # fmt: skip
    (tmp_path / "list").write_text(KNOWN)
    result = foreign_kut.Result(foreign_kut.Test(name), status, "late", 3, failures)
    found, notes = foreign_kut.judge(result, foreign_kut.read_list(tmp_path / "list"))
    assert (found, notes[0] if note else "") == (verdict, note)
