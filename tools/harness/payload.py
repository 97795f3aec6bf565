# SPDX-License-Identifier: MIT
"""Lays out the disk from which the option ROM boots (tools/optrom.S, which defines the format).

In RAM the image comes where its program headers want it, then the multiboot2 information, then
the modules, each on pages of its own.
"""

import struct

from . import acpi
from .boot import BOCHS_LOW, Boot
from .elf import read_image
from .errors import HarnessError

MAGIC = 0x50545045
LOADER_NAME = "eptvisor optrom"
PAGE = 4096
SECTOR = 512
CYLINDER = 16 * 63 * SECTOR  # Bochs requires that a disk consists of whole cylinders
ROM_SIZE = 2048
HEADER_SIZE = 4 * SECTOR
DATA_SECTOR = 9
# The ROM appends the memory map (MAP_LIMIT in optrom.S: 128 entries), sizes, RSDP and end tag;
# and there is room for the tags of `listed_cpus`.
ROOM_FOR_ROM = 4096
# Firmware keeps its own tables at the top of RAM.
FIRMWARE_TOP = 1 << 20

TAG_CMDLINE, TAG_LOADER, TAG_MODULE, TAG_MEMORY_MAP = 1, 2, 3, 6
TAG_FRAMEBUFFER, TAG_RSDP_NEW = 8, 15
EGA_TEXT = 2


def page_up(value: int) -> int:
    return -(-value // PAGE) * PAGE


def tag(kind: int, body: bytes) -> bytes:
    raw = struct.pack("<II", kind, 8 + len(body)) + body
    return raw + bytes(-len(raw) % 8)


def _string(text: str) -> bytes:
    return text.encode() + b"\0"


def module_tag(string: str, start: int, size: int) -> bytes:
    return tag(TAG_MODULE, struct.pack("<II", start, start + size) + _string(string))


def memory_map_tag(entries: list[tuple[int, int, int]]) -> bytes:
    """A memory-map tag of ranges, each with base, size and kind."""
    body = struct.pack("<II", 24, 0)
    return tag(TAG_MEMORY_MAP, body + b"".join(struct.pack("<QQII", *e, 0) for e in entries))


def _text_screen() -> bytes:
    """VGA text: 80x25, 160 bytes a line, 16 bits a character."""
    return tag(TAG_FRAMEBUFFER, struct.pack("<QIIIBBH", 0xB8000, 160, 80, 25, 16, EGA_TEXT, 0))


def _chunk_of(start: int, data: bytes, sector: int) -> tuple[tuple[int, int, int, int], bytes]:
    """Returns a chunk of the header and its sectors. Trailing zeros are cleared in RAM, not
    read."""
    content = data.rstrip(b"\0")
    content = content.ljust(-(-len(content) // SECTOR) * SECTOR, b"\0")
    clear = max(len(data) - len(content), 0)
    return (start, sector, len(content) // SECTOR, clear), content


def make_disk(boot: Boot, rom: bytes) -> bytes:
    """The disk from which the ROM boots. In RAM the modules follow the image."""
    image = read_image(boot.image)
    if image.start < 1 << 20:
        raise HarnessError(f"{image.path} loads at {image.start:#x}, below 1 MiB")
    modules = [(guest, guest.path.read_bytes()) for guest in boot.guests]

    info = page_up(image.end)
    tags = tag(TAG_CMDLINE, _string(boot.cmdline)) + tag(TAG_LOADER, _string(LOADER_NAME))
    tags = _text_screen() + b"".join(boot.tags) + tags
    place = info + 8 + len(tags) + sum(len(module_tag(guest.string, 0, 0)) for guest, _ in modules)
    place = page_up(place + ROOM_FOR_ROM)
    ranges = [(image.start, bytes(image.flat()))]
    for guest, data in modules:
        told = ranges[1][0] if boot.modules_overlap and len(ranges) > 1 else place
        tags += module_tag(guest.string, told, len(data))
        ranges.append((place, data))
        place = page_up(place + len(data))
    if boot.listed_cpus is not None:
        # A module that belongs to the last guest, so that the memory is nobody else's. The image
        # prefers this RSDP to the firmware's, which is older.
        data = acpi.tables(place, boot.listed_cpus)
        tags += module_tag("+acpi", place, len(data)) + tag(TAG_RSDP_NEW, acpi.rsdp(place))
        ranges.append((place, data))
        place = page_up(place + len(data))
    ranges.append((info, struct.pack("<II", 8 + len(tags), 0) + tags))
    end = (min(boot.mem, BOCHS_LOW) << 20) - FIRMWARE_TOP
    if place > end:
        advice = "; give the machine more" if boot.mem < BOCHS_LOW else ""
        raise HarnessError(
            f"MEM={boot.mem}: the image and its modules reach to {place / 2**20:.1f} MiB, and have "
            f"to end at {end >> 20} MiB, because the firmware needs 1 MiB above them{advice}"
        )

    header = struct.pack(
        "<6IiI", MAGIC, image.entry, info, boot.feature_control or 0, len(ranges),
        boot.x2apic_on, boot.tsc_adjust, 0,
    )  # fmt: skip
    sectors = b""
    for start, data in ranges:
        chunk, content = _chunk_of(start, data, DATA_SECTOR + len(sectors) // SECTOR)
        header += struct.pack("<4I", *chunk)
        sectors += content
    if len(header) > HEADER_SIZE:
        raise HarnessError(f"{len(modules)} guests are more than the option ROM's header holds")
    disk = rom[ROM_SIZE:] + rom[:ROM_SIZE] + header.ljust(HEADER_SIZE, b"\0") + sectors
    return disk.ljust(-(-len(disk) // CYLINDER) * CYLINDER, b"\0")


def with_checksum(rom: bytes) -> bytes:
    """Returns the ROM with a checksum, without which a BIOS ignores it, followed by the boot
    sector."""
    code = bytearray(rom)
    code[ROM_SIZE - 1] = 0
    code[ROM_SIZE - 1] = -sum(code[:ROM_SIZE]) % 256
    return bytes(code)
