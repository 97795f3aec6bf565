# SPDX-License-Identifier: MIT
"""Machines that cannot run guests say which register forbids it and what to do (rule N87), and what
firmware may have left switched on is named (N88, N89)."""

import re

import pytest
from conftest import CODES, hello

from harness import host

TCG = {"machine": "qemu-tcg", "method": "kernel", "guests": ()}
NO_VMX = "^error: this CPU has no VMX: CPUID.1:ECX bit 5 is 0$"

# CPUs that are no Intel CPU with VMX: the line after the first.
WITHOUT_VMX = {
    "max": r'^error: the hypervisor below \(CPUID.1:ECX bit 31 is 1\) calls itself "TCGTCGTCGTCG"',
    "max,-hypervisor": "^error: it is of AuthenticAMD and has SVM",
    "Nehalem,-hypervisor": r"^error: no hypervisor hides it \(CPUID.1:ECX",
}


@pytest.mark.parametrize("cpu", WITHOUT_VMX)
def test_no_vmx(boot, cpu: str) -> None:
    result = boot(**TCG, cpu=cpu)
    assert result.exit == CODES.NO_VMX, result
    assert result.has(NO_VMX), result
    assert result.has(WITHOUT_VMX[cpu]), result


def test_a_server(boot) -> None:
    """A unit that remaps DMA, two nodes of memory, a disk controller that the firmware has left
    active, and 96 CPUs, of which 64 could be used. QEMU's versions differ in what they make of a
    CPU and a unit about which nothing is said."""
    nodes = [
        word
        for node, cpus in enumerate(("0-47", "48-95"))
        for word in (
            "-object", f"memory-backend-ram,id=node{node},size=128M",
            "-numa", f"node,nodeid={node},memdev=node{node},cpus={cpus}",
        )
    ]  # fmt: skip
    result = boot(
        **TCG, smp=96, cmdline="cpus=3",
        cpu="max,vendor=GenuineIntel,family=15,model=0x6b,stepping=1",
        qemu_words=("-machine", "q35", "-device", "intel-iommu,aw-bits=39", *nodes),
    )  # fmt: skip
    assert result.exit == CODES.NO_VMX, result
    assert result.has("^cpu: .*, family 15, model 0x6b, stepping 1, microcode 0x1"), result
    assert result.has("; threads: 1 of the core, 96 of the package; below: QEMU's"), result
    assert result.has(
        r"^iommu: 1 by ACPI's DMAR, at 0xfed90000; could translate 39 bits and remap interrupts; "
        "translation is off, interrupt remapping off; guests have no devices, so none is used$"
    ), result
    assert result.has("^numa: 2 nodes by ACPI's SRAT, 0 of them without memory;"), result
    assert result.has("^  00:1f.2 8086:2922 storage$"), result
    assert result.has("^MADT: 32 CPUs are left out, because at most 64 are used; "), result
    assert result.has("^cpus: 3 in use of 96 that ACPI lists"), result


def test_x2apic_left_on_by_the_firmware(boot) -> None:
    """It stays on, whatever the command line says, and the other CPU joins in. The firmware has set
    the boot CPU's TSC a second ahead of the other one's."""
    result = boot(x2apic_on=True, smp=2, guests=(hello(),), cmdline="x2apic=0", tsc_adjust=10**7)
    assert result.status == 0, result
    assert result.has("^the CPU with APIC ID 1 had 0 in IA32_TSC_ADJUST, and now has the boot "
                      "CPU's 0x989680$"), result  # fmt: skip
    assert result.has("^cpus: 2 in use of 2 that ACPI lists, each reached by its x2APIC$"), result
    assert result.has("^cpus: 2 of 2 run guests$"), result


def test_devices_left_active(boot) -> None:
    """Bochs' BIOS leaves a function of the chipset as a bus master."""
    result = boot(x2apic_on=True, smp=2, guests=(hello(),), cmdline="x2apic=0")
    at = next(i for i, line in enumerate(result.lines) if line.startswith("risk: "))
    assert ": 1 with bit 2 (bus master) of the PCI command set; " in result.lines[at], result
    assert re.match(r"  00:01.\d 8086:7\w\w\w (USB|storage)$", result.lines[at + 1]), result


def test_on_kvm_the_host_is_named(boot) -> None:
    if reason := host.kvm_without_vmx():
        pytest.skip(reason)
    result = boot(machine="qemu-kvm", method="kernel", guests=(hello(),))
    assert result.has(r'; below: KVM \("KVMKVMKVM"\)$'), result
