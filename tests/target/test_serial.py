# SPDX-License-Identifier: MIT
"""Consoles that are not COM1 (rules N84 and N85): other ports, PCI cards, what ACPI names, and none.
QEMU refuses for lack of VMX, but says so on the console."""

import pathlib
import struct

import pytest
from conftest import BUILD, CODES, ROOT, Result, hello

from harness import acpi

FIRST = "eptvisor: a hypervisor for trying ideas"


def qemu(boot, console: str, cmdline: str = "", words: tuple[str, ...] = ()) -> Result:
    return boot(machine="qemu-tcg", method="kernel", guests=(), console=console, cmdline=cmdline,
                qemu_words=words)  # fmt: skip


def assert_complete(result: Result, where: str) -> None:
    """The console has the text from the first line to the last one, once, and says where it is."""
    assert result.exit == CODES.NO_VMX, result
    assert [line for line in result.lines if line.startswith("serial: ")] == [
        f"serial: the console is at {where}"
    ], result
    assert sum(line.startswith(FIRST) for line in result.lines) == 1, result


CARD = "port {} of the PCI function 00:{}, 115200 baud"


@pytest.mark.parametrize(
    ("console", "cmdline", "where"),
    [
        ("com1", "", "0x3f8 (COM1), 115200 baud"),
        ("com2", "serial=0x2f8,9600", "0x2f8 (COM2), 9600 baud"),
        ("pci-serial,chardev=CONSOLE,addr=5", "", "port 0 of the PCI function 00:05.0"),
        ("pci-serial-4x,chardev4=CONSOLE,addr=6", "serial=pci:00:06.0,3",
         "port 3 of the PCI function 00:06.0"),
    ],
    ids=["com1", "com2", "pci", "pci-4x"],
)  # fmt: skip
def test_ports(boot, console: str, cmdline: str, where: str) -> None:
    result = qemu(boot, console, cmdline)
    print(result)
    assert_complete(result, where)
