# SPDX-License-Identifier: MIT
"""Nested in KVM: QEMU with KVM runs on the emulator, the image is its guest, and our guests are
nested guests. KVM checks the VMCS itself, offers fewer controls than the CPU, and walks our EPT,
which makes it a second oracle for all of them.
"""

import pytest
from conftest import BUILD, OTHER, OWN, BootFixture, need_made

from harness import emulator, linux
from harness.boot import BOCHS_RELEASES, Boot, parse_guests
from harness.errors import HarnessError

# Guests that depend on KVM's implementation: exits, decoding, faults and flushes, slots, sides.
PLAIN = ("scenarios", "mmio", "mmu", "tlb", "flush", "msr", "state")
WORDS = {"sides": "testctl,shared=39,execute_only=38", "ve": "testctl,shared=39,execute_only=38,ve"}


@pytest.fixture(scope="session", autouse=True)
def kernel() -> None:
    """The kernel is downloaded by apt. Without it, the tests of this file cannot run."""
    need_made("build/kvm/nested", "build/kvm/kernel")


@pytest.mark.parametrize(
    ("bochs", "method"), [(OWN, "grub-bios"), (OTHER, "kernel")]
)
def test_guests_pass_nested(boot: BootFixture, bochs: str, method: str) -> None:
    items = [f"{BUILD}/guest/{name}.elf:testctl" for name in PLAIN]
    if bochs != "2.7":  # where NMIs stay blocked: docs/EMULATOR-GAPS.md
        items.append(f"{BUILD}/guest/events.elf:testctl:kvm")
    items += [f"{BUILD}/guest/{name}.elf:{words}" for name, words in WORDS.items()]
    guests = parse_guests(" ".join(items))
    result = boot(machine="nested", bochs=bochs, method=method, guests=guests, timeout=900)
    assert result.status == 0, result
    # The counts are those on the CPU itself: the first access is a violation, then KVM reflects a
    # misconfiguration for each.
    first = next(case for case in result.output.cases if case.name == "first_mmio_access")
    assert first.counters["first_violations"] == 1
    assert first.counters["next_misconfigs"] == 1000
    # KVM offers no EPT-violation #VE: the hypervisor says so, and delivers #VE itself.
    assert result.has(r"missing \(optional\): EPT-violation #VE")
    ve = next(case for case in result.output.cases if case.name == "mmio_is_a_hypercall")
    assert ve.counters["by_cpu"] == 0


def test_each_bochs_has_a_machine_for_linux() -> None:
    assert linux.MACHINES.keys() == BOCHS_RELEASES.keys()
    model, cmdline = linux.machine("3.0")
    assert model in emulator.find("3.0").models
    assert "kvm_intel.enable_apicv=N" in cmdline.split()


def test_one_cpu_only() -> None:
    with pytest.raises(HarnessError, match=r"MACHINE=nested has one CPU: Bochs 2\.7 keeps NMIs"):
        Boot(name="x", machine="nested", method="kernel", smp=2)
    with pytest.raises(HarnessError, match="MACHINE=nested boots by METHOD=kernel or grub-bios"):
        Boot(name="x", machine="nested", method="grub-efi")
