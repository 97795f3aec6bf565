# SPDX-License-Identifier: MIT
"""Properties of PCs that emulators do not have by default: clocks that stand still, memory maps
with many ranges, a TiB of RAM, modules at unusual addresses, CPUs without 64-bit mode."""

import re

import pytest
from conftest import CODES, Result, hello
from test_screen import SAVE_TEXT, assert_in_text_mode

from harness import payload

RAM, RESERVED = 1, 2
AGREE = 1.02  # tolerance for an emulator's clocks on a busy host


def tsc(result: Result) -> tuple[int, str]:
    """The rate of the TSC, and the clocks by which it was measured."""
    (line,) = [line for line in result.lines if line.startswith("TSC: ")]
    match = re.fullmatch(r"TSC: (\d+) kHz (.*)", line)
    assert match, line
    return int(match[1]), match[2]


CLOCKS = {
    (): "by the HPET, confirmed by the PM timer, the PIT",
    ("pit=off",): "by the HPET, confirmed by the PM timer; the PIT stands still",
    ("hpet=off",): "by the PM timer, confirmed by the PIT",
    ("pit=off", "hpet=off"): "by the PM timer; nothing confirms it; the PIT stands still",
}


@pytest.mark.parametrize("words", CLOCKS, ids="-".join)
def test_rate_of_the_tsc(boot, words: tuple[str, ...]) -> None:
    """QEMU without some of its clocks, like PCs since 2018, which gate the PIT's clock. The boot is
    refused for lack of VMX, but the rate is logged before that."""
    result = boot(machine="qemu-tcg", method="kernel", guests=(), machine_words=words)
    assert result.exit == CODES.NO_VMX, result
    khz, how = tsc(result)
    assert how == CLOCKS[words], result
    expected, _ = tsc(boot(machine="qemu-tcg", method="kernel", guests=()))
    assert expected / AGREE < khz < expected * AGREE


@pytest.mark.parametrize("ips", [5_000_000, 10_000_000, 50_000_000])
def test_cpuid_does_not_decide(boot, ips: int) -> None:
    """Bochs' TSC counts instructions, whatever CPUID reports for the model."""
    result = boot(guests=(hello(),), ips=ips)
    khz, how = tsc(result)
    assert ips / AGREE < khz * 1000 < ips * AGREE, result
    clocks = "by the HPET, confirmed by the PM timer, the PIT"
    assert re.match(rf"{clocks}; not believed: CPUID leaf 15h \(\d+ kHz\)", how), how


@pytest.mark.parametrize("cpu", ["max", "max,-pdpe1gb"], ids=["1-gib-pages", "2-mib-pages"])
def test_900_gib_of_ram(boot, cpu: str) -> None:
    """QEMU's limit is a TiB. The host needs much less, because little of the RAM is touched."""
    result = boot(machine="qemu-tcg", method="kernel", guests=(), cpu=cpu, mem=900 << 10)
    assert result.exit == CODES.NO_VMX, result
    (line,) = [line for line in result.lines if line.startswith("boot: ")]
    (free,) = re.findall(r"(\d+) MiB of RAM free", line)
    assert 0.998 * (900 << 10) < int(free) < 900 << 10


def test_a_memory_map_of_many_ranges(boot) -> None:
    """Other entries reserve 400 pages inside of the RAM, and a range ends at 2^64. The hypervisor's
    count of free pages does not include them."""
    first, step, count = 0x8000000, 0x3000, 400
    entries = [(first + i * step, 0x1000, RESERVED) for i in reversed(range(count))]
    entries += [(0xFD00000000, (1 << 64) - 0xFD00000000, RESERVED), (first, 0, RESERVED)]
    ordinary = boot(guests=(hello(),))
    result = boot(guests=(hello(),), tags=(payload.memory_map_tag(entries),))
    assert result.status == 0, result
    assert result.passed("hello")
    free = [
        int(re.search(r"(\d+) pages are free", "\n".join(r.lines))[1]) for r in (ordinary, result)
    ]
    assert count <= free[0] - free[1] < count + 10


def test_a_memory_map_of_too_many_ranges(boot) -> None:
    entries = [(0x8000000 + i * 0x2000, 0x1000, RESERVED) for i in range(3000)]
    result = boot(guests=(hello(),), tags=(payload.memory_map_tag(entries),))
    assert result.status == 0, result
    assert result.has(r"^boot information: the memory map has more than 1024 ranges; the smallest "
                      r"count as reserved, and \d+ KiB of RAM with them$")  # fmt: skip


PLACES = {
    "device": (0xFEE00000, 0x1000),
    "hole": (0xD0000000, 0x1000),
    "beyond-ram": (0x10000000, 0x100000),
    "across-the-end-of-ram": (0xFF00000, 0x1000000),
    "screen": (0xB8000, 0x1000),
    "bios": (0xF0000, 0x1000),
    "page-0": (0, 0x1000),
    "top": (0xFFFFF000, 0xFFF),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_module_that_is_not_in_ram(boot, place: str) -> None:
    start, size = PLACES[place]
    result = boot(guests=(hello(),), tags=(payload.module_tag("stray", start, size),))
    assert result.exit == CODES.MODULE_OUTSIDE, result
    where = rf"at (0x)?{start:x} to {start + size:#x}"
    assert result.has(rf"^# stray: error: module 1 \(stray\) {where} is not in RAM, "
                      r"according to the boot loader's memory map$"), result  # fmt: skip
    assert result.passed("hello"), result


@pytest.mark.parametrize("cpu", ["qemu32", "pentium3", "qemu64,-nx"])
def test_no_long_mode(boot, cpu: str) -> None:
    """No C code can run without long mode. The exit code reaches QEMU, and the screen shows the
    message."""
    result = boot(machine="qemu-tcg", method="kernel", guests=(), cpu=cpu)
    assert result.exit == CODES.NO_VMX, result
    assert result.run.emulator_status == 2 * CODES.NO_VMX[0] + 1
    assert result.has("^error: this CPU has no 64-bit mode or no execute-disable bit; .* with "
                      '"Execute Disable Bit" on in the firmware\'s setup$'), result  # fmt: skip
    shown = boot(machine="qemu-tcg", method="kernel", guests=(), cpu=cpu, monitor=(SAVE_TEXT,))
    assert_in_text_mode(shown)
