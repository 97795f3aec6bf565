# SPDX-License-Identifier: MIT
"""Events: exceptions that exit and are given back to the guest, interrupted deliveries, NMI
blocking."""

import re

import pytest
from conftest import BUILD, Guest, hello


def guest(name: str, *words: str, args: str = "") -> Guest:
    return Guest(BUILD / f"guest/{name}.elf", words, args)


def run(boot, *guests: Guest, **fields):
    result = boot(guests=(*guests, hello()), **fields)
    assert result.status == 0, result
    return result


@pytest.mark.parametrize("args", ["", "ac"])
def test_an_endless_exception_ends_by_the_budget(boot, args: str) -> None:
    """Each round of the loop is an exit, so the budget ends it, and the next guest runs."""
    loop = guest("forbidden_loop", "budget=100", "expect=budget", args=args)
    result = run(boot, loop)
    assert result.has("^# forbidden_loop: still running after its budget of 100 ms"), result
    assert result.passed("hello")


@pytest.mark.parametrize("args", ["", "ac"])
def test_an_endless_exception_holds_up_nobody(boot, args: str) -> None:
    """Another VM is not delayed: neither its epochs nor its share of the same CPU."""
    loop = guest("forbidden_loop", "budget=3000", "expect=budget", args=args)
    slots = Guest(BUILD / "guest/smp_slots.elf", ("testctl", "vcpus=2", "budget=60000"), "100")
    run(boot, loop, slots, smp=2, cmdline="parallel=2")


def test_debug_exceptions_are_the_guests(boot) -> None:
    """Each debug exception is one exit, and is delivered to the guest."""
    result = run(boot, guest("debug", "testctl"))
    # General detect is found at a MOV to DR7, which exits, so its #DB is not an exit.
    exits = [line for line in result.lines if " ok " in line and re.search("exits=[1-9]", line)]
    assert len(exits) == 8, result
    assert all(word == "exits=1" for line in exits for word in line.split() if "exits=" in word)


@pytest.mark.parametrize("cmdline", ["", "ept_ad=0", "pml=0", "mmio_caching=0", "poison=1"])
def test_what_is_delivered_again(boot, cmdline: str) -> None:
    names = ("events", "delivery", "real", "iret", "debug", "tasks")
    run(boot, *[guest(name, "testctl") for name in names], cmdline=cmdline)


@pytest.mark.parametrize("ve", ["auto", "inject"])
def test_a_fault_of_iret_unblocks_nmis(boot, ve: str) -> None:
    run(boot, guest("iret", "testctl", "shared=39", "ve", args="ve"), cmdline=f"ve={ve}")


@pytest.mark.parametrize("cpu", ["", "corei7_haswell_4770", "corei7_ivy_bridge_3770k"])
def test_no_state_makes_an_entry_fail(boot, cpu: str) -> None:
    """An invalid state is refused as by a CPU, whether the instruction exits or not."""
    exits = Guest(BUILD / "guest/refused.elf", ("testctl", "gva_cache=exits"), "", "refused_exits")
    run(boot, guest("refused", "testctl"), exits, cpu=cpu)


@pytest.mark.parametrize("words", [(), ("gva_cache=exits",), ("gva_cache=off",)])
@pytest.mark.parametrize("cmdline", ["", "vpid=0"])
def test_task_switches(boot, words: tuple[str, ...], cmdline: str) -> None:
    run(boot, guest("tasks", "testctl", *words), cmdline=cmdline)


def test_a_task_in_mmio_ends_its_vm(boot) -> None:
    result = run(boot, guest("tasks", "testctl", "expect=unsupported-instruction", args="mmio"))
    assert result.has("a task switch touched MMIO: GPA 0xfe000000, .*keep TSSs, .* in RAM"), result
