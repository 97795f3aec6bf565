# SPDX-License-Identifier: MIT
"""The description of a run: a machine, a boot method, and what to boot."""

import dataclasses
import os
import pathlib
import shlex

from .errors import HarnessError

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"

MACHINES = ("bochs", "nested", "qemu-kvm", "qemu-tcg", "serial")
METHODS = {
    "optrom": "an option ROM, tools/optrom.S, that starts the image placed in RAM (Bochs)",
    "grub-bios": "GRUB from a CD by BIOS",
    "grub-efi": "GRUB from a CD by UEFI (OVMF)",
    "kernel": "multiboot1 by `qemu -kernel` (QEMU)",
}
# The Debian release of each version of Bochs.
BOCHS_RELEASES = {"2.7": "bookworm", "3.0": "trixie", "3.1": "sid"}


# MiB of the largest RAM of Bochs that lies in one piece: PCI's addresses begin at 3 GiB.
BOCHS_LOW = 3072
BOCHS_MEM = 1 << 20  # MiB that it can address
# The largest number of CPUs for which Bochs, 2.7 and 3.0, has timers.
BOCHS_CPUS = 15


@dataclasses.dataclass(frozen=True)
class Guest:
    """A multiboot module. Its string is `name word ... -- args`."""

    path: pathlib.Path
    words: tuple[str, ...] = ()
    args: str = ""
    name: str = ""  # by default the file's, without .elf

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.path.name.removesuffix(".elf"))

    @property
    def string(self) -> str:
        parts = [self.name, *self.words]
        return " ".join(parts + ["--", self.args] if self.args else parts)


