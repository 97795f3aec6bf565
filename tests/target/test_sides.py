# SPDX-License-Identifier: MIT
"""Private and shared memory, execute-only addresses and #VE (rules X1 to X11, S12)."""

import re

import pytest
from conftest import BUILD, CODES
from harness.boot import Guest

BITS = ("shared=39", "execute_only=38")
# The last model cannot deliver #VE, so the hypervisor always injects it there.
MODELS = {
    "corei7_icelake_u": True,
    "corei7_haswell_4770": True,
    "corei7_ivy_bridge_3770k": False,
}
SWITCHES = ["gva_cache=off", "gva_cache=exits", "huge=0", "ept_ad=0", "vpid=0", "pml=0",
            "nx_huge=force", "poison=1"]  # fmt: skip


def guest(program: str, *words: str, args: str = "", name: str = "") -> Guest:
    return Guest(
        BUILD / "guest" / f"{program}.elf", ("testctl", "budget=60000", *words), args, name
    )


def notes(result, path: str) -> dict[str, int]:
    (case,) = [case for case in result.output.cases if case.path == path]
    return case.counters


VE = guest("ve", *BITS, "ve")
SIDES = guest("sides", *BITS)


@pytest.mark.parametrize("ve", ["auto", "inject"])
@pytest.mark.parametrize("cpu", MODELS)
def test_violations_of_mmio(boot, cpu: str, ve: str) -> None:
    """X10: a known access costs no violation if the CPU delivers #VE, and one if it is injected."""
    result = boot(cpu=cpu, cmdline=f"ve={ve}", guests=(VE, SIDES))
    assert result.status == 0, result
    by_cpu = MODELS[cpu] and ve == "auto"
    counts = notes(result, "ve/mmio_is_a_hypercall")
    assert counts["by_cpu"] == by_cpu, result
    assert counts["first_violations"] == 1, result
    assert counts["violations_per_100"] == (0 if by_cpu else 100), result
    assert counts["hypercalls_per_100"] == 100, result


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("ve", ["auto", "inject"])
def test_with_each_switch(boot, switch: str, ve: str) -> None:
    result = boot(cmdline=f"{switch} ve={ve}", guests=(VE, SIDES))
    assert result.status == 0, result
    assert result.passed("ve") and result.passed("sides"), result


def test_both_kinds_in_one_boot(boot) -> None:
    """S12: the MMIO value is 0 in one VM and 110b in the other, and neither affects the other."""
    kinds = (VE, guest("mmio"), SIDES, guest("ve", *BITS, "ve", name="ve_again"), guest("slots"))
    result = boot(guests=kinds)
    assert result.status == 0, result
    for kind in kinds:
        assert result.passed(kind.name), result
    for first in ("ve", "ve_again"):
        assert notes(result, f"{first}/mmio_is_a_hypercall")["first_violations"] == 1, result


def test_without_mmio_sptes_there_is_no_ve(boot) -> None:
    result = boot(cmdline="mmio_caching=0", guests=(VE, SIDES))
    assert result.exit == CODES.MODULE_WORDS, result
    message = "# ve: error: MMU: a guest that takes #VE needs MMIO SPTEs; remove mmio_caching=0"
    assert message in result.lines, result
    assert result.passed("sides"), "the other VM did not run"


# ---- Other places ------------------------------------------------------------------------------

