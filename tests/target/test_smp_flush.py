# SPDX-License-Identifier: MIT
"""A CPU takes memory or rights from other CPUs that use them: every flush of the protocol, on
several CPUs. Bochs keeps the translations of a CPU that stays in its guest, so a flush that does
not reach this CPU is detected. Each mutant that names these tests omits one flush.
"""

import pytest
from conftest import BUILD, Guest

GUEST = BUILD / "guest"
NO_AD = "pml=0 ept_ad=0 mmio_caching=0"


def smp_guest(program: str, vcpus: int, *words: str, args: str = "") -> Guest:
    words = ("testctl", f"vcpus={vcpus}", "budget=200000", *words)
    return Guest(GUEST / f"{program}.elf", words, args)


@pytest.mark.parametrize(
    ("smp", "vcpus", "cmdline"),
    [
        pytest.param(2, 2, "", id="2"),
        pytest.param(4, 4, "", id="4"),
        pytest.param(2, 2, "pml=0", id="2-pml=0"),
        pytest.param(2, 2, NO_AD, id="2-ept_ad=0"),
        pytest.param(4, 4, NO_AD, id="4-ept_ad=0"),
    ],
)
def test_peers_see_nothing_stale(boot, smp: int, vcpus: int, cmdline: str) -> None:
    """T1, T7, S4, N2: memory is unmapped, moved, remapped, write-protected, tracked and logged."""
    result = boot(smp=smp, guests=(smp_guest("smp_flush", vcpus),), cmdline=cmdline)
    assert result.status == 0, result
    cases = {case.name: case.counters for case in result.output.cases}
    assert all(cases[name]["turns"] > 1000 for name in ("deleted", "moved", "remapped")), result
    assert cases["deleted"]["same"] > 190, "another page was filled than that which was freed"


def test_nobody_waits_long_for_a_peer(boot) -> None:
    """D20: for one that converts, zaps or ages a large range; the VM ends in the middle of it."""
    words = ("testctl", "shared=39", "vcpus=2", "budget=60000")
    guests = (Guest(GUEST / "smp_waits.elf", words), Guest(GUEST / "hello.elf", ("testctl",)))
    result = boot(smp=2, cmdline="huge=0", guests=guests)
    assert result.status == 0, result
    assert result.passed("smp_waits") and result.passed("hello"), result


@pytest.mark.parametrize("direction", ["", "back"])
@pytest.mark.parametrize("vcpus", [2, 4])
def test_a_conversion_reaches_every_cpu_first(boot, vcpus: int, direction: str) -> None:
    """X5: a page is cleared only when no CPU can access it."""
    words = ("testctl", "shared=39", f"vcpus={vcpus}", "expect=memory-fault")
    result = boot(smp=vcpus, guests=(Guest(GUEST / "smp_convert.elf", words, direction),))
    assert result.status == 0, result
    message = (
        "a load at a shared address of a private page: GPA 0x8001000000"
        if direction
        else "a load at a private address of a shared page: GPA 0x1000000"
    )
    assert result.has(message), result


@pytest.mark.parametrize(
    ("vcpus", "cmdline"), [(2, ""), (4, ""), (2, "mmio_caching=0"), (2, "gva_cache=off")]
)
def test_slots_come_and_go_under_peers(boot, vcpus: int, cmdline: str) -> None:
    """F7, F9: no access to a device is lost or wrong. `make storm` has 10^5 rounds."""
    result = boot(smp=vcpus, guests=(smp_guest("smp_slots", vcpus),), cmdline=cmdline)
    assert result.status == 0, result


def test_vcpus_move_while_memory_changes(boot) -> None:
    """T5: three vCPUs on two CPUs migrate all the time during these changes. Each migration
    executes an INVVPID, and nothing else differs from the results on one CPU."""
    guest = smp_guest("smp_flush", 3, args="30")
    moving = boot(smp=2, guests=(guest,), cmdline="counters=1")
    staying = boot(smp=1, guests=(guest,), cmdline="counters=1")
    assert (moving.status, staying.status) == (0, 0), (moving, staying)
    moves = moving.cpus()["before"]
    assert moves > 300, moving
    paid = [result.counters("smp_flush")["invvpid"] for result in (moving, staying)]
    assert paid[0] - paid[1] == moves


def test_kicks_are_for_those_in_their_guest(boot) -> None:
    """There are no kicks if all vCPUs share a CPU, although another CPU is idle. Otherwise, few of
    them are spurious."""
    alone = boot(smp=2, guests=(smp_guest("smp_flush", 2, "pin=0", args="5"),))
    assert alone.status == 0, alone
    assert (alone.cpus()["kicks"], alone.cpus()["flushes"]) == (0, 0), alone
    apart = boot(smp=2, guests=(smp_guest("smp_flush", 2, args="30"),)).cpus()
    assert 0 < apart["spurious"] < apart["kicks"] / 2
    assert apart["flushes"] > 100