@dataclasses.dataclass(frozen=True)
class Boot:
    name: str  # of the folder below build/run/ that holds its logs
    machine: str = "bochs"
    method: str = "optrom"
    # The version of Bochs, one of BOCHS_RELEASES; empty: the installed one. The environment's BOCHS
    # is the default of all boots.
    bochs: str = dataclasses.field(default_factory=lambda: os.environ.get("BOCHS", ""))
    cpu: str = ""  # the machine's default
    cmdline: str = ""
    guests: tuple[Guest, ...] = ()
    smp: int = 1
    mem: int = 256  # MiB
    timeout: float = 60  # seconds of the emulator's CPU time
    # Bochs: a time-out in seconds of the machine's own time, which are instructions, so that a
    # guest gets as far with it on every computer. 0: there is none.
    machine_time: float = 0
    image: pathlib.Path = BUILD / "eptvisor.elf"
    image32: pathlib.Path = BUILD / "eptvisor32.elf"  # for the method `kernel`
    # GRUB: what brings GRUB and all that it loads, instead of a CD with the command line and the
    # guests of this boot: a disk, as `make image` writes it, or a folder, as `make netboot` does.
    # QEMU has the disk as a USB stick, and a server of TFTP has the folder.
    medium: pathlib.Path | None = None
    # Bochs: IA32_FEATURE_CONTROL as the image finds it. None: as Bochs' BIOS leaves it, 5 (locked,
    # on). A number: SeaBIOS, which leaves 0, and then the option ROM writes it (0: nothing).
    feature_control: int | None = None
    # Option ROM: the image finds the boot CPU's local APIC in x2APIC mode.
    x2apic_on: bool = False
    # Option ROM: the image finds this in IA32_TSC_ADJUST of the boot CPU. 0: nothing is written.
    tsc_adjust: int = 0
    # Option ROM: every module's tag has the address of the first module.
    modules_overlap: bool = False
    # Option ROM: the APIC IDs that ACPI lists, which may differ from the CPUs. None: the
    # firmware's.
    listed_cpus: tuple[int, ...] | None = None
    # Option ROM: more tags of the multiboot2 information, before all others but that of the screen;
    # payload.tag() makes them.
    tags: tuple[bytes, ...] = ()
    # Bochs: the largest number of VM exits that the emulator's debugger stops at and counts.
    count_exits: int = 0
    # Bochs: how many pairs of the guest's marks are traced (harness/trace.py).
    marks: int = 0
    # Bochs: the debugger stops at each of the guest's marks (guest/programs/rt/mark.h).
    magic: bool = False
    # Bochs: the first commands for the emulator's debugger; see bochs.stops().
    debugger: tuple[str, ...] = ()
    # GRUB: the image is a Linux kernel, and this its initramfs.
    initrd: pathlib.Path | None = None
    # GRUB: the graphics mode in which it starts the image, "1024x768x32". Empty: its own choice.
    graphics: str = ""
    # GRUB: the version of the protocol by which it starts the image.
    multiboot: int = 2
    # Bochs: emulated instructions in an emulated second, when not the harness' default.
    ips: int = 0
    # Bochs: log what Bochs considers errors. A guest can cause gigabytes of them.
    errors: bool = True
    # Bochs: a library that is preloaded.
    preload: pathlib.Path | None = None
    # Bochs, QEMU: the serial port is a connection to this TCP port of the computer, and no file.
    # The time of Bochs then passes no faster than the computer's, and starts at its date.
    serial_port: int = 0
    # Bochs, QEMU: the second serial port is a connection to this TCP port of the computer, where
    # harness.gdb listens.
    gdb_port: int = 0
    # The run ends with this one of the EXIT lines; with more than one, the machine starts again
    # (on_exit=reboot). Only what it prints after the last but one is judged.
    exits: int = 1
    # QEMU: the kind of PC: pc, q35 or microvm.
    machine_type: str = "pc"
    # QEMU: properties of the machine, as `-machine` takes them: pit=off, hpet=off, ...
    machine_words: tuple[str, ...] = ()
    # QEMU: its display, as `-device` takes it: "VGA", "ramfb", "bochs-display,xres=3840,yres=2160",
    # ... Empty: the machine has none.
    display: str = "VGA"
    # Bochs, QEMU: the serial port that writes serial.txt: "com1", "com2", or "none". QEMU: also a
    # device, as `-device` takes it, with CONSOLE for its character device:
    # "pci-serial-2x,chardev2=CONSOLE". The machine has no other port, but for `gdb_port`'s.
    console: str = "com1"
    # QEMU: further arguments for it, after all others.
    qemu_words: tuple[str, ...] = ()
    # QEMU: commands for its monitor a second after the EXIT line. The image can't end this
    # machine. What the commands print is in emulator.txt.
    monitor: tuple[str, ...] = ()

    # MACHINE=serial: where the console is (harness/port.py), its speed, and a command that starts
    # the machine.
    port: str = ""
    baud: int = 115200
    power: str = ""
    # MACHINE=serial: the key of an entry of GRUB's menu; empty: the default one.
    entry: str = ""

    def __post_init__(self) -> None:
        if self.machine not in MACHINES:
            raise HarnessError(f"MACHINE={self.machine}: choose from {', '.join(MACHINES)}")
        if self.method not in METHODS:
            raise HarnessError(f"METHOD={self.method}: choose from {', '.join(METHODS)}")
        if self.bochs not in ("", *BOCHS_RELEASES):
            raise HarnessError(f"BOCHS={self.bochs}: choose from {', '.join(BOCHS_RELEASES)}, or "
                               "nothing for the installed one")  # fmt: skip
        bochs = self.machine == "bochs"
        if bochs and self.method == "kernel":
            raise HarnessError("METHOD=kernel is QEMU's; Bochs has optrom, grub-bios, grub-efi")
        if not bochs and self.method == "optrom" and self.machine != "serial":
            raise HarnessError("METHOD=optrom is Bochs'; QEMU has kernel, grub-bios, grub-efi")
        if self.machine == "nested" and self.method == "grub-efi":
            raise HarnessError("MACHINE=nested boots by METHOD=kernel or grub-bios")
        if self.machine == "nested" and self.smp > 1:
            raise HarnessError("MACHINE=nested has one CPU: Bochs 2.7 keeps NMIs blocked when it "
                               "goes from one guest to another, and kicks are NMIs")  # fmt: skip
        if not bochs and (self.feature_control is not None or self.count_exits or self.marks):
            raise HarnessError("only Bochs sets IA32_FEATURE_CONTROL, counts exits or traces")
        if self.machine_time and (self.machine.startswith("qemu") or self.debugger or self.marks
                                  or self.count_exits):  # fmt: skip
            raise HarnessError("a machine's time is limited by Bochs' debugger, which then must "
                               "not stop for anything else")  # fmt: skip
        if self.monitor and not self.machine.startswith("qemu"):
            raise HarnessError("only QEMU has a monitor that takes commands: MACHINE=qemu-tcg")
        varied = (self.machine_words, self.machine_type) != ((), "pc")
        if varied and not self.machine.startswith("qemu"):
            raise HarnessError("only QEMU's machine can be varied by words: MACHINE=qemu-tcg")
        if (self.qemu_words or self.display != "VGA") and not self.machine.startswith("qemu"):
            raise HarnessError("only QEMU takes further arguments, and has more than one display: "
                               "MACHINE=qemu-tcg")  # fmt: skip
        if not self.machine.startswith("qemu") and self.console not in ("com1", "com2"):
            raise HarnessError("only QEMU has serial ports that are devices: MACHINE=qemu-tcg")
        rom_only = (self.feature_control, self.listed_cpus) != (None, None)
        rom_only |= self.modules_overlap or self.x2apic_on or bool(self.tags or self.tsc_adjust)
        if rom_only and self.method != "optrom":
            raise HarnessError("only the option ROM can do that: METHOD=optrom")
        if self.medium and not self.method.startswith("grub"):
            raise HarnessError("MEDIUM= is booted by its own GRUB: METHOD=grub-bios or grub-efi")
        if self.medium and (self.guests or self.cmdline or self.initrd):
            raise HarnessError("MEDIUM= has guests and command lines of its own")
        if self.medium and not self.medium.exists():
            raise HarnessError(f"MEDIUM={self.medium}: no such file; `make image` and "
                               "`make netboot` make some")  # fmt: skip
        if self.medium and self.medium.is_dir() and not self.machine.startswith("qemu"):
            raise HarnessError("only QEMU boots from a server: MACHINE=qemu-tcg or qemu-kvm")
        if self.smp < 1 or self.mem < 1:
            raise HarnessError(f"SMP={self.smp} MEM={self.mem}: both are at least 1")
        if bochs and self.smp > BOCHS_CPUS:
            raise HarnessError(f"Bochs has at most {BOCHS_CPUS} CPUs, not {self.smp}: choose a "
                               "smaller SMP=, or VCPUS= of a Linux")  # fmt: skip
        if bochs and self.mem >= BOCHS_MEM:
            raise HarnessError(f"MEM={self.mem}: Bochs has less than 1 TiB, {BOCHS_MEM} MiB")
        # The folder is emptied before the boot. Without a name, this is only a description of one.
        parts = pathlib.PurePath(self.name).parts
        if self.name and (not parts or ".." in parts or parts[0] == "/"):
            raise HarnessError(f"NAME={self.name}: give the name of a folder below build/run/")
        names = [guest.name for guest in self.guests]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise HarnessError(f"two guests are called {name}; write NAME=path for one of them")

    @property
    def folder(self) -> pathlib.Path:
        return BUILD / "run" / self.name


