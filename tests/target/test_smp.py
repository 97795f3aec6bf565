# SPDX-License-Identifier: MIT
"""Several CPUs are found, started and limited, and run VMs in parallel and in turns."""

import itertools
import pathlib

import pytest
from conftest import BUILD, CODES, Guest, hello, our_guests

GUEST = BUILD / "guest"


def copies(*programs: str) -> tuple[Guest, ...]:
    """Copies of guests that neither count nor time anything that other VMs on the same CPU
    affect."""
    guests = [
        Guest(GUEST / f"{program}.elf", ("testctl", "budget=60000"), name=f"{program}_{i}")
        for i, program in enumerate(programs)
    ]
    return tuple(guests)


MIXED = copies("hello", "mmio", "tlb", "state", "mmio", "tlb", "mmio", "state")


@pytest.mark.parametrize("smp", [1, 2, 4])
@pytest.mark.parametrize("apic", ["x2APIC", "xAPIC"])
def test_all_cpus_are_started(boot, smp: int, apic: str) -> None:
    result = boot(smp=smp, guests=(hello(),), cmdline="" if apic == "x2APIC" else "x2apic=0")
    assert result.status == 0, result
    assert result.has(rf"^cpus: {smp} in use of {smp} that ACPI lists, each reached by its {apic}$")
    assert smp == 1 or result.has(f"^cpus: {smp} of {smp} run guests$")
    assert not result.has("left out"), result


def test_cpus_limits_them(boot) -> None:
    result = boot(smp=4, guests=(hello(),), cmdline="cpus=3")
    assert result.has("^cpus: 3 in use of 4 "), result
    assert result.has("^cpus: 3 of 3 run guests$"), result
    result = boot(smp=4, guests=(hello(),), cmdline="cpus=1")
    assert result.status == 0, result
    assert not result.has("^cpus: "), result


@pytest.mark.parametrize("method", ["kernel", "grub-bios", "grub-efi"])
def test_other_firmware_lists_them_too(boot, method: str) -> None:
    """SeaBIOS and OVMF on QEMU: the CPUs are started before the first one is refused. From QEMU 8
    on TCG has x2APICs."""
    result = boot(machine="qemu-tcg", method=method, smp=4, guests=(hello(),))
    assert result.exit == CODES.NO_VMX, result
    assert result.has("^cpus: 4 in use of 4 that ACPI lists, each reached by its x2?APIC$"), result


def test_no_table_no_cpus(boot) -> None:
    """OVMF in Bochs provides no MADT. The boot shim of a TD is there by UEFI, too, as it is by the
    loaders in test_td_start.py."""
    td = Guest(BUILD / "guest/td_start.elf", ("tdx", "budget=60000", "measure=0"))
    result = boot(method="grub-efi", smp=2, guests=(hello(), td))
    assert result.status == 0 and result.passed("td_start"), result
    assert result.has("^MADT: ACPI has no usable table"), result


@pytest.mark.parametrize("smp", [2, 4])
def test_all_guests_pass_side_by_side(boot, smp: int) -> None:
    # `trace` counts what the MMU does for all VMs, and the next three count every exit, also those
    # made for other CPUs. `msr` and the three of the APIC bound the delay of a timer, to which the
    # slice of another VM's vCPU adds; `bench` times two instructions by a TSC that goes by five;
    # `giant` counts the blocks of the host's memory that it gets.
    alone = ("trace", "bus", "ve", "halt", "msr", "lapic", "lapic_plain", "lapic_x2apic", "bench",
             "giant")  # fmt: skip
    guests = tuple(guest for guest in our_guests() if guest.name not in alone)
    result = boot(smp=smp, mem=512, guests=guests)
    assert result.status == 0, result
    assert result.cpus()["CPUs"] == smp
    assert result.cpus()["turns"] >= len(result.run.boot.guests), result


@pytest.mark.parametrize("smp", [1, 2, 4])
def test_more_vcpus_than_cpus(boot, smp: int) -> None:
    """Every VM has its turns, and a guest's state moves with it (`state`)."""
    result = boot(smp=smp, guests=MIXED, cmdline=f"parallel={len(MIXED)}")
    assert result.status == 0, result
    cpus = result.cpus()
    assert (cpus["CPUs"], cpus["before"] > 0) == (smp, smp > 1), result
    assert cpus["turns"] > 2 * len(MIXED), result


