# SPDX-License-Identifier: MIT
"""CPUs that ACPI lists and that do not answer: each is left out, and a message says so."""

import pytest
from conftest import hello

SILENT = "does not respond after INIT and two start-up IPIs; it is left out$"


def boot_with(boot, listed: tuple[int, ...], smp: int = 2, cmdline: str = ""):
    result = boot(smp=smp, listed_cpus=listed, cmdline=cmdline, guests=(hello(),))
    assert result.status == 0, result
    assert result.passed("hello"), result
    return result


def left_out(result) -> list[str]:
    return [line for line in result.lines if "is left out" in line or "are left out" in line]


@pytest.mark.parametrize("apic", ["x2APIC", "xAPIC"])
@pytest.mark.parametrize("listed", [(0, 1, 7), (0, 7, 1), (7, 0, 1)])
def test_a_cpu_that_does_not_answer(boot, listed: tuple[int, ...], apic: str) -> None:
    """The CPU that exists is used, whichever is tried first."""
    result = boot_with(boot, listed, cmdline="" if apic == "x2APIC" else "x2apic=0")
    assert result.has(f"^error: the CPU with APIC ID 7 {SILENT}"), result
    assert len(left_out(result)) == 1, result
    assert result.has(f"^cpus: 2 in use of 3 that ACPI lists, each reached by its {apic}$"), result
    assert result.has("^cpus: 2 of 2 run guests$"), result


def test_none_of_several_answers(boot) -> None:
    result = boot_with(boot, (0, 3, 9, 200), smp=1)
    assert len(left_out(result)) == 3, result
    assert result.has("^cpus: 1 in use of 4 that ACPI lists"), result


def test_an_id_beyond_8_bits(boot) -> None:
    """An x2APIC can address the ID; an xAPIC would address the CPU with the low 8 bits of the
    ID."""
    result = boot_with(boot, (0, 257, 1))
    assert result.has(f"^error: the CPU with APIC ID 257 {SILENT}"), result
    result = boot_with(boot, (0, 257, 1), cmdline="x2apic=0")
    message = "the CPU with APIC ID 257 can be reached by an x2APIC only; it is left out"
    assert left_out(result) == [f"error: {message}"], result
    assert result.has("^cpus: 2 in use of 3 that ACPI lists"), result


def test_a_cpu_that_is_not_listed_is_not_used(boot) -> None:
    result = boot_with(boot, (0, 2), smp=3)
    assert not left_out(result), result
    assert result.has("^cpus: 2 in use of 2 that ACPI lists"), result
