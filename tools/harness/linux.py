"""Debian's Linux with KVM, in Bochs: one side of `make bench`, the ground of MACHINE=nested."""

import pathlib

from . import initramfs
from .boot import BUILD
from .errors import HarnessError

KVM = BUILD / "kvm"
KERNEL = KVM / "kernel/vmlinuz"
CPU = "corei7_skylake_x"  # Linux does not come up on the tests' model
IPS = 50_000_000  # few timer interrupts in many instructions
MODULES = ("irqbypass", "kvm", "kvm-intel")
# The clock's words keep Linux from believing CPUID about a TSC that ticks once an instruction: it
# would set the timer wrongly and take interrupts without end. The last words only save time.
CMDLINE = (
    f"console=ttyS0,115200 quiet loglevel=3 nokaslr tsc=reliable tsc_early_khz={IPS // 1000} "
    "no_timer_check random.trust_cpu=on cryptomgr.notests "
    "initcall_blacklist=load_system_certificate_list,trace_eval_init,jent_mod_init"
)
# Bochs 3.0 refuses a posted-interrupt descriptor that is not at the beginning of a page; KVM's is
# aligned to 64 bytes, as the SDM demands.
NO_APICV = {"3.0": " kvm_intel.enable_apicv=N"}


def initrd(init: pathlib.Path, files: dict[str, pathlib.Path]) -> bytes:
    """With this /init, KVM's modules, and files by their path inside."""
    modules = {f"modules/{name}.ko": KVM / f"kernel/{name}.ko" for name in MODULES}
    for path in (KERNEL, init):
        if not path.is_file():
            raise HarnessError(f"{path} is not there; `make run MACHINE=nested` builds it")
    return initramfs.make({"init": init} | modules | files)
