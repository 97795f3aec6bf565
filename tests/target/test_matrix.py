# SPDX-License-Identifier: MIT
"""Which boots `make linux-matrix` does not repeat. Nothing is booted here."""

import dataclasses
import os
import pathlib

import matrix
import pytest
from harness.boot import Boot, Guest
from harness.errors import Status
from harness.session import Run
from harness.serial import parse

PASSED = "ok 1 linux # ended=exit exits=7\n1 passed, 0 failed, 0 skipped\n"


@pytest.fixture
def boot(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Boot:
    monkeypatch.setattr(Boot, "folder", tmp_path)
    for name in ("image", "image32", "kernel"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000, 1000))
    guests = (Guest(tmp_path / "kernel", ("mem=256M",), "quiet"),)
    return Boot("matrix", image=tmp_path / "image", image32=tmp_path / "image32", guests=guests)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses with which the next boots end. Each boot takes one."""
    statuses: list[int] = []

    def run(boot: Boot) -> Run:
        return Run(boot, parse(PASSED), statuses.pop(), "", 3.0, [], 0)

    monkeypatch.setattr(matrix.session, "run", run)
    return statuses


def test_a_boot_that_passed_is_not_repeated(boot: Boot, begun: list[int]) -> None:
    begun += [Status.OK]
    first = matrix.ran(boot)
    assert first[1] == Status.OK and first[0].endswith("| 7 | 3 |")
    assert matrix.ran(boot) == first


def test_a_boot_that_failed_is_repeated(boot: Boot, begun: list[int]) -> None:
    begun += [Status.OK, Status.TIMED_OUT]
    assert matrix.ran(boot)[1] == Status.TIMED_OUT
    assert matrix.ran(boot)[1] == Status.OK and not begun


@pytest.mark.parametrize("name", ["image", "image32", "kernel"])
def test_a_new_file_is_booted(boot: Boot, begun: list[int], name: str) -> None:
    begun += [Status.OK, Status.OK]
    matrix.ran(boot)
    os.utime(boot.folder / name, (4e9, 4e9))
    matrix.ran(boot)
    assert not begun


@pytest.mark.parametrize("field", [{"args": "quiet nokaslr"}, {"args": ""}, {"words": ("pci",)}])
def test_other_strings_are_booted(boot: Boot, begun: list[int], field: dict) -> None:
    begun += [Status.OK, Status.OK]
    matrix.ran(boot)
    changed = dataclasses.replace(boot.guests[0], **field)
    matrix.ran(dataclasses.replace(boot, guests=(changed,)))
    assert not begun
