# SPDX-License-Identifier: MIT
"""QEMU: with KVM where it offers VMX, or with TCG, which has no VMX, to test the refusal."""

import pathlib
import shutil

from . import host
from .boot import Boot
from .errors import HarnessError
from .grub import make_cd, make_stick

DEBUG_EXIT_PORT = 0xF4
EXPORTED = "exported.bin"  # what the image exports (arch/x86/export.h)
LARGE_MEM = 16 << 10  # MiB
MONITOR = ("QEMU ", "(qemu) ")  # its greeting, and its prompt with the echo of a command


def prepare(boot: Boot) -> list[str]:
    """Writes everything below the boot's folder; returns the command to run there."""
    host.require(host.boot_needs(boot.machine, boot.method))
    if boot.machine == "qemu-kvm" and (reason := host.kvm_without_vmx()):
        raise HarnessError(f"MACHINE=qemu-kvm: {reason}. MACHINE=bochs works everywhere, and "
                           "MACHINE=nested has a KVM of its own")  # fmt: skip
    accel, cpu = ("kvm", "host") if boot.machine == "qemu-kvm" else ("tcg", "max")
    serial = f"tcp:127.0.0.1:{boot.serial_port}" if boot.serial_port else "file:serial.txt"
    return ["qemu-system-x86_64", *arguments(boot, accel, boot.cpu or cpu, serial)]


def arguments(boot: Boot, accel: str, cpu: str, serial: str) -> list[str]:
    """Returns the arguments of QEMU, whose current folder will be the boot's, and writes the files
    that they name."""
    words = ["-nodefaults", "-display", "none"]
    words += ["-no-reboot"] if boot.exits == 1 else []
    words += ["-device", boot.display] if boot.display else []
    words += ["-accel", accel, "-cpu", cpu, "-smp", str(boot.smp)]
    words += ["-m", str(boot.mem), *_console(boot, serial)]
    if boot.gdb_port:  # in `nested`, by the second port of the machine around QEMU, which is Bochs
        tcp = f"tcp:127.0.0.1:{boot.gdb_port}"
        words += ["-serial", "/dev/ttyS1" if boot.machine == "nested" else tcp]
    words += ["-debugcon", f"file:{EXPORTED}"]
    machine = [boot.machine_type, *boot.machine_words]
    if boot.mem > LARGE_MEM:  # so that the host need not have it
        machine.append("memory-backend=ram")
        words += ["-object", f"memory-backend-ram,id=ram,size={boot.mem}M,reserve=off"]
    words += ["-machine", ",".join(machine)]
    if boot.monitor:
        words += ["-monitor", "stdio", "-no-shutdown"]
    else:
        words += ["-device", f"isa-debug-exit,iobase={DEBUG_EXIT_PORT:#x},iosize=4"]
    if boot.method == "grub-efi":
        words += ["-bios", str(host.OVMF)]
    return [*words, *_medium(boot), *boot.qemu_words]


def _console(boot: Boot, serial: str) -> list[str]:
    """The serial port whose output is `serial`, a character device."""
    if boot.console == "com1":
        return ["-serial", serial]
    if boot.console == "com2":
        return ["-serial", "none", "-serial", serial]
    if boot.console == "none":
        return ["-serial", "none"]
    kind, _, path = serial.partition(":")
    device = boot.console.replace("CONSOLE", "console")
    return ["-serial", "none", "-chardev", f"{kind},id=console,path={path}", "-device", device]


def _medium(boot: Boot) -> list[str]:
    if boot.method == "kernel":
        return _kernel(boot)
    if not boot.medium:
        return ["-cdrom", make_cd(boot).name]
    if boot.medium.is_dir():
        core = "x86_64-efi/core.efi" if boot.method == "grub-efi" else "i386-pc/core.0"
        net = f"user,id=net,tftp={boot.medium.resolve()},bootfile=boot/grub/{core}"
        return ["-netdev", net, "-device", "virtio-net-pci,netdev=net"]
    drive = f"if=none,id=stick,format=raw,snapshot=on,file={make_stick(boot).name}"
    return ["-drive", drive, "-device", "qemu-xhci", "-device", "usb-storage,drive=stick"]


def _kernel(boot: Boot) -> list[str]:
    """QEMU makes a module's string from the words after -initrd, file name first, so the files
    stand in the current folder under the guests' names."""
    if not boot.image32.is_file():
        raise HarnessError(f"{boot.image32} does not exist; `make` builds it")
    shutil.copy(boot.image32, boot.folder / "image")
    modules = []
    for guest in boot.guests:
        shutil.copy(guest.path, boot.folder / guest.name)
        modules.append(guest.string.replace(",", ",,"))
    command = ["-kernel", "image", "-append", boot.cmdline]
    return command + (["-initrd", ",".join(modules)] if modules else [])


def complaints(folder: pathlib.Path) -> list[str]:
    """What QEMU wrote to its standard error."""
    output = folder / "emulator.txt"
    lines = output.read_text(errors="replace").splitlines() if output.is_file() else []
    return [line for line in lines if not line.startswith(MONITOR)]
