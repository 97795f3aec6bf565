# SPDX-License-Identifier: MIT
"""Bad input causes a message that names it and its own exit code, and the other guests still
run."""

import pathlib
import re
import struct

import pytest
from conftest import CODES, HELLO, ROOT, hello

from harness.boot import Guest

BARE_METAL = ROOT / "docs/BARE_METAL.md"
PT_LOAD = 1
PHENTSIZE = 32


def program_header(data: bytes) -> int:
    """The file offset of the first PT_LOAD header of an ELF32 file."""
    (phoff,) = struct.unpack_from("<I", data, 28)
    (count,) = struct.unpack_from("<H", data, 44)
    for at in range(phoff, phoff + count * PHENTSIZE, PHENTSIZE):
        if struct.unpack_from("<I", data, at)[0] == PT_LOAD:
            return at
    raise AssertionError("no PT_LOAD header")


def with_memsz(data: bytes, memsz: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into("<I", changed, program_header(data) + 20, memsz)
    return bytes(changed)


def truncated(data: bytes) -> bytes:
    """The file, cut in the middle of the first segment's contents."""
    at = program_header(data)
    (offset,) = struct.unpack_from("<I", data, at + 4)
    (filesz,) = struct.unpack_from("<I", data, at + 16)
    return data[: offset + filesz // 2]


def assert_named(result, name: str) -> None:
    """Checks that each message about the VM, and its result, has the VM's name and not its whole
    string."""
    assert result.has(rf"^not ok \d+ {name} # not started$"), result
    about = [line for line in result.output.lines if re.search(r"\berror: ", line)]
    assert about, "no message"
    assert any(
        re.search(rf"^# {name}: error: |^error: guest {name}[:,] ", line) for line in about
    ), about
    assert not any(line.startswith("error: ") and "guest" not in line for line in about), about


BAD_MODULES = {
    "empty": (lambda data: b"", CODES.MODULE_EMPTY),
    "truncated": (truncated, CODES.MODULE_TRUNCATED),
    "headers-cut": (lambda data: data[:40], CODES.MODULE_TRUNCATED),
    "text": (lambda data: b"#!/bin/sh\nexit 0\n" * 100, CODES.MODULE_NOT_ELF),
    "elf-magic-only": (lambda data: b"\x7fELF" + bytes(5000), CODES.MODULE_NOT_ELF),
    "larger-than-ram": (lambda data: with_memsz(data, 0x80000000), CODES.GUEST_TOO_LARGE),
    "wraps-around": (lambda data: with_memsz(data, 0xFFFFFFFF), CODES.GUEST_TOO_LARGE),
}


@pytest.mark.parametrize("kind", BAD_MODULES)
def test_bad_module(boot, tmp_path: pathlib.Path, kind: str) -> None:
    spoil, code = BAD_MODULES[kind]
    bad = tmp_path / f"{kind}.elf"
    bad.write_bytes(spoil(HELLO.read_bytes()))
    result = boot(guests=(Guest(bad), hello()))
    assert result.exit == code, result
    assert result.status == code[0]
    assert_named(result, kind)
    assert result.passed("hello"), result


def test_overlapping_modules(boot, tmp_path: pathlib.Path) -> None:
    second = tmp_path / "second.elf"
    second.write_bytes(HELLO.read_bytes())
    result = boot(guests=(hello(), Guest(second)), modules_overlap=True)
    assert result.exit == CODES.MODULE_OVERLAP, result
    assert result.has(r"\bsecond\b.*overlap|overlap.*\bsecond\b"), result
    assert_named(result, "second")


def test_unknown_module_word(boot) -> None:
    result = boot(guests=(Guest(HELLO, ("tesctl",)),))
    assert result.exit == CODES.MODULE_WORDS, result
    assert result.has("tesctl"), result
    assert_named(result, "hello")


def test_budget_and_memory_are_said_as_they_are_written(boot) -> None:
    """The allowed values are printed in decimal, and sizes with their units."""
    guests = tuple(Guest(HELLO, (w,), name=w[:3]) for w in ("budget=3600001", "mem=1M"))
    result = boot(guests=guests)
    assert result.exit == CODES.MODULE_WORDS, result
    assert result.has(r'bad value in "budget=3600001"; allowed: budget=1[.][.]3600000$'), result
    assert result.has(r'bad value in "mem=1M"; allowed: mem=2M[.][.]64G \(bytes, or with'), result
    assert_named(result, "bud")
    assert_named(result, "mem")


# Words with which a VM is refused at each later stage of its creation.
REFUSED = ["pin=60", "shared=63", "shared=30,execute_only=30", "mem=2G,shared=30",
           "mem=60G", "vcpus=2,pin=7"]  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_a_refused_vm_is_named(boot, words: str) -> None:
    refused = Guest(HELLO, tuple(words.split(",")), "with arguments", "nobody")
    result = boot(guests=(refused, hello()))
    assert result.status, result
    assert_named(result, "nobody")
    assert result.passed("hello"), result


@pytest.mark.parametrize(
    ("cmdline", "named"),
    [
        ("mmio_cashing=0", "mmio_caching"),
        ("mmio_caching=2", "mmio_caching"),
        ("mmio_caching=", "mmio_caching"),
        ("gva_cache=sometimes", "off.*exits.*verify"),
        ("huge=1 gibberish", "gibberish"),
    ],
)
def test_bad_command_line(boot, cmdline: str, named: str) -> None:
    """The message names the word and lists what is allowed."""
    result = boot(cmdline=cmdline)
    assert result.exit == CODES.BAD_COMMAND_LINE, result
    word = cmdline.split()[-1].partition("=")[0]
    assert result.has(rf"\b{word}\b"), result
    assert result.has(named), result
    assert not result.output.cases


def test_no_guests(boot) -> None:
    result = boot(guests=())
    assert result.exit == CODES.NO_GUESTS, result


@pytest.mark.parametrize("mem", [16, 23])
def test_too_little_ram(boot, mem: int) -> None:
    """Too little RAM causes a message, not a crash."""
    result = boot(guests=(hello(),), mem=mem)
    assert result.exit == CODES.NO_MEMORY, result
    assert result.has(r"^error: \d+ KiB of RAM, but a machine of at least 24 MiB is needed"), result


def test_just_enough_ram(boot) -> None:
    """The amounts of RAM that docs/BARE_METAL.md calls sufficient, for a machine with a VM of each
    of two sizes."""
    text = " ".join(BARE_METAL.read_text().split())
    found = re.search(r"and (\d+) MiB of RAM, which has room for a VM of (\d+) MiB "
                      r"\(one of (\d+) MiB takes a machine of (\d+)\)", text)  # fmt: skip
    assert found
    small, in_small, in_large, large = map(int, found.groups())
    for mem, size in ((small, in_small), (large, in_large)):
        result = boot(guests=(Guest(HELLO, ("testctl", f"mem={size}M")),), mem=mem)
        assert result.status == 0, result
        assert result.passed("hello")