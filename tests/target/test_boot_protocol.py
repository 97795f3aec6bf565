# SPDX-License-Identifier: MIT
"""Every way to boot passes a correct machine state; the option ROM passes the same information as
GRUB."""

import pathlib
import re

import pytest
from conftest import NEW, Result

from harness.boot import Guest

WAYS = [
    ("bochs", "optrom"),
    ("bochs", "grub-bios"),
    ("bochs", "grub-efi"),
    ("qemu-tcg", "grub-bios"),
    ("qemu-tcg", "grub-efi"),
]
TAG_CMDLINE, TAG_MODULE, TAG_MEMINFO, TAG_FRAMEBUFFER, TAG_RSDP = 1, 3, 4, 8, 14


def checksum(data: bytes) -> int:
    total = 0
    for byte in data:
        total = (total * 31 + byte) % 2**32
    return total


def tag(result: Result, number: int) -> list[str]:
    return [line for line in result.lines if line.startswith(f"TAG {number} ")]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> tuple[Guest, ...]:
    """One module is larger than Bochs' memory blocks of 128 KiB, one is empty, and one is slightly
    larger than a page."""
    folder = tmp_path_factory.mktemp("modules")
    large, empty, small = folder / "large.elf", folder / "empty", folder / "small"
    large.write_bytes(bytes(i * 7 % 251 for i in range(400_003)))
    empty.touch()
    small.write_bytes(b"\xff" * 4097)
    return (Guest(large, ("testctl", "memory=32"), "-x y=z"), Guest(empty), Guest(small))


@pytest.mark.parametrize(("machine", "method"), WAYS)
def test_hands_over(bootinfo, modules: tuple[Guest, ...], machine: str, method: str) -> None:
    result = bootinfo(machine=machine, method=method, guests=modules, cmdline="a=1 b")
    assert result.status == 0, result
    assert tag(result, TAG_CMDLINE) == ["TAG 1 a=1 b"]
    assert tag(result, TAG_MODULE) == [
        f"TAG 3 bytes {len(data)} sum {checksum(data):#x} string {guest.string}"
        for guest, data in ((guest, guest.path.read_bytes()) for guest in modules)
    ]


def test_option_rom_agrees_with_grub(bootinfo, modules: tuple[Guest, ...]) -> None:
    rom = bootinfo(guests=modules)
    grub = bootinfo(guests=modules, method="grub-bios")
    for number in (TAG_FRAMEBUFFER, TAG_RSDP, TAG_MODULE):
        assert tag(rom, number) == tag(grub, number)
    ranges = [[line for line in r.lines if line.startswith("RANGE")] for r in (rom, grub)]
    assert len(ranges[0]) > 3
    assert ranges[0] == ranges[1]


@pytest.mark.parametrize(("wanted", "found"), [(None, 5), (0, 0), (1, 1), (5, 5)])
def test_feature_control(bootinfo, wanted: int | None, found: int) -> None:
    """Bochs' BIOS sets IA32_FEATURE_CONTROL to 5; with SeaBIOS, the ROM sets it."""
    assert bootinfo(feature_control=wanted).has(f"^FEATURE_CONTROL {found:#x}$")


@pytest.mark.parametrize("mem", [4, 16, 1024])
def test_memory_sizes(bootinfo, mem: int) -> None:
    result = bootinfo(mem=mem)
    assert result.status == 0, result
    (meminfo,) = tag(result, TAG_MEMINFO)
    upper_kib = int(re.split(" ", meminfo)[3], 16)
    assert mem - 2 < upper_kib / 1024 <= mem - 1


def test_memory_above_4_gib(bootinfo) -> None:
    """No RAM is lost to PCI, whose addresses begin at 3 GiB: the rest comes behind 4 GiB. (Bochs
    2.7 takes half a minute to start such a machine.)"""
    result = bootinfo(mem=3072 + 512, bochs=NEW)
    assert result.status == 0, result
    assert result.has("^RANGE 0x0 0x1 0x20000000 0x0 0x1$"), result


def test_option_rom_boots_quickly(bootinfo) -> None:
    assert bootinfo().seconds < 3  # 0.3 s on an idle machine


def test_option_rom_says_what_is_wrong(bootinfo, tmp_path: pathlib.Path, monkeypatch) -> None:
    from harness import bochs

    real = bochs.make_disk
    monkeypatch.setattr(bochs, "make_disk", lambda *args: real(*args).replace(b"EPTP", b"XXXX"))
    result = bootinfo(timeout=2)
    assert result.has("optrom: the first disk does not hold")
