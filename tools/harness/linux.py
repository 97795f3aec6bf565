# SPDX-License-Identifier: MIT
"""Debian's Linux with KVM, in Bochs: one side of `make bench`, the ground of MACHINE=nested."""

import pathlib

from . import initramfs
from .boot import BUILD
from .errors import HarnessError

KVM = BUILD / "kvm"
KERNEL = KVM / "kernel/vmlinuz"
IPS = 50_000_000  # few timer interrupts in many instructions
MODULES = ("irqbypass", "kvm", "kvm-intel")
# The clock's words keep Linux from believing CPUID about a TSC that ticks once an instruction: it
# would set the timer wrongly and take interrupts without end. The last words only save time.
CMDLINE = (
    f"console=ttyS0,115200 quiet loglevel=3 nokaslr tsc=reliable tsc_early_khz={IPS // 1000} "
    "no_timer_check random.trust_cpu=on cryptomgr.notests "
    "initcall_blacklist=load_system_certificate_list,trace_eval_init,jent_mod_init"
)
# Of each Bochs the newest model on which Linux comes up, and words that it takes there: bit 580 of
# the CPU's features is FSRM, with which Linux hangs on the newer models. Bochs 3.0 refuses a
# posted-interrupt descriptor that is not at the beginning of a page; KVM's is aligned to 64 bytes,
# as the SDM wants it.
MACHINES = {
    "2.7": ("corei7_skylake_x", ""),
    "3.0": ("arrow_lake", " clearcpuid=580 kvm_intel.enable_apicv=N"),
    "3.1": ("arrow_lake", " clearcpuid=580"),
}
# More words where QEMU runs in that Linux: the XRSTORS of Bochs 3.0 leaves MXCSR as it was where it
# should initialise SSE's state, so that a VM would meet what QEMU's arithmetic left there. Without
# XSAVES and XSAVEC (bits 323 and 321) Linux uses XSAVE, which always has MXCSR. Of clearcpuid's the
# last one counts.
NESTED_WORDS = {"3.0": " clearcpuid=580,321,323"}


def machine(version: str) -> tuple[str, str]:
    """Model and command line on this version of Bochs."""
    model, words = MACHINES[version]
    return model, CMDLINE + words


def initrd(init: pathlib.Path, files: dict[str, pathlib.Path]) -> bytes:
    """With this /init, KVM's modules, and files by their path inside."""
    modules = {f"modules/{name}.ko": KVM / f"kernel/{name}.ko" for name in MODULES}
    for path in (KERNEL, init):
        if not path.is_file():
            raise HarnessError(f"{path} is not there; `make run MACHINE=nested` builds it")
    return initramfs.make({"init": init} | modules | files)
