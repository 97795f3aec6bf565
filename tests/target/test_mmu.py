# SPDX-License-Identifier: MIT
"""The MMU's guests on CPUs with and without A/D bits, PML and pages of 1 GiB, with each switch."""

import dataclasses

import pytest
from conftest import BUILD
from harness.boot import Guest


@dataclasses.dataclass(frozen=True)
class Model:
    ad: bool = True
    pml: bool = True
    giants: bool = True


MODELS = {
    "corei7_icelake_u": Model(),
    "corei7_haswell_4770": Model(pml=False),
    "corei7_ivy_bridge_3770k": Model(ad=False, pml=False, giants=False),
}
SWITCHES = ["ept_ad=0", "pml=0", "vpid=0", "huge=0", "nx_huge=force nx_recovery_ms=20",
            "nx_huge=off", "mmio_caching=0"]  # fmt: skip
GUESTS = ("mmu", "flush", "wrap", "counters", "recovery", "trace", "giant")


def guest(name: str, args: str = "") -> Guest:
    return Guest(BUILD / "guest" / f"{name}.elf", ("testctl", "budget=120000"), args)


def notes(result, path: str) -> dict[str, int]:
    (case,) = [case for case in result.output.cases if case.path == path]
    return case.counters


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("cpu", MODELS)
def test_everywhere(boot, cpu: str, switch: str) -> None:
    result = boot(cpu=cpu, cmdline=switch, guests=tuple(guest(name) for name in GUESTS))
    assert result.status == 0, result
    # The machine has, or lacks, the feature for which it was chosen.
    ad = MODELS[cpu].ad and switch != "ept_ad=0"
    pml = MODELS[cpu].pml and ad and switch != "pml=0"
    assert notes(result, "counters/fast_faults")["fast"] == (not ad), result
    assert (notes(result, "mmu/dirty_log")["pml_full"] > 0) == pml, result
    assert notes(result, "mmu/large_and_split")["splits"] == (switch != "huge=0"), result
    recovers = switch.endswith("nx_recovery_ms=20")
    assert notes(result, "recovery/comes_back")["recovered"] == (3 if recovers else 0), result


@pytest.mark.parametrize(
    ("cpu", "switch"),
    [
        ("corei7_icelake_u", ""),
        ("corei7_icelake_u", "ept_ad=0"),
        ("corei7_icelake_u", "nx_huge=off"),
        ("corei7_ivy_bridge_3770k", ""),
    ],
)
def test_pages_of_a_gib(boot, cpu: str, switch: str) -> None:
    """With 2080 MiB or more, an aligned GiB of the host's memory is free."""
    giants = MODELS[cpu].giants
    result = boot(
        cpu=cpu, cmdline=switch, mem=2080, guests=(guest("giant", str(int(giants))),)
    )
    assert result.status == 0, result
    assert notes(result, "giant/one_leaf")["giants"] == giants
