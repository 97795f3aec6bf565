# SPDX-License-Identifier: MIT
"""Describes Linux as a guest: Debian's cloud kernel with a small initrd, as for `make linux`, the
same as a TDX guest, as for `make tdx`, or a whole Debian, as for `make debian`."""

import pathlib

from . import initramfs
from .boot import BUILD, ROOT, Guest
from .errors import HarnessError

KERNEL = BUILD / "kvm/kernel/vmlinuz"
VMLINUX = BUILD / "linux/vmlinux"  # the same kernel, extracted
BUSYBOX = BUILD / "linux/busybox"
TSC = BUILD / "linux/tsc"
INITRD = BUILD / "linux/initrd"
MODULES = ("virtio_ring", "virtio", "virtio_mmio", "virtio_pci_legacy_dev",
           "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "failover", "net_failover",
           "virtio_net", "virtio_console", "rng-core", "virtio-rng")  # fmt: skip
IPS = 50_000_000  # high, so that there are few timer interrupts per instruction
MEM = 256  # MiB of the VM
# These initcalls take most of the time of a boot, and do not depend on the machine.
SLOW = (
    "jent_mod_init", "load_system_certificate_list", "trace_eval_init",
    "bpf_tcp_ca_kfunc_init", "bpf_dummy_struct_ops_init", "crypto_algapi_init",
    "init_kprobe_trace",
)  # fmt: skip
CMDLINE = f"console=ttyS0 quiet mitigations=off initcall_blacklist={','.join(SLOW)}"
SCRIPTS = ("init", "results", "check", "net")

# Debian 13's kernel, which unlike Debian 12's can be a TDX guest. It shares 4 MiB with its devices
# instead of 64 MiB, and ends its VM after a panic.
TDX = BUILD / "linux/kernels/trixie-cloud"
TDX_KERNEL, TDX_VMLINUX = TDX / "vmlinuz", TDX / "vmlinux"
TDX_CMDLINE = f"{CMDLINE} swiotlb=2048 panic=-1"
TDX_INITRD = BUILD / "linux/initrd-tdx"
# For the hypervisor. On the emulator's CPU, which has the flaw iTLB multihit, private pages would
# be small otherwise, and a TD has to accept each of them.
TDX_WORDS = "nx_huge=off"
TDX_MODULES = ("configfs", "tsm", "tsm_report", "tdx-guest")
TDREPORT = BUILD / "linux/tdreport"

# A whole Debian, which tools/debian/image.sh makes; RELEASE is the folder's name.
SYSTEMS = BUILD / "debian"
SYSTEM_CMDLINE = f"{CMDLINE} systemd.show_status=1 root=/dev/vda rw"
SYSTEM_MEM = 512  # MiB


def modules(kernel: pathlib.Path, names: tuple[str, ...]) -> dict[str, pathlib.Path]:
    """Returns those of the modules that exist beside the kernel, by their paths in an initrd."""
    files = {f"modules/{name}.ko": kernel.parent / f"{name}.ko" for name in names}
    return {name: path for name, path in files.items() if path.is_file()}


def make_initrd(
    path: pathlib.Path = INITRD,
    more: dict[str, pathlib.Path] | None = None,
    kernel: pathlib.Path = KERNEL,
) -> pathlib.Path:
    """Writes an initrd with busybox, the scripts of tools/linux/, the kernel's drivers of virtio
    devices and `more`, whose keys are paths in it. Returns its path."""
    files = {"bin/busybox": BUSYBOX, "bin/tsc": TSC}
    files |= {name: ROOT / "tools/linux" / name for name in SCRIPTS}
    files["bin/resize"] = ROOT / "tools/linux/resize"
    files |= modules(kernel, MODULES)
    data = initramfs.make(files | (more or {}))
    if not path.is_file() or path.read_bytes() != data:  # else another boot may be reading it
        path.write_bytes(data)
    return path


def initrd_of(kernel: pathlib.Path) -> pathlib.Path:
    """Makes the initrd for a kernel, with the drivers that are in its folder, or if none are there,
    with those of KERNEL. A driver fits only the version that it was built for. Returns its path."""
    if kernel.parent == KERNEL.parent or not modules(kernel, MODULES):
        return make_initrd()
    return make_initrd(INITRD.with_name(f"{INITRD.name}-{kernel.parent.name}"), kernel=kernel)


