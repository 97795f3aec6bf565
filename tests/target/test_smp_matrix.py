# SPDX-License-Identifier: MIT
"""The vCPUs of one VM in unusual configurations: more vCPUs than CPUs, all on one CPU, on a CPU
other than the first one, with either mode of the host's APICs. They lose no interrupt and see
nothing stale."""

import pytest
from conftest import BUILD, Guest

HOSTS = [
    # CPUs, command line, vCPUs, words
    (4, "x2apic=0", 4, ()),
    (4, "cpus=3", 3, ()),
    (4, "cpus=3 x2apic=0", 5, ()),
    (4, "", 3, ("pin=3",)),
    (3, "vpid=0", 7, ()),
    (2, "", 16, ()),
    (2, "x2apic=0", 2, ("pin=1",)),
]


def guests(vcpus: int, shared: bool, *words: str) -> tuple[Guest, ...]:
    words = ("testctl", f"vcpus={vcpus}", "budget=3000000", *words)
    return (
        Guest(BUILD / "guest" / "smp_flush.elf", words, "4"),
        Guest(BUILD / "guest" / "smp_ipis.elf", words, "shared" if shared else ""),
    )


@pytest.mark.parametrize(("smp", "cmdline", "vcpus", "words"), HOSTS)
def test_odd_places(boot, smp: int, cmdline: str, vcpus: int, words: tuple[str, ...]) -> None:
    cpus = 3 if "cpus=3" in cmdline else smp
    both = guests(vcpus, vcpus > cpus or bool(words), *words)
    result = boot(smp=smp, guests=both, cmdline=f"parallel=1 {cmdline}", timeout=250)
    assert result.status == 0, result
    assert result.cpus()["CPUs"] == cpus
    apic = "xAPIC" if "x2apic=0" in cmdline else "x2APIC"
    assert result.has(f"^cpus: {cpus} in use of {smp} .* by its {apic}$"), result
    if words:  # all on one CPU: no other CPU has to be kicked
        assert result.cpus()["flushes"] == 0, result


def test_pinned_beside_free(boot) -> None:
    """Two VMs are pinned to a CPU each, and a third one runs on any CPU."""
    placed = [("pin=1",), ("pin=3",), ()]
    several = tuple(
        Guest(
            BUILD / "guest" / "smp_flush.elf",
            ("testctl", "vcpus=2", "budget=3000000", *words),
            "4",
            name=f"flush_{i}",
        )
        for i, words in enumerate(placed)
    )
    result = boot(smp=4, guests=several, timeout=250)
    assert result.status == 0, result
