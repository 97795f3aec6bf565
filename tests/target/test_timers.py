# SPDX-License-Identifier: MIT
"""A guest's own events arrive in time, and a pending interrupt does not make exits expensive."""

import pytest
from conftest import BUILD, BootFixture, Guest


@pytest.mark.parametrize("words", ["testctl", "mem=32M"])
@pytest.mark.parametrize("args", ["", "x2apic"])
def test_timers_come_in_time(boot: BootFixture, words: str, args: str) -> None:
    """The timers are in time although the preemption timer does not count outside of the guest."""
    result = boot(guests=(Guest(BUILD / "guest/lapic.elf", (words,), args),))
    assert result.status == 0, result
    late = {case.name: case.counters["late"] for case in result.output.cases
            if "late" in case.counters}  # fmt: skip
    assert late.keys() == {"time_in_exits", "time_after_exits"}
    assert max(late.values()) < 1000, late
