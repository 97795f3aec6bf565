# SPDX-License-Identifier: MIT
"""Firmware and boot loaders: all guests pass however the image was started."""

import pytest
from conftest import CODES, hello, scenarios

from harness import host


@pytest.mark.parametrize("method", ["optrom", "grub-bios", "grub-efi"])
def test_runs_by(boot, method: str) -> None:
    result = boot(method=method)
    assert result.status == 0, result


def test_runs_on_kvm(boot) -> None:
    if reason := host.kvm_without_vmx():
        pytest.skip(reason)
    result = boot(machine="qemu-kvm", method="grub-bios")
    assert result.status == 0, result


def test_feature_control_unlocked(boot) -> None:
    """SeaBIOS leaves IA32_FEATURE_CONTROL 0, so the hypervisor may set and lock it."""
    result = boot(feature_control=0, guests=(hello(), scenarios()))
    assert result.status == 0, result


def test_feature_control_locked_on(boot) -> None:
    result = boot(feature_control=5, guests=(hello(), scenarios()))
    assert result.status == 0, result


@pytest.mark.parametrize("value", [1, 3], ids=["off", "on in SMX only"])
def test_feature_control_locked_off(boot, value: int) -> None:
    result = boot(feature_control=value)
    assert result.exit == CODES.VMX_LOCKED_OFF, result
    assert result.status == CODES.VMX_LOCKED_OFF[0]
    assert result.has(f"^error: the firmware has locked VMX off: IA32_FEATURE_CONTROL = {value:#x} "
                      r"on CPU 0, bit 0 \(lock\) is 1 and bit 2 \(VMX outside SMX\) is 0$"), result
    assert result.has('^error:   ASUS: Advanced, CPU Configuration, "Intel \\(VMX\\)'), result
    assert result.has('switch off "Trusted Execution" \\(Intel TXT\\)') == (value == 3), result


def test_same_results_by_every_loader(boot) -> None:
    """The counters do not depend on the loader, although addresses do."""
    names = [
        [(case.path, case.passed) for case in boot(method=method).output.cases]
        for method in ("optrom", "grub-bios")
    ]
    assert names[0]
    assert names[0] == names[1]
