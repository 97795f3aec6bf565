# SPDX-License-Identifier: MIT
"""The machine's own interrupts, of which the hypervisor needs none."""

import pytest
from conftest import BUILD, Guest


@pytest.mark.parametrize("smp", [1, 2])
def test_no_interrupt_of_the_machine_reaches_a_guest(boot, smp: int) -> None:
    """N38: the firmware's timer, which ticks every 55 ms, does not make a guest exit."""
    words = ("testctl", "budget=200", "expect=budget")
    guest = Guest(BUILD / "guest" / "forbidden_spin.elf", words)
    result = boot(smp=smp, guests=(guest,))
    assert result.status == 0, result
    assert not result.has("an interrupt of the machine"), result
