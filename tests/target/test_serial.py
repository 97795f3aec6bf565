# SPDX-License-Identifier: MIT
"""Consoles that are not COM1 (rules N84 and N85): other ports, PCI cards, what ACPI names, and
none. QEMU has no VMX, but the refusal has to be on the console, with all that was said before."""

import pathlib
import struct

import pytest
from conftest import CODES, Result, hello

from harness import acpi

COM2 = "0x2f8 (COM2)"
SPCR = ", which ACPI's SPCR names"


def qemu(boot, console: str, cmdline: str = "", words: tuple[str, ...] = ()) -> Result:
    return boot(machine="qemu-tcg", method="kernel", guests=(), console=console, cmdline=cmdline,
                qemu_words=words)  # fmt: skip


def assert_complete(result: Result, where: str) -> None:
    """The console has all text, from the first line to the last one, and once."""
    said = [line for line in result.lines if line.startswith("serial: ")]
    assert said == [f"serial: the console is at {where}"], result
    first = [i for i, line in enumerate(result.lines) if line.startswith("eptvisor: ")]
    assert len(first) == 1 and first[0] < result.lines.index(said[0]), result


@pytest.mark.parametrize(
    ("console", "cmdline", "where"),
    [
        ("pci-serial,chardev=CONSOLE,addr=5", "",
         "0xc010, port 0 of the PCI function 00:05.0, 115200 baud"),
        ("pci-serial-2x,chardev2=CONSOLE,addr=6", "serial=pci:0000:00:06.0,1",
         "0xc018, port 1 of the PCI function 00:06.0, 115200 baud"),
        ("pci-serial-4x,chardev4=CONSOLE,addr=7", "serial=pci:00:07.0,3,57600",
         "0xc018, port 3 of the PCI function 00:07.0, 57600 baud"),
    ],
    ids=["pci-serial", "pci-serial-2x", "pci-serial-4x"],
)  # fmt: skip
def test_cards(boot, console: str, cmdline: str, where: str) -> None:
    result = qemu(boot, console, cmdline)
    assert result.exit == CODES.NO_VMX, result
    assert_complete(result, where)


def spcr(folder: pathlib.Path, port: int) -> tuple[str, str]:
    """The arguments that add an SPCR, of revision 2, for a 16550 at 9600 baud."""
    address = struct.pack("<BBBBQ", 1, 8, 0, 1, port)
    body = struct.pack("<B3x12s6xB5xI4xI4x", 0, address, 3, 0xFFFFFFFF, 0)
    path = folder / "spcr.bin"
    path.write_bytes(acpi.table(b"SPCR", 2, body))
    return "-acpitable", f"file={path}"


def test_acpi_names_the_port(boot, tmp_path: pathlib.Path) -> None:
    """There is no COM1, so nothing but the SPCR leads to COM2. It is read when some text has been
    printed already."""
    result = qemu(boot, "com2", words=spcr(tmp_path, 0x2F8))
    assert result.exit == CODES.NO_VMX, result
    assert_complete(result, f"{COM2}{SPCR}, 9600 baud")


def test_no_console(boot) -> None:
    """Without any serial port, and if the command line wants none, the machine goes on."""
    for console, cmdline in (("none", ""), ("com1", "serial=off")):
        result = qemu(boot, console, cmdline)
        assert not any(result.lines), result
        assert result.run.emulator_status == 2 * CODES.NO_VMX[0] + 1, result


@pytest.mark.parametrize(
    ("cmdline", "message"),
    [
        ("serial=0x3e8", "serial=0x3e8: there is no UART at 0x3e8: nothing answers (its line "
         "status is 0xff)"),
        ("serial=com2", "serial=com2: it names no place; allowed: auto, off, 0x2f8, "),
    ],
    ids=["absent", "bad"],
)  # fmt: skip
def test_what_is_refused(boot, cmdline: str, message: str) -> None:
    result = boot(guests=(hello(),), cmdline=cmdline)
    assert result.exit == CODES.BAD_COMMAND_LINE, result
    assert f"error: command line: {message}" in "\n".join(result.lines), result


def test_com2_of_bochs(boot) -> None:
    """A run with a guest on another port, whose rate is not the usual one."""
    result = boot(guests=(hello(),), console="com2", cmdline="serial=0x2f8,57600")
    assert result.status == 0 and result.passed("hello"), result
    assert_complete(result, f"{COM2}, 57600 baud")


@pytest.mark.parametrize("word", ["gdb=1", "export=com2"])
def test_two_want_com2(boot, word: str) -> None:
    result = qemu(boot, "com2", f"serial=0x2f8 {word}")
    assert result.exit == CODES.BAD_COMMAND_LINE, result
    message = f"error: command line: {word} needs COM2, at 0x2f8, where the console is; choose "
    message += "another console with serial=0x3f8 or serial=off, or leave the word out"
    assert message in result.lines, result
