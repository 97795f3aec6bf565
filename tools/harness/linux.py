# SPDX-License-Identifier: MIT
"""Debian's Linux with KVM in Bochs, for the KVM side of `make bench` and for MACHINE=nested."""

import pathlib

from . import initramfs
from .boot import BUILD
from .errors import HarnessError

KVM = BUILD / "kvm"
KERNEL = KVM / "kernel/vmlinuz"
IPS = 50_000_000  # high, so that there are few timer interrupts per instruction
MODULES = ("irqbypass", "kvm", "kvm-intel")
# The parameters of the clock give Linux the frequency of Bochs' TSC, which ticks once per
# instruction. With the frequency that CPUID reports, Linux would program the timer wrongly and be
# interrupted without end. The last parameters only save time.
CMDLINE = (
    f"console=ttyS0,115200 quiet loglevel=3 nokaslr tsc=reliable tsc_early_khz={IPS // 1000} "
    "no_timer_check random.trust_cpu=on cryptomgr.notests "
    "initcall_blacklist=load_system_certificate_list,trace_eval_init,jent_mod_init"
)
# For each version of Bochs, the newest CPU model on which Linux boots, and the parameters that
# Linux needs there. Feature bit 580 is FSRM, with which Linux hangs on the newer models. Bochs 3.0
# refuses a posted-interrupt descriptor that is not at the beginning of a page, but KVM's is aligned
# to 64 bytes, as the SDM requires.
MACHINES = {
    "2.7": ("corei7_skylake_x", ""),
    "3.0": ("arrow_lake", " clearcpuid=580 kvm_intel.enable_apicv=N"),
    "3.1": ("arrow_lake", " clearcpuid=580"),
}
# Further parameters if QEMU runs in this Linux. In Bochs 3.0, XRSTORS does not change MXCSR when it
# should initialise the SSE state, so a VM would see the MXCSR that QEMU's arithmetic has left.
# Without XSAVES and XSAVEC (bits 323 and 321) Linux uses XSAVE, whose image always contains MXCSR.
# The last clearcpuid= overrides the earlier ones.
NESTED_WORDS = {"3.0": " clearcpuid=580,321,323"}


def machine(version: str) -> tuple[str, str]:
    """Returns the CPU model and Linux' command line for this version of Bochs."""
    model, words = MACHINES[version]
    return model, CMDLINE + words


def initrd(init: pathlib.Path, files: dict[str, pathlib.Path]) -> bytes:
    """Returns an initrd with this /init, KVM's modules, and `files`, whose keys are paths in it."""
    modules = {f"modules/{name}.ko": KVM / f"kernel/{name}.ko" for name in MODULES}
    for path in (KERNEL, init):
        if not path.is_file():
            raise HarnessError(f"{path} does not exist; `make run MACHINE=nested` builds it")
    return initramfs.make({"init": init} | modules | files)
