"""What a CPU takes from others while they use it: every flush of the protocol, on several CPUs.

Bochs keeps the translations of a CPU that stays in its guest, so a flush that does not reach it
shows. The mutants that name these tests leave out one flush each.
"""

import pytest
from conftest import BUILD, Guest

GUEST = BUILD / "guest"
NO_AD = "pml=0 ept_ad=0 mmio_caching=0"


def flush_guest(vcpus: int) -> Guest:
    return Guest(GUEST / "smp_flush.elf", ("testctl", f"vcpus={vcpus}", "budget=200000"))


@pytest.mark.parametrize(
    ("smp", "vcpus", "cmdline"),
    [
        pytest.param(2, 2, "", id="2"),
        pytest.param(4, 4, "", id="4"),
        pytest.param(2, 3, "", id="3-on-2"),
        pytest.param(2, 2, "pml=0", id="2-pml=0"),
        pytest.param(4, 4, "pml=0", id="4-pml=0"),
        pytest.param(2, 2, NO_AD, id="2-ept_ad=0"),
        pytest.param(4, 4, NO_AD, id="4-ept_ad=0"),
    ],
)
def test_peers_see_nothing_stale(boot, smp: int, vcpus: int, cmdline: str) -> None:
    """T1, T7, S4, N2: unmapped, moved, remapped, write-protected, tracked, logged."""
    result = boot(smp=smp, guests=(flush_guest(vcpus),), cmdline=cmdline, timeout=200)
    assert result.status == 0, result
    cases = {case.name: case.counters for case in result.output.cases}
    assert all(cases[name]["turns"] > 1000 for name in ("deleted", "moved", "remapped")), result


@pytest.mark.parametrize("direction", ["", "back"])
@pytest.mark.parametrize("vcpus", [2, 4])
def test_a_conversion_reaches_every_cpu_first(boot, vcpus: int, direction: str) -> None:
    """X5: a page is cleared when nobody can see it."""
    words = ("testctl", "shared=39", f"vcpus={vcpus}", "expect=memory-fault")
    result = boot(smp=vcpus, guests=(Guest(GUEST / "smp_convert.elf", words, direction),))
    assert result.status == 0, result
    sentence = (
        "a load at a shared address of a private page: GPA 0x8001000000"
        if direction
        else "a load at a private address of a shared page: GPA 0x1000000"
    )
    assert result.has(sentence), result