def make_tdx_initrd(
    path: pathlib.Path = TDX_INITRD,
    more: dict[str, pathlib.Path] | None = None,
    kernel: pathlib.Path = TDX_KERNEL,
) -> pathlib.Path:
    """Writes an initrd that also has what a TDX guest needs. Returns its path."""
    files = {"tdx": ROOT / "tools/linux/tdx", "bin/tdreport": TDREPORT}
    return make_initrd(path, files | modules(kernel, TDX_MODULES) | (more or {}), kernel)


def guests(
    kernel: pathlib.Path = KERNEL,
    initrd: pathlib.Path | None = None,
    cmdline: str = CMDLINE,
    vcpus: int = 1,
    mem: int = MEM,
    words: tuple[str, ...] = (),
    name: str = "linux",
) -> tuple[Guest, Guest]:
    """Returns the modules of one VM, the kernel and its initrd. `mem` is in MiB."""
    initrd = initrd or initrd_of(kernel)
    for path in (kernel, initrd):
        if not path.is_file():
            raise HarnessError(f"{path} does not exist; `make linux` downloads Debian's kernel")
    budget = "budget=3600000"
    return (
        Guest(kernel, (f"mem={mem}M", f"vcpus={vcpus}", budget, *words), cmdline, name),
        Guest(initrd, ("initrd",), "", f"+{name}-initrd"),
    )


def checked(vcpus: int, cmdline: str = CMDLINE, **fields) -> tuple[Guest, Guest]:
    """Returns the modules of a VM that runs the checks of tools/linux/check and then ends."""
    return guests(cmdline=f"{cmdline} check cpus={vcpus}", vcpus=vcpus, **fields)


def system_guests(
    system: pathlib.Path,
    kernel: pathlib.Path | None = None,
    initrd: pathlib.Path | None = None,
    cmdline: str = SYSTEM_CMDLINE,
    name: str = "debian",
    **fields,
) -> tuple[Guest, ...]:
    """Returns the modules of one VM with a whole Debian from the folder `system`. Its first disk,
    /dev/vda, has the root file system. The other fields are those of guests()."""
    disk = system / "root.img"
    if not disk.is_file():
        raise HarnessError(f"{disk} is not there; `make debian` makes it")
    made = guests(kernel or system / "vmlinuz", initrd or system / "initrd.img", cmdline,
                  name=name, **fields)  # fmt: skip
    return (*made, Guest(disk, ("disk",), "", f"+{name}-root"))


def tdx_guests(
    kernel: pathlib.Path = TDX_KERNEL,
    initrd: pathlib.Path | None = None,
    cmdline: str = TDX_CMDLINE,
    words: tuple[str, ...] = (),
    **fields,
) -> tuple[Guest, Guest]:
    """Returns the modules of one TD. The fields are those of guests()."""
    if not kernel.is_file():
        raise HarnessError(f"{kernel} does not exist; `make tdx` downloads Debian's kernel")
    initrd = initrd or make_tdx_initrd(kernel=kernel)
    return guests(kernel, initrd, cmdline, words=("tdx", *words), **fields)


def shared_memory(mem: int) -> int:
    """Returns the MiB in addition to its RAM that are reserved for the memory that a TD shares, and
    for the tables of both."""
    return mem // 8 + 80


def machine_memory(mem: int, files: tuple[Guest, ...]) -> int:
    """Returns the MiB of RAM of a machine that has room for the VMs, which have `mem` MiB in all,
    for the modules, and for what the VMs may write to their disks, all of which stays in memory."""
    tds = sum(guest.words.count("tdx") for guest in files)
    written = sum(guest.path.stat().st_size for guest in files if "disk" in guest.words)
    room = mem + 64
    room += (sum(guest.path.stat().st_size for guest in files) + written * 513 // 512) // (1 << 20)
    return room + (shared_memory(mem) + (tds - 1) * shared_memory(0) if tds else 0)
