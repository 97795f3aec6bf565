# SPDX-License-Identifier: MIT
"""A TD as its guest sees it (docs/TDX.md): the leaves of TDCALL, #VE, and what stops a TD."""

import pytest
from conftest import BUILD
from harness.boot import Guest

# The last model cannot deliver #VE, so the hypervisor always injects it there.
MODELS = ["corei7_icelake_u", "corei7_haswell_4770", "corei7_ivy_bridge_3770k"]
SWITCHES = ["huge=0", "ept_ad=0", "vpid=0", "nx_huge=force", "nx_huge=off", "poison=1", "pml=0",
            "apicv=0"]  # fmt: skip


def td(program: str, *words: str, args: str = "", name: str = "") -> Guest:
    return Guest(BUILD / "guest" / f"{program}.elf", ("tdx", *words), args, name)


@pytest.mark.parametrize("ve", ["auto", "inject"])
@pytest.mark.parametrize("cpu", MODELS)
def test_leaves(boot, cpu: str, ve: str) -> None:
    result = boot(cpu=cpu, cmdline=f"ve={ve}", guests=(td("td_leaves"), td("td_cpu")))
    assert result.status == 0, result
    assert result.passed("td_leaves") and result.passed("td_cpu"), result


@pytest.mark.parametrize("switch", SWITCHES)
def test_with_each_switch(boot, switch: str) -> None:
    result = boot(cmdline=switch, guests=(td("td_leaves"), td("td_cpu")))
    assert result.status == 0, result


def test_two_cpus_convert_parts_of_one_page(boot) -> None:
    """The other small pages of a large one keep their contents when it is split."""
    races = td("td_races", "vcpus=2", "measure=0")
    result = boot(smp=2, cmdline="nx_huge=off", guests=(races,))
    assert result.status == 0, result
    assert result.has(r"^    ok 1 small_pages_of_a_large_one # large=2$"), result


# The argument of td_forbidden, and the message with which its VM ends.
SHARED = r"the page is SHARED"
FORBIDDEN = {
    "shared": r"shared memory must be used with the shared bit, or be made private by MapGPA and "
              rf"accepted: a private read at GPA 0xa00000, RIP 0x\w+, and {SHARED}",
    "pending": r"private memory must be accepted before it is used \(SEPT_VE_DISABLE\): a private "
               r"write at GPA 0xa00000, RIP 0x\w+, and the page is PENDING",
    "hole": r"there is no private memory outside of RAM; devices are reached with the shared bit: "
            r"a private read at GPA 0xfec00000, RIP 0x\w+, and the page is no RAM",
    "accept_shared": rf"TDCALL MEM.PAGE.ACCEPT of GPA 0xa00000, RIP 0x\w+: {SHARED}; only private "
                     r"memory can be accepted",
    "accept_hole": r"TDCALL MEM.PAGE.ACCEPT of GPA 0xd0000000, RIP 0x\w+: the page is no RAM; only "
                   r"private memory can be accepted",
    "shared_code": r"code and page tables must be private: a shared fetch at GPA 0x8000a00000, "
                   rf"RIP 0x8000000000, and {SHARED}",
    "shared_tables": r"code and page tables must be private: a shared (read|write) by the walk of "
                     rf"the page tables at GPA 0x8000a00000, RIP 0x\w+, and {SHARED}",
    "shared_stack": r"#VE cannot be delivered while an event is being delivered; keep IDT, GDT, "
                    r"TSS and stacks in private memory: a shared write at GPA 0x80fec00ff8, "
                    r"RIP 0x\w+, and the page is no RAM",
    "fatal": r'the TD reports a fatal error, code 0x123: "The end is \?near"',
}  # fmt: skip


@pytest.mark.parametrize("cpu", MODELS)
def test_what_stops_a_td(boot, cpu: str) -> None:
    guests = tuple(
        td(
            "td_forbidden",
            "expect=fatal-error" if deed == "fatal" else "expect=memory-fault",
            args=deed,
            name=f"t_{deed}",
        )
        for deed in FORBIDDEN
    )
    result = boot(cpu=cpu, guests=guests)
    assert result.status == 0, result
    for deed, message in FORBIDDEN.items():
        assert result.has(rf"^# t_{deed}: {message}$"), result
