# SPDX-License-Identifier: MIT
"""The CPU models on which the hypervisor runs, and the messages about models that lack a feature
(D14)."""

import pytest
from conftest import CODES, hello, scenarios

RUN_ON = {
    "corei7_icelake_u": "everything",
    "corei7_skylake_x": "no XSAVE in Bochs",
    "corei7_haswell_4770": "no PML; the first model with #VE",
    "corei7_ivy_bridge_3770k": "no A/D bits, no 1 GiB pages, no #VE",
}

REFUSE = [
    ({"cpu": "corei5_lynnfield_750"}, CODES.MISSING_CONTROL, "adds them to family 6, model 0x1e$"),
    ({"cpu": "core2_penryn_t9600"}, CODES.NO_EPT, "adds them to family 6, model 0x17$"),
    ({"cpu": "ryzen"}, CODES.NO_VMX, "it is of AuthenticAMD and has SVM"),
    ({"machine": "qemu-tcg", "method": "kernel"}, CODES.NO_VMX, r"\bVMX\b"),
    ({"machine": "qemu-tcg", "method": "grub-bios"}, CODES.NO_VMX, r"\bVMX\b"),
    ({"machine": "qemu-tcg", "method": "grub-efi"}, CODES.NO_VMX, r"\bVMX\b"),
]


@pytest.mark.parametrize(
    ("cpu", "cmdline"),
    [(cpu, "") for cpu in RUN_ON] + [("corei7_ivy_bridge_3770k", "mmio_caching=0")],
)
def test_everything_passes(boot, cpu: str, cmdline: str) -> None:
    result = boot(cpu=cpu, cmdline=cmdline)
    assert result.status == 0, result
    assert result.exit == CODES.OK
    assert result.output.summary[0] > 0


@pytest.mark.parametrize(
    ("machine", "code", "message"), REFUSE, ids=["-".join(row[0].values()) for row in REFUSE]
)
def test_refuses_with_a_message(boot, machine: dict[str, str], code, message: str) -> None:
    result = boot(**machine)
    assert result.exit == code, result
    assert result.status == code[0]
    assert result.has(message), result
    assert not result.output.cases, "guests ran on a CPU that can't run them"


SWITCHES = [
    "gva_cache=off",
    "gva_cache=exits huge=0",
    "huge=0 ept_ad=0",
    "vpid=0 slot_generation_start=524280",
    "ve=inject poison=1",
]


@pytest.mark.parametrize("cmdline", SWITCHES)
def test_everything_passes_with(boot, cmdline: str) -> None:
    result = boot(cmdline=cmdline)
    assert result.status == 0, result


def test_poison_needs_a_cpu_that_lets_it_be_written(boot) -> None:
    result = boot(cpu="corei7_ivy_bridge_3770k", cmdline="poison=1", guests=(hello(),))
    assert result.exit == CODES.BAD_COMMAND_LINE, result
    assert result.has("IA32_VMX_MISC bit 29"), result


def test_without_mmio_caching_nothing_is_misconfigured(boot) -> None:
    """S10: the counters of the scenarios show no misconfiguration."""
    result = boot(cmdline="mmio_caching=0", guests=(scenarios(),))
    (case,) = [case for case in result.output.cases if case.name == "first_mmio_access"]
    assert case.counters["next_misconfigs"] == 0, result
    assert case.counters["slot_searches"] == 1000, result


@pytest.mark.parametrize("word", ["tests=nobody", "trace_vm=nob?dy"])
def test_a_pattern_that_matches_no_guest_is_refused(boot, word: str) -> None:
    result = boot(cmdline=word, guests=(hello(), scenarios()))
    assert result.exit == CODES.BAD_COMMAND_LINE, result
    message = f"command line: {word}: no guest has such a name; there are: hello, scenarios"
    assert f"error: {message}" in result.lines, result


def test_tests_chooses_guests_by_name(boot) -> None:
    result = boot(cmdline="tests=hel*")
    assert result.status == 0, result
    ok = [case for case in result.output.cases if case.passed and not case.skipped]
    ran = {case.path.split("/")[0] for case in ok}
    assert ran == {"hello"}, result
