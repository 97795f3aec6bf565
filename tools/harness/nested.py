# SPDX-License-Identifier: MIT
"""QEMU with KVM, in Linux, in Bochs: nested by KVM on a host that has no VT-x.

Linux runs from an initramfs with this host's QEMU, its libraries and firmware, and what the boot
wrote for QEMU. The image then is a guest of that KVM, and its guests are nested ones.
"""

import dataclasses
import pathlib
import re
import shutil
import subprocess

from . import bochs, emulator, host, linux, qemu
from .boot import Boot
from .errors import HarnessError

INIT = linux.KVM / "nested"
MEM = 320  # MiB for Linux, its initramfs and QEMU
# The CPU of the VM. Bochs does not say that an exit has interrupted the delivery of a virtual
# interrupt (docs/EMULATOR-GAPS.md). KVM believes it, and gives a nested guest an old event instead,
# which nothing above KVM can see. Without this control the image delivers the interrupts itself.
CPU = "host,vmx-apicv-vid=off"
FIRMWARE = ("bios-256k.bin", "kvmvapic.bin", "multiboot_dma.bin", "vgabios-stdvga.bin")
FOLDERS = [pathlib.Path("/usr/share/qemu"), pathlib.Path("/usr/share/seabios")]


def _libraries(program: str) -> list[str]:
    """All that the loader would load, and the loader."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return re.findall(r"(/\S+) \(0x", listed.stdout)


def _firmware(name: str) -> pathlib.Path:
    for folder in FOLDERS:
        if (folder / name).is_file():
            return folder / name
    raise HarnessError(f"{name} is not in {FOLDERS[0]}: apt-get install seabios qemu-system-data")


def prepare(boot: Boot) -> list[str]:
    """Writes everything below the boot's folder; returns the command to run there."""
    host.require(host.boot_needs(boot.machine, boot.method))
    program = shutil.which("qemu-system-x86_64") or ""
    command = [program, "-L", "/firmware", *qemu.arguments(boot, "kvm", CPU, "stdio")]
    words = boot.folder / "command"
    files = {f"boot/{path.name}": path for path in boot.folder.iterdir() if path.is_file()}
    files |= {name.lstrip("/"): pathlib.Path(name) for name in [program, *_libraries(program)]}
    files |= {f"firmware/{name}": _firmware(name) for name in FIRMWARE}
    words.write_bytes(b"".join(word.encode() + b"\0" for word in command))
    version = emulator.find(boot.bochs).version
    cpu, cmdline = linux.machine(version)
    cmdline += linux.NESTED_WORDS.get(version, "")
    initrd = boot.folder / "initrd"
    initrd.write_bytes(linux.initrd(INIT, files | {"command": words}))
    return bochs.prepare(
        dataclasses.replace(
            boot, machine="bochs", method="grub-bios", cpu=boot.cpu or cpu, smp=1,
            mem=boot.mem + MEM, guests=(),
            cmdline=f"{cmdline} mitigations=off kvm_intel.nested=1",
            image=linux.KERNEL, initrd=initrd, ips=linux.IPS,
        )
    )  # fmt: skip
