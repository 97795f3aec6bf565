# SPDX-License-Identifier: MIT
"""VMs are created and end in every possible way, and all their pages are returned."""

import dataclasses

import pytest
from conftest import BUILD, CODES, HELLO, ROOT, Guest, our_guests

BACK = r"^# all memory was returned: \d+ pages are free$"
# Refused before they start, each one by another check.
REFUSED = (
    Guest(HELLO, ("nonsense",), name="unknown_word"),
    Guest(HELLO, ("pin=60",), name="no_such_cpu"),
    Guest(HELLO, ("shared=60",), name="no_such_bit"),
    Guest(ROOT / "README.md", (), name="no_program"),
)


def copies(guests: tuple[Guest, ...], count: int) -> tuple[Guest, ...]:
    return tuple(
        dataclasses.replace(guest, name=f"{guest.name}_{i}")
        for i in range(count)
        for guest in guests
    )


def forbidden() -> tuple[Guest, ...]:
    """Each guest ends its VM in another way, two of them successfully."""
    return tuple(g for g in our_guests() if g.name.startswith(("forbidden", "hello", "rights")))


@pytest.mark.parametrize(("smp", "cmdline"), [(1, ""), (2, ""), (4, ""), (4, "parallel=12")])
def test_every_page_comes_back(boot, smp: int, cmdline: str) -> None:
    words = ("testctl", "shared=39", "vcpus=4", "expect=memory-fault")
    cut_short = Guest(BUILD / "guest" / "smp_convert.elf", words)
    guests = copies((*forbidden(), cut_short), 2)
    result = boot(smp=smp, mem=512, guests=guests, cmdline=cmdline)
    assert result.status == 0, result
    assert len(guests) > 40
    assert result.has(BACK), result


@pytest.mark.parametrize("smp", [1, 4])
def test_refused_guests_leave_nothing(boot, smp: int) -> None:
    good = Guest(HELLO, ("testctl",))
    guests = copies((*REFUSED, good), 3)
    result = boot(smp=smp, guests=guests)
    assert result.exit == CODES.MODULE_WORDS, result
    for guest in guests:
        assert result.passed(guest.name) == guest.name.startswith("hello"), result
    assert result.has(BACK), result


def test_a_machine_too_small_for_all(boot) -> None:
    """All memory that a VM can need is reserved for it. If that is not possible, the VM waits for
    others to end, or is refused if that cannot help. Running VMs are not affected."""
    words = ("testctl", "shared=39", "execute_only=38", "budget=60000")
    guests = copies((Guest(BUILD / "guest" / "sides.elf", words),), 6)
    big = Guest(HELLO, ("mem=200M",), name="big")
    result = boot(smp=4, mem=64, guests=(*guests, big), cmdline="parallel=12")
    assert result.has(BACK), result
    assert result.exit == CODES.NO_MEMORY, result
    assert all(result.passed(guest.name) for guest in guests), result
    needs = r"error: guest big: it may need up to 2\d{5} KiB of the host's memory \(20\d{4} of "
    assert result.has(needs), result