def number(name: str, text: str, least: int = 1) -> int:
    """The number `text`, which is the value of the variable `name`."""
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise HarnessError(f"{name}={text} is not a number of at least {least}")
    return int(text)


def variable(name: str, default: int, least: int = 1) -> int:
    """The number that the environment gives."""
    return number(name, os.environ.get(name) or str(default), least)


def parse_guests(text: str, args: str = "") -> tuple[Guest, ...]:
    """`[name=]path[:word,word...[:args]] ...`, quoted as in a shell.

    `+path` is a file that the guest before it gets as a multiboot module. Our own guests get the
    word `testctl` unless words are given.
    """
    guests = []
    try:
        items = shlex.split(text)
    except ValueError as error:
        raise HarnessError(f"GUESTS={text}: {error}; quote its items as in a shell") from None
    for item in items:
        head, *rest = item.split(":", 2)
        name, equals, path_text = head.partition("=")
        if not equals:
            name, path_text = "", head
        if path_text.startswith("+"):
            path_text = path_text[1:]
            name = f"+{name or pathlib.Path(path_text).name}"
        path = pathlib.Path(path_text).resolve()
        if not path.is_file():
            raise HarnessError(f"guest {path_text}: no such file; `make guests` builds the guests")
        words = rest[0].split(",") if rest else ["testctl"] * (BUILD / "guest" in path.parents)
        own_args = rest[1] if len(rest) > 1 else args
        guests.append(Guest(path, tuple(filter(None, words)), own_args, name))
    return tuple(guests)
