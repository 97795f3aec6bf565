# SPDX-License-Identifier: MIT
"""What this computer offers: programs, firmware files, and KVM with VMX inside."""

import fcntl
import os
import pathlib
import shutil
import struct

from .errors import HarnessError

BOCHS_BIOS = pathlib.Path("/usr/share/bochs/BIOS-bochs-latest")
BOCHS_VGA = pathlib.Path("/usr/share/vgabios/vgabios.bin")
SEABIOS = pathlib.Path("/usr/share/seabios/bios.bin")
OVMF = pathlib.Path("/usr/share/ovmf/OVMF.fd")

# Which Debian package brings a program or file; tools/deps.sh has the list by target.
PACKAGES = {
    "bochs-bin": "bochs",
    str(BOCHS_BIOS): "bochsbios",
    str(BOCHS_VGA): "vgabios",
    str(SEABIOS): "seabios",
    str(OVMF): "ovmf",
    "qemu-system-x86_64": "qemu-system-x86",
    "grub-mkrescue": "grub-common",
    "xorriso": "xorriso",
    "mformat": "mtools",
    "/usr/lib/grub/i386-pc": "grub-pc-bin",
    "/usr/lib/grub/x86_64-efi": "grub-efi-amd64-bin",
}

KVM_GET_SUPPORTED_CPUID = 0xC008AE05
CPUID_1_ECX_VMX = 1 << 5


def present(thing: str) -> bool:
    """Whether a program is in PATH, or a file or folder exists."""
    return os.path.exists(thing) if "/" in thing else shutil.which(thing) is not None


def missing(things: list[str]) -> list[str]:
    return [thing for thing in things if not present(thing)]


def require(things: list[str]) -> None:
    """Checks for missing files first: Bochs crashes on them, and QEMU's message is long."""
    absent = missing(things)
    if absent:
        packages = " ".join(sorted({PACKAGES[thing] for thing in absent}))
        raise HarnessError(f"{', '.join(absent)} not found: apt-get install {packages}")


def boot_needs(machine: str, method: str, seabios: bool = False) -> list[str]:
    """The programs and files that a machine and a boot method need."""
    if machine == "serial":
        return []
    if machine == "bochs":
        firmware = OVMF if method == "grub-efi" else SEABIOS if seabios else BOCHS_BIOS
        needs = ["bochs-bin", str(firmware), str(BOCHS_VGA)]
    else:
        needs = ["qemu-system-x86_64"] + ([str(OVMF)] if method == "grub-efi" else [])
    if machine == "nested":
        needs += boot_needs("bochs", "grub-bios")
    elif method == "grub-bios":
        needs += ["grub-mkrescue", "xorriso", "mformat", "/usr/lib/grub/i386-pc"]
    elif method == "grub-efi":
        needs += ["grub-mkrescue", "xorriso", "mformat", "/usr/lib/grub/x86_64-efi"]
    return needs


def cpu_has_vmx() -> bool:
    for line in pathlib.Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if line.startswith("flags"):
            return "vmx" in line.split()
    return False


def kvm_without_vmx() -> str | None:
    """Why a guest of KVM here would find no VMX, or None when it would find it.

    The last word has KVM itself: the CPUID that it offers to guests (`nested=0` hides VMX there).
    """
    if not os.path.exists("/dev/kvm"):
        return "there is no /dev/kvm"
    if not cpu_has_vmx():
        return "this CPU shows no VMX (Intel VT-x) in /proc/cpuinfo"
    try:
        with open("/dev/kvm", "r+b", buffering=0) as kvm:
            table = bytearray(8 + 256 * 40)
            struct.pack_into("<I", table, 0, 256)
            fcntl.ioctl(kvm, KVM_GET_SUPPORTED_CPUID, table)
    except OSError as error:
        return f"/dev/kvm can't be used ({error.strerror}); is your user in the group kvm?"
    (count,) = struct.unpack_from("<I", table, 0)
    for i in range(count):
        function, _, _, _, _, ecx = struct.unpack_from("<6I", table, 8 + i * 40)
        if function == 1:
            return None if ecx & CPUID_1_ECX_VMX else "KVM hides VMX: modprobe kvm_intel nested=1"
    return "KVM's CPUID table has no leaf 1"


def best_machine() -> str:
    return "bochs" if kvm_without_vmx() else "qemu-kvm"
