# SPDX-License-Identifier: MIT
"""Multiboot2 programs as guests: the boot-protocol checker, which GRUB starts in other tests."""

import pathlib
import struct
import subprocess

import pytest
from conftest import BOOTINFO, CODES, Result, hello

from harness.boot import Guest

MULTIBOOT1 = struct.pack("<I", 0x1BADB002)
MULTIBOOT2 = struct.pack("<2I", 0xE85250D6, 0)
ADDRESS, ENTRY, UNKNOWN = 2, 3, 11  # types of the header's tags
PAGE = 4096


def tags(result: Result, number: int) -> list[str]:
    lines = [line.strip() for line in result.lines]
    return [line for line in lines if line.startswith(f"TAG {number} ")]


def program() -> bytearray:
    """The checker without its multiboot1 header, which would be preferred."""
    data = bytearray(BOOTINFO.read_bytes())
    assert data.count(MULTIBOOT1) == data.count(MULTIBOOT2) == 1
    at = data.index(MULTIBOOT1)
    data[at : at + 4] = bytes(4)
    return data


def page_with_header(*tags_wanted: tuple[int, ...]) -> bytes:
    """A page that begins with a header with these tags, which are `type, contents ...`."""
    body = b""
    for kind, *contents in (*tags_wanted, (0,)):
        tag = struct.pack(f"<2I{len(contents)}I", kind, 8 + 4 * len(contents), *contents)
        body += tag + bytes(-len(tag) % 8)
    header = MULTIBOOT2 + struct.pack("<I", 16 + len(body))
    header += struct.pack("<I", -sum(struct.unpack("<3I", header)) % 2**32)
    return (header + body).ljust(PAGE, b"\0")


def segment(data: bytes) -> tuple[int, int, int, int, int]:
    """Offset, address, sizes in the file and in memory of the only segment, and the entry point."""
    (entry, at) = struct.unpack_from("<2I", data, 24)
    kind, offset, _, address, filled, size = struct.unpack_from("<6I", data, at)
    assert kind == 1
    return offset, address, filled, size, entry


def raw(data: bytearray) -> bytes:
    """Returns a file that is no ELF file: a header with an address tag, followed by the segment's
    contents."""
    offset, address, filled, size, entry = segment(data)
    base = address - PAGE
    return page_with_header(
        (ADDRESS, base, base, address + filled, address + size), (ENTRY, entry)
    ) + bytes(data[offset : offset + filled])


def elf64(data: bytearray, folder: pathlib.Path) -> bytes:
    (folder / "32").write_bytes(data)
    subprocess.run(["objcopy", "-I", "elf32-i386", "-O", "elf64-x86-64", "32", "64"], cwd=folder,
                   check=True)  # fmt: skip
    return (folder / "64").read_bytes()


@pytest.mark.parametrize("form", ["elf32", "elf64", "raw"])
def test_the_checker_is_content(boot, tmp_path: pathlib.Path, form: str) -> None:
    data = program()
    file, module = tmp_path / "checker", tmp_path / "module"
    forms = {"elf32": bytes, "elf64": lambda data: elf64(data, tmp_path), "raw": raw}
    file.write_bytes(forms[form](data))
    module.write_bytes(b"\xff" * 4097)
    guests = (Guest(file, (), "a=1 b"), Guest(module, (), "text", "+first"),
              Guest(file, (), "", "+second"), hello())  # fmt: skip
    result = boot(guests=guests)
    assert result.status == 0, result
    assert result.has("^ok 1 checker # ended=exit"), result
    assert tags(result, 1) == ["TAG 1 a=1 b"]
    assert tags(result, 2) == ["TAG 2 eptvisor"]
    assert [line.split(" string ")[1] for line in tags(result, 3)] == ["first text", "second"]
    assert [line.split()[3] for line in tags(result, 3)] == ["4097", str(file.stat().st_size)]
    assert tags(result, 4) == [f"TAG 4 {640:#x} {31 << 10:#x}"]
    assert len(tags(result, 15)) == 1
    ranges = [line.split()[1:] for line in result.lines if line.strip().startswith("RANGE ")]
    assert len(ranges) >= 4


def test_what_it_requires_is_refused(boot, tmp_path: pathlib.Path) -> None:
    bad = {"unknown": page_with_header((UNKNOWN, 1)), "entry": page_with_header((ENTRY, 0x1000))}
    for name, page in bad.items():
        (tmp_path / name).write_bytes(page)
    result = boot(guests=(*(Guest(tmp_path / name) for name in bad), hello()))
    assert result.exit == CODES.MODULE_NOT_ELF, result
    assert result.has("guest unknown: its multiboot2 header requires tag 11, which is not supp")
    assert result.has("guest entry: its multiboot2 header has no address tag, and it is not an ELF")
    assert result.passed("hello"), result
