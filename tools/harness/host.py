# SPDX-License-Identifier: MIT
"""What this computer offers: programs, firmware files, and KVM with VMX inside."""

import contextlib
import errno
import fcntl
import getpass
import grp
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
    "gdb": "gdb",
    "mformat": "mtools",
    "/usr/lib/grub/i386-pc": "grub-pc-bin",
    "/usr/lib/grub/x86_64-efi": "grub-efi-amd64-bin",
    "/usr/lib/grub/i386-efi": "grub-efi-ia32-bin",
}

DEV_KVM = pathlib.Path("/dev/kvm")
CPUINFO = pathlib.Path("/proc/cpuinfo")
MODULES = pathlib.Path("/sys/module")
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


def _cpuinfo(field: str) -> list[str]:
    """The words of a field of the first CPU."""
    for line in CPUINFO.read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.split()
    return []


def _no_vmx() -> str | None:
    """Why this CPU has no VMX, or None when it has."""
    flags = _cpuinfo("flags")
    if "vmx" in flags:
        return None
    if "svm" in flags or _cpuinfo("vendor_id") == ["AuthenticAMD"]:
        return ("this CPU is AMD's, whose virtualization is SVM (kvm_amd), and eptvisor needs "
                "Intel VT-x")  # fmt: skip
    if "hypervisor" in flags:
        return ("this computer is a VM, and its hypervisor shows no VMX (Intel VT-x) to it: "
                "docs/NESTED.md says what to switch on there")  # fmt: skip
    return ("this CPU shows no VMX (Intel VT-x) in /proc/cpuinfo: if it has it, switch it on in "
            "the firmware's setup")  # fmt: skip


def _no_dev_kvm() -> str:
    if (MODULES / "kvm_intel").exists():
        return ("there is no /dev/kvm, although kvm_intel is loaded: a container gets it by "
                "`--device /dev/kvm`")  # fmt: skip
    return ("there is no /dev/kvm: as root, `modprobe kvm_intel` (if that fails, the kernel's log "
            "says why: `dmesg | grep -i kvm`)")  # fmt: skip


def _no_access(error: OSError) -> str:
    """Why /dev/kvm could not be opened, or did not answer."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return f"/dev/kvm can't be used: {error.strerror}"
    number = DEV_KVM.stat().st_gid
    try:
        group = grp.getgrgid(number).gr_name
    except KeyError:
        group = str(number)
    return (f"/dev/kvm belongs to the group {group}, in which you are not: as root, `usermod -aG "
            f"{group} {getpass.getuser()}`, then log in again")  # fmt: skip


def _hidden() -> str:
    """Why KVM shows no VMX to its guests."""
    with contextlib.suppress(OSError):
        nested = (MODULES / "kvm_intel/parameters/nested").read_text().strip()
        if nested in ("N", "0"):
            return (f"KVM hides VMX from its guests (nested={nested}): end all VMs, and as root, "
                    "`modprobe -r kvm_intel && modprobe kvm_intel nested=1`; docs/NESTED.md says "
                    "how that lasts")  # fmt: skip
    return "KVM's CPUID table has no VMX, although nested is not 0"


def kvm_without_vmx() -> str | None:
    """Why a guest of KVM here would find no VMX and what to do, or None when it would find it.

    The last word has KVM itself: the CPUID that it offers to guests (`nested=0` hides VMX there).
    """
    if no_vmx := _no_vmx():
        return no_vmx
    if not DEV_KVM.exists():
        return _no_dev_kvm()
    try:
        with DEV_KVM.open("r+b", buffering=0) as kvm:
            table = bytearray(8 + 256 * 40)
            struct.pack_into("<I", table, 0, 256)
            fcntl.ioctl(kvm, KVM_GET_SUPPORTED_CPUID, table)
    except OSError as error:
        return _no_access(error)
    (count,) = struct.unpack_from("<I", table, 0)
    for i in range(min(count, 256)):
        function, _, _, _, _, ecx = struct.unpack_from("<6I", table, 8 + i * 40)
        if function == 1:
            return None if ecx & CPUID_1_ECX_VMX else _hidden()
    return "KVM's CPUID table has no leaf 1"


def best_machine() -> str:
    return "bochs" if kvm_without_vmx() else "qemu-kvm"
