# SPDX-License-Identifier: MIT
"""What a boot of Linux costs the hypervisor, and how much memory its VM takes in
addition to its RAM."""

import re

import bench
import linux_bench
import pytest
from conftest import hello, need_made
from harness import debian
from harness.errors import HarnessError

MEMORY = re.compile(r"^# hello: (\d+) KiB of RAM are in use, and (\d+) KiB of other memory$")
ENTRIES, CLEARS = [0x100, 0x110], {0x200: 512, 0x300: 16384}
EXIT = (0x120, "push", "Caught VMEXIT breakpoint")
RESUME, LAUNCH = (0x110, "vmresume", "Breakpoint 2, 0x110"), (0x100, "vmlaunch", "Breakpoint 1")
PAGE, BLOCK = (0x200, "xor", "Breakpoint 3"), (0x300, "mov", "Breakpoint 4")
MARK = (0x401003, "mov", "Magic breakpoint")


def stops(*places: tuple[int, tuple[int, str, str]]) -> str:
    """What the debugger prints at stops after so many instructions."""
    text = "Next at t=0\n(0) [0x0000fffffff0] f000:fff0 (unk. ctxt): jmpf 0xf000:e05b ; ea\n"
    for now, (address, code, why) in places:
        text += f"(0) {why}\nNext at t={now}\n"
        text += f"(0) [0x{address:012x}] 0008:{address:016x} (unk. ctxt): {code} rax ; 00\n"
    return text


def test_what_the_hypervisor_executes_is_counted() -> None:
    """Nothing before the first entry is counted, nor are pages that are cleared for the VM's
    creation."""
    text = stops((50, PAGE), (100, LAUNCH), (1100, EXIT), (1150, PAGE), (1800, RESUME),
                 (2000, EXIT), (2010, BLOCK), (19000, BLOCK), (36000, RESUME), (40000, EXIT),
                 (40100, RESUME), (50100, MARK), (50200, EXIT))  # fmt: skip
    cost = linux_bench.count(text, ENTRIES, CLEARS)
    assert cost == linux_bench.Cost(3, 50000, 700 + 34000 + 100, 511 + 2 * 16383)
    assert cost.share_of_ticks == pytest.approx(100 * 34800 / 50000)
    assert cost.share == pytest.approx(100 * (34800 - 33277) / (50000 - 33277))
    with pytest.raises(HarnessError, match="did not see the program that marks"):
        linux_bench.count(stops((100, LAUNCH), (1100, EXIT)), ENTRIES, CLEARS)


def test_the_document_has_the_table() -> None:
    table = bench.DOCUMENT.read_text().split("<!-- linux: written by make bench -->")[1]
    assert "| exits | " in table


def test_the_report_says_what_a_vm_takes(boot) -> None:
    result = boot(guests=(hello(),), cmdline="counters=1")
    (found,) = [match for line in result.lines if (match := MEMORY.match(line))]
    assert 512 <= int(found[1]) <= 1024, result
    assert 128 < int(found[2]) <= linux_bench.MOST_BESIDE, result
    assert not boot(guests=(hello(),)).has("KiB of other memory")


def test_linux_is_cheap() -> None:
    need_made("linux-files")
    assert linux_bench.kernel_version() in debian.KERNEL.read_bytes().decode("latin-1")
    cost = linux_bench.in_vm("linux-cost")
    assert cost.exits > 1000, cost
    assert 0.1 < cost.share <= linux_bench.MOST, cost
    assert 50_000 < cost.ram <= debian.MEM * 1024, cost
    assert 100 < cost.beside <= linux_bench.MOST_BESIDE, cost
