# SPDX-License-Identifier: MIT
"""The output is reproducible, and the counts are correct."""

from conftest import BUILD, Guest, hello

from harness import bochs

# More exits than hello.elf makes; the debugger stops this often at most.
EXITS_LIMIT = 20_000


def test_two_runs_print_the_same(boot) -> None:
    first, second = boot(), boot(again=True)
    assert first.run.boot.folder != second.run.boot.folder
    assert first.status == 0, first
    assert first.lines == second.lines


def test_two_runs_on_four_cpus_print_the_same(boot) -> None:
    """All kicks and flushes of VMs that compete for the CPUs are the same, and all their
    counters."""
    guests = tuple(
        Guest(BUILD / "guest" / f"{name}.elf", ("testctl", f"vcpus={vcpus}", "budget=600000"), args)
        for name, vcpus, args in (("smp_flush", 4, "8"), ("smp_slots", 3, "40"), ("smp", 2, ""))
    )
    words = {"smp": 4, "guests": guests, "cmdline": "counters=1", "timeout": 200}
    first, second = boot(**words), boot(**words, again=True)
    assert first.status == 0, first
    assert first.cpus()["kicks"] > 1000, first
    assert first.lines == second.lines


def test_exit_count_holds_against_the_debugger(boot) -> None:
    """Bochs' debugger stops at every VM exit, and the hypervisor's counter agrees with it."""
    result = boot(guests=(hello(),), count_exits=EXITS_LIMIT)
    assert result.status == 0, result
    ours = [case.counters["exits"] for case in result.output.cases if "exits" in case.counters]
    assert len(ours) == 1, result
    stops = bochs.counted_exits(result.run.boot.folder)
    assert 0 < stops < EXITS_LIMIT
    assert ours[0] == stops
