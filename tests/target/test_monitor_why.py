# SPDX-License-Identifier: MIT
"""`why` at the monitor: memory, a device, the last exit and the last slow access of a guest that
runs, and words that are none. tests/unit/mmu/test_mmu_why.c and test_mmu_adversary.c show that what
is said is what then happens. The guest is guest/programs/echo.c."""

import re

from test_console import CODES, ended


def ask(who, line: str, last: str) -> str:
    """The answer to a line, whose last line contains `last`."""
    who.type(line.encode() + b"\n")
    who.wait_for(line.encode())
    text = who.wait_for(last.encode()).decode()
    return text + last


def test_why(person) -> None:
    with person("ada") as who:
        who.wait_for(b"ada> ")
        who.type(b"\x01m")

        said = ask(who, "why 1 0x100000 x", "No CPU owes a flush")
        assert "A fetch at GPA 0x100000, frame 0x100 of the ordinary root, generation 0x" in said
        assert re.search(r"Slot \d+ covers it: GPA 0x100000 to 0x[0-9a-f]+, read and write\.", said)
        assert re.search(r"level 4: 0x[0-9a-f]{16}, table at HPA 0x[0-9a-f]+, RWX", said)
        assert "In the end the guest reaches memory, without an exit." in said

        said = ask(who, "why 0xfec00010 w", "No CPU owes a flush")
        assert "No slot covers the frame." in said
        assert "In the end the instruction is emulated; the bus gives the access to" in said
        assert '"I/O APIC", at offset 0x10.' in said

        said = ask(who, "why vm-ada 0xd0000000", "No CPU owes a flush")
        assert "the MMU stores an MMIO SPTE of the current generation." in said
        assert "no device claims the address, so the bus reads it as all ones." in said

        said = ask(who, "why last 1.0", "reads as all ones.")
        assert re.search(r"Exit \d+, I/O instruction \(30\); RIP (was|is now) 0x[0-9a-f]+\.", said)
        assert "IN of 1 byte, port 0x3fd" in said
        ask(who, "why slow vm-ada.0", "MMIO access")

        ask(who, "why 1 0x100000 q", 'why: "q" is no access: r, w or x is expected')
        ask(who, "why 9 0x100000", 'why: "9" is no VM')
        ask(who, "why 1 0x1000000000000000", "is no GPA")
        who.type(b"quit\n\x01x")
        ended(who, CODES.STOPPED)