def test_the_report_keeps_the_order_of_the_guests(boot) -> None:
    alone = boot(guests=MIXED)
    crowd = boot(smp=4, guests=MIXED, cmdline=f"parallel={len(MIXED)}")

    def names(result) -> list[str]:
        return [case.path for case in result.output.cases]

    assert names(alone) == names(crowd), crowd


def test_two_runs_on_several_cpus_print_the_same(boot) -> None:
    words = {"smp": 3, "guests": MIXED, "cmdline": "parallel=8", "timeout": 120}
    first, second = boot(**words), boot(**words, again=True)
    assert first.status == 0, first
    assert first.lines == second.lines


def pinned(pins: list[int]) -> tuple[Guest, ...]:
    path: pathlib.Path = GUEST / "mmio.elf"
    return tuple(
        Guest(path, ("testctl", f"pin={pin}"), name=f"mmio_{i}") for i, pin in enumerate(pins)
    )


def test_pinned_guests_stay_where_they_are(boot) -> None:
    """The first turn counts as a migration if another CPU has created the VM; later turns never
    do."""
    result = boot(smp=4, guests=pinned([1, 1, 2, 2, 2, 0]), cmdline="parallel=6")
    assert result.status == 0, result
    assert result.cpus()["before"] <= 6 < result.cpus()["turns"], result


def test_a_pin_to_no_cpu_is_refused(boot) -> None:
    result = boot(smp=2, guests=(*pinned([2]), hello()))
    assert result.exit == CODES.MODULE_WORDS, result
    assert result.has("guest mmio_0: pin=2, but CPU 2 does not run guests"), result
    assert result.passed("hello"), "another guest was taken along"


def test_a_failing_hypervisor_stops_all_cpus(boot) -> None:
    """The EXIT line is the last one, whatever the other CPUs were doing."""
    result = boot(smp=4, guests=MIXED, cmdline="provoke=null")
    assert result.exit == CODES.PANIC, result
    assert [line for line in result.lines if line][-1].startswith("EXIT "), result


def smp_guest(vcpus: int, args: str = "") -> Guest:
    return Guest(GUEST / "smp.elf", ("testctl", f"vcpus={vcpus}", "budget=200000"), args)


@pytest.mark.parametrize(
    ("smp", "vcpus", "args", "cmdline"),
    [
        (2, 2, "", ""),
        (4, 4, "", ""),
        (4, 4, "x2apic", "pml=0"),
        (4, 4, "", "pml=0 ept_ad=0 mmio_caching=0"),
        (3, 3, "x2apic", "x2apic=0 gva_cache=exits"),
        (2, 3, "", "vpid=0"),
    ],
)
def test_vcpus_of_one_vm(boot, smp: int, vcpus: int, args: str, cmdline: str) -> None:
    """The vCPUs start, interrupt each other, and fault on the same memory at once, with xAPICs and
    with x2APICs."""
    result = boot(smp=smp, guests=(smp_guest(vcpus, args),), cmdline=cmdline)
    assert result.status == 0, result
    assert result.cpus()["kicks"] > 1000, result
    assert result.cpus()["flushes"] >= 8, result
    cases = {case.name: case.counters for case in result.output.cases}
    assert cases["cpus_start"]["cpus"] == vcpus


def test_vms_of_several_vcpus_side_by_side(boot) -> None:
    """A VM starts and stops its CPUs while other VMs are created and destroyed: all pages are
    returned."""
    guests = (smp_guest(2), *MIXED)
    result = boot(smp=4, mem=512, guests=guests)
    assert result.status == 0, result


@pytest.mark.parametrize("smp", [2, 3])
def test_interrupts_from_two_sides(boot, smp: int) -> None:
    """No interrupt is lost in a mailbox to which another vCPU writes at the same time."""
    guest = Guest(GUEST / "smp_storm.elf", ("vcpus=3", "budget=60000"))
    result = boot(smp=smp, guests=(guest,))
    assert result.status == 0, result


def test_a_flush_costs_as_much_for_each_peer(boot) -> None:
    """Each further peer adds a similar cost, although the first peers are on their way back to the
    guest when the last one is kicked."""
    guest = Guest(GUEST / "smp_bench.elf", ("testctl", "vcpus=9", "budget=600000"))
    result = boot(smp=9, guests=(guest,))
    assert result.status == 0, result
    rows = result.output.bench
    flushes = [int(rows[f"remote_flush_{peers}"][0]) for peers in range(1, 9)]
    steps = [more - less for less, more in itertools.pairwise(flushes)]
    assert max(steps) < 4 * min(steps), result
