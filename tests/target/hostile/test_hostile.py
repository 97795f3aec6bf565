# SPDX-License-Identifier: MIT
"""500 hostile VMs run on one, two and four CPUs, next to innocent VMs; more run on another Bochs,
and a few nested in KVM. A failure names the VM and the command that repeats it. `make hostile
N=10000` runs more of them, with SEED= other ones; tools/hostile.py has further options."""

import pytest
from conftest import BUILD, Guest, need_made

from harness import emulator, session
from harness.campaign import Campaign, Chance, endings, judge
from harness.errors import HarnessError

VMS = 500
CAMPAIGN = Campaign(seed=1, bochs="")
OWN = emulator.installed().version
OTHER = Campaign(seed=2, bochs="2.7" if OWN != "2.7" else "3.0", per_boot=40)
# Nested machines take a minute to boot, and each exit takes ten times as long.
NESTED = Campaign(seed=1, machine="nested", per_boot=6)


def check(campaign: Campaign, number: int, vms: int) -> None:
    run = session.run(campaign.boot(number, vms))
    found = [failure for failure in judge(run) if failure.ours]
    said = [f"{failure.kind}: {failure.text}" for failure in found]
    again = campaign.command(N=vms, BOOT=number)
    alone = [campaign.command(VM=f.vm, TRACE=1) for f in found if f.vm is not None]
    assert not found, "\n".join([*said, f"repeat it: {again}", *alone])
    # Enough of the VMs live long enough to do harm.
    ended = list(endings(run).values())
    assert ended.count("exit") >= len(ended) // 8, run.output.lines


@pytest.mark.parametrize("number", range(CAMPAIGN.boots(VMS)))
def test_nobody_else_notices(number: int) -> None:
    check(CAMPAIGN, number, VMS)


@pytest.mark.parametrize("number", [0, 1])
def test_on_another_bochs(number: int) -> None:
    try:
        emulator.find(OTHER.bochs)
    except HarnessError as error:
        pytest.skip(str(error))
    check(OTHER, number, 2 * OTHER.per_boot)


def test_nested() -> None:
    need_made("build/kvm/nested", "build/kvm/kernel")
    check(NESTED, 0, NESTED.per_boot)


def test_a_seed_means_the_same_vms() -> None:
    """The command that a failure prints creates the same VMs."""
    boots = CAMPAIGN.boots(VMS)
    guests = [guest for n in range(boots) for guest in CAMPAIGN.boot(n, VMS).guests]
    hostile = [guest for guest in guests if guest.name.startswith("h")]
    assert len(hostile) == VMS
    assert hostile[77] == CAMPAIGN.alone(77).guests[0]
    assert {CAMPAIGN.settings(n)[0] for n in range(boots)} == {1, 2, 4}
    assert CAMPAIGN.command(VM=7, TRACE=1) == "make hostile SEED=1 VM=7 TRACE=1"
    # guest/programs/hostile.c has the same generator of random numbers.
    assert Chance(0).next() != Chance(1).next()


def test_slices_end_after_long_exits(boot) -> None:
    """The clock is read at every 64th exit, which is too late if an exit takes half a slice."""
    strings = Guest(BUILD / "guest" / "hostile_strings.elf", ("budget=3000", "expect=budget"))
    words = ("testctl", "mem=4M", "budget=60000")
    beside = Guest(BUILD / "guest" / "neighbour.elf", words, "rounds=160 late=700000")
    result = boot(guests=(strings, beside), cmdline="parallel=2")
    assert result.status == 0, result
