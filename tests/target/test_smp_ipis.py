# SPDX-License-Identifier: MIT
"""IPIs and timers as fast as they can be sent: their number is exact."""

import pytest
from conftest import BUILD, Guest


@pytest.mark.parametrize(
    ("smp", "vcpus", "args"),
    [(2, 2, ""), (4, 4, ""), (4, 4, "x2apic"), (3, 3, "x2apic"), (2, 4, "shared")],
)
def test_no_interrupt_is_lost(boot, smp: int, vcpus: int, args: str) -> None:
    """T1: no interrupt is lost or delivered twice; interrupts that meet are merged."""
    words = ("testctl", f"vcpus={vcpus}", "budget=1000000")
    guest = Guest(BUILD / "guest" / "smp_ipis.elf", words, args)
    result = boot(smp=smp, guests=(guest,))
    assert result.status == 0, result
    cases = {case.name: case.counters for case in result.output.cases}
    rounds = 1200 // vcpus
    assert cases["every_one_arrives"] == {
        "ipis": rounds * vcpus * (vcpus - 1),
        "timers": 300 * vcpus,
    }
