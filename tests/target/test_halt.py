# SPDX-License-Identifier: MIT
"""Idle CPUs halt, either with a halted vCPU or because all vCPUs that could run there sleep."""

import pytest
from conftest import BUILD, Guest


def boot_halt(boot, smp: int, vcpus: int, args: str = ""):
    guest = Guest(BUILD / "guest/halt.elf", ("testctl", f"vcpus={vcpus}", "budget=60000"), args)
    return boot(smp=smp, guests=(guest,), cmdline="parallel=2")


@pytest.mark.parametrize(("smp", "vcpus"), [(1, 1), (2, 2), (4, 3)])
def test_a_halted_vcpu_halts_its_cpu(boot, smp: int, vcpus: int) -> None:
    """The guest counts its exits, which are two for each HLT. The test checks how often CPUs
    halted."""
    result = boot_halt(boot, smp, vcpus)
    assert result.status == 0, result
    hlts = 5 if vcpus == 1 else 5 + 2 * 50 + 1 + 2 * 50 * vcpus
    missed = 0 if vcpus == 1 else 400  # IPIs of `at_every_moment` that may arrive before the HLT
    assert hlts * 0.9 < result.cpus()["halts"] < (hlts + missed) * 1.1, result


@pytest.mark.parametrize(("smp", "vcpus"), [(1, 3), (2, 3), (2, 6), (4, 9)])
def test_sleepers_do_not_take_turns(boot, smp: int, vcpus: int) -> None:
    """There are more vCPUs than CPUs, and nearly all are halted most of the time. Each HLT causes a
    few turns. If halted vCPUs took turns to poll, there would be tens of thousands."""
    result = boot_halt(boot, smp, vcpus, "shared")
    assert result.status == 0, result
    assert result.cpus()["turns"] < 6 * (50 * (2 + 2 * vcpus) + 401), result
    assert result.cpus()["halts"] > 50, result
