# SPDX-License-Identifier: MIT
"""What `make run MACHINE=qemu-kvm` says on computers where it cannot work, and why (the computer is
made up of files)."""

import fcntl
import getpass
import grp
import os
import pathlib
import re
import struct

import pytest

from harness import host, qemu
from harness.boot import Boot
from harness.errors import HarnessError

INTEL = "vendor_id\t: GenuineIntel\nflags\t\t: fpu vme {}\nvmx flags\t: vnmi\n"
AMD = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu vme svm\n"


@pytest.fixture
def computer(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    """computer(cpuinfo=..., kvm=..., nested=..., vmx=...) returns what is said of it."""

    def say(
        cpuinfo: str = INTEL.format("vmx"), kvm: bool = True, nested: str = "Y", vmx: bool = True
    ) -> str | None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
        if kvm:
            (tmp_path / "kvm").touch()
        if nested:
            folder = tmp_path / "module/kvm_intel/parameters"
            folder.mkdir(parents=True)
            (folder / "nested").write_text(nested + "\n")

        def ioctl(_file, request: int, table: bytearray) -> None:
            assert request == host.KVM_GET_SUPPORTED_CPUID
            assert struct.unpack_from("<I", table) == (256,)
            entries = [(0, 0), (1, 0x20 if vmx else 0)]
            struct.pack_into("<I", table, 0, len(entries))
            for i, (leaf, ecx) in enumerate(entries):
                struct.pack_into("<6I", table, 8 + 40 * i, leaf, 0, 0, 0, 0, ecx)

        for name, path in {"CPUINFO": "cpuinfo", "DEV_KVM": "kvm", "MODULES": "module"}.items():
            monkeypatch.setattr(host, name, tmp_path / path)
        if kvm:
            monkeypatch.setattr(fcntl, "ioctl", ioctl)
        return host.kvm_without_vmx()

    return say


def test_one_that_works(computer) -> None:
    assert computer() is None
    assert host.best_machine() == "qemu-kvm"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cpuinfo": AMD, "nested": ""}, r"AMD's, whose virtualization is SVM \(kvm_amd\), and "),
        ({"cpuinfo": INTEL.format("hypervisor")}, r"is a VM, and its hypervisor shows no VMX .*"
                                                  r"docs/NESTED.md says what to switch on there$"),
        ({"cpuinfo": INTEL.format("x")}, r"no VMX \(Intel VT-x\) in /proc/cpuinfo: .* firmware's "),
        ({"kvm": False, "nested": ""}, r"^there is no /dev/kvm: as root, `modprobe kvm_intel`"),
        ({"kvm": False}, r"although kvm_intel is loaded: a container gets it by `--device /dev/kv"),
        ({"vmx": False, "nested": "N"}, r"\(nested=N\): end all VMs, and as root, `modprobe -r "
                                        r"kvm_intel && modprobe kvm_intel nested=1`; docs/NESTED"),
        ({"vmx": False, "nested": "0"}, r"\(nested=0\): "),
        ({"vmx": False, "nested": ""}, r"^KVM's CPUID table has no VMX, although nested is not 0$"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(computer, fields: dict, message: str) -> None:
    said = computer(**fields)
    assert said and re.search(message, said), said
    assert host.best_machine() == "bochs"
    with pytest.raises(HarnessError, match=r"^MACHINE=qemu-kvm: .*MACHINE=bochs works everywhere"):
        qemu.prepare(Boot(name="x", machine="qemu-kvm", method="kernel"))


def test_a_user_who_is_not_in_the_group(computer, tmp_path, monkeypatch) -> None:
    """Root may open anything, so the refusal is the test's."""
    assert computer() is None
    group = grp.getgrgid(os.stat(tmp_path / "kvm").st_gid).gr_name

    before = pathlib.Path.open

    def refuse(self, *args, **kwargs):
        if self == host.DEV_KVM:
            raise PermissionError(13, "Permission denied")
        return before(self, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    assert host.kvm_without_vmx() == (
        f"/dev/kvm belongs to the group {group}, in which you are not: as root, `usermod -aG "
        f"{group} {getpass.getuser()}`, then log in again"
    )


def test_a_file_that_is_no_kvm(computer) -> None:
    computer(kvm=False)
    host.DEV_KVM.touch()
    assert host.kvm_without_vmx() == "/dev/kvm can't be used: Inappropriate ioctl for device"