PLACES = {
    "shared and code, one lower": ("shared=38", "execute_only=37"),
    "shared above code": ("shared=37", "execute_only=39"),
    "apart": ("shared=39", "execute_only=35"),
    "shared alone": ("shared=39",),
    "code alone": ("execute_only=39",),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ve", ["auto", "inject"])
def test_stolen_bits_elsewhere(boot, place: str, ve: str) -> None:
    """X1: the guests find the bits by CPUID, and skip tests for which they lack a bit."""
    words = PLACES[place]
    result = boot(
        cmdline=f"ve={ve}", guests=(guest("sides", *words), guest("ve", *words, "ve"))
    )
    assert result.status == 0, result
    skipped = {case.name for case in result.output.cases if case.skipped}
    ran = {case.name for case in result.output.cases if case.passed} - skipped
    has_shared, has_code = (any(w.startswith(s) for w in words) for s in ("shared", "execute"))
    assert ("conversion_storm" in ran) == has_shared, result
    assert ("mmio_is_a_hypercall" in ran) == has_shared, result
    assert ("code_runs_through_its_alias" in ran) == has_code, result
    assert ("code_can_only_be_fetched" in ran) == has_code, result
    assert bool(skipped) == (not has_shared or not has_code), result


REFUSED = {
    ("shared=40",): "address bit 40 can't be stolen; bits 30 to 39 can",
    ("shared=39", "execute_only=39"): "shared=39 and execute_only=39 name the same address bit",
    ("shared=29",): "shared=29",
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED, ids="-".join)
def test_bits_that_cannot_be_stolen(boot, words: tuple[str, ...]) -> None:
    result = boot(guests=(guest("hello", *words),))
    assert result.exit == CODES.MODULE_WORDS, result
    assert result.has(re.escape(REFUSED[words])), result


# ---- Forbidden accesses ------------------------------------------------------------------------

# The argument of forbidden_sides, and the message with which its VM ends.
FORBIDDEN = {
    "": r"a load at a shared address of a private page: GPA 0x8001000000, RIP 0x\w+, bytes 8b .*"
        r"; convert the page by MapGPA first",
    "fetch": r"a fetch at a shared address: GPA 0x8001000000, RIP 0x8000000000, bytes unreadable"
             r"; run code from private addresses",
    "device": r"a load at a private address where no memory is: GPA 0xfe000000, RIP 0x\w+, "
              r"bytes 8b .*; reach devices through shared addresses",
    "code": r"a load at an execute-only address: GPA 0x4001000000, RIP 0x\w+, bytes 8b .*"
            r"; load and store through the plain address",
    "half": r"a store at a shared address of a private page: GPA 0x8001000000, RIP 0x\w+, "
            r"bytes 89 .*; convert the page by MapGPA first",
    "old": r"a load at a private address of a shared page: GPA 0x1000000, RIP 0x\w+, bytes 8b .*"
           r"; convert the page by MapGPA first",
}  # fmt: skip


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_memory_fault(boot, deed: str) -> None:
    """F3, X5: the ends are the same in a VM that takes #VE, except for accesses that become #VE."""
    kinds = {"plain": (), "with_ve": ("ve",)}
    if deed in ("code", "half"):
        del kinds["with_ve"]
    guests = tuple(
        guest("forbidden_sides", *BITS, *words, "expect=memory-fault", args=deed, name=name)
        for name, words in kinds.items()
    )
    result = boot(guests=guests)
    assert result.status == 0, result
    for name in kinds:
        assert result.has(rf"^# {name}: {FORBIDDEN[deed]}$"), result


UNDELIVERABLE = {
    "": r"an event's delivery touched MMIO, where #VE cannot be delivered: GPA 0x80d0000500, "
        r"RIP 0x\w+; keep IDT, GDT, TSS and stacks in RAM",
    "stack": r"an event's delivery touched MMIO, where #VE cannot be delivered: GPA 0x80d0000ff8, "
             r"RIP 0x\w+; keep IDT, GDT, TSS and stacks in RAM",
    "real": r"MMIO in real mode, which has no #VE: GPA 0xd0000000, RIP 0x\w+; access devices in "
            r"protected mode",
}  # fmt: skip


@pytest.mark.parametrize("cpu", MODELS)
@pytest.mark.parametrize("ve", ["auto", "inject"])
def test_what_no_ve_is_delivered_for(boot, cpu: str, ve: str) -> None:
    """X9, for #VE delivered by the CPU and by injection."""
    words = {deed: ("shared=39", "ve", "expect=mmio-during-delivery") for deed in UNDELIVERABLE}
    words["real"] = ("ve", "expect=memory-fault")
    guests = tuple(
        guest("forbidden_ve", *words[deed], args=deed, name=f"v_{deed}") for deed in words
    )
    result = boot(cpu=cpu, cmdline=f"ve={ve}", guests=guests)
    assert result.status == 0, result
    for deed, message in UNDELIVERABLE.items():
        assert result.has(rf"^# v_{deed}: {message}$"), result


@pytest.mark.parametrize("delivery", ["auto", "inject"])
@pytest.mark.parametrize("smp", [1, 2])
def test_each_cpu_has_its_own_exception(boot, smp: int, delivery: str) -> None:
    two = guest("smp_ve", "vcpus=2", "shared=39", "ve")
    result = boot(smp=smp, cmdline=f"ve={delivery}", guests=(two,))
    assert result.status == 0, result
    counters = notes(result, "smp_ve/each_has_its_own")
    assert counters == {"by_cpu": delivery == "auto", "taken": 8000}
