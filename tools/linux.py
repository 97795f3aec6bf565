#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Starts Linux in a VM, with its console in this terminal: `make linux`, `make tdx`, `make debian`.

With the argument `tdx` the VM is a TDX guest (a TD); with `debian`, it runs the whole Debian that
tools/debian/image.sh has made for RELEASE. The environment contains the options. KERNEL and INITRD
are files, by default Debian's cloud kernel and a small initrd with busybox, or those of the whole
Debian. DISK names files that become disks, /dev/vda and so on, behind that of the whole Debian;
those that end in `:ro` can only be read. CMDLINE is the kernel's command line. VCPUS is the number
of vCPUs, MEM the VM's RAM in MiB, and VMS the number of such VMs. ESCAPE is the letter of the
escape key: ^A x ends the machine, ^A 2 turns to the second VM, ^A ? lists them, and ^A ^A sends ^A.
PCI=1 gives the VM a PCI bus with a console, hvc0, and a source of random numbers; the console has
the size of this terminal. WORDS are further words for the VM (docs/ABI.md). MACHINE=nested runs the
hypervisor in QEMU, nested by the KVM of a Linux in the emulator; it takes minutes. The logs go to
build/run/NAME/, by default build/run/linux/ and so on. The end of standard input ends the shell,
and thus the VM; a whole Debian goes on with a login prompt.
"""

import dataclasses
import os
import pathlib
import re
import sys
import time

from harness import bochs, debian, session, terminal
from harness.boot import Boot, Guest, variable
from harness.errors import HarnessError, Status, run_tool

# What to do when the hypervisor refuses something, by the name on its EXIT line. The hypervisor's
# own message precedes the hint.
HINTS = {
    "bad-command-line": "ESCAPE= takes a letter, or off",
    "bad-boot-info": "make CMDLINE= shorter; with WORDS= it has at most some 450 characters",
    "guest-too-large": "give the VM more RAM with MEM=, or take a smaller INITRD=",
    "no-memory": "the machine has too little RAM for these VMs; choose a smaller MEM= or VMS=",
    "module-words": "look at VCPUS=, MEM=, DISK= and WORDS=; a disk has at least 512 bytes",
    "module-not-elf": "KERNEL= takes a bzImage or a vmlinux for x86-64",
    "module-bad-kernel": "KERNEL= takes a bzImage or a vmlinux for x86-64",
    "module-truncated": "the file of KERNEL= is not complete; copy or build it again",
}
WHAT_TO_EXPECT = """\
debian: in the emulator, the login prompt comes after some three minutes. Log in as root, without
a password. `poweroff` ends the VM; what it wrote to its disk is lost then. ^A x ends it at once."""
LOOK_EVERY = 3.0  # seconds; the emulator says its machine's time once a second
METHODS = {"bochs": "optrom", "nested": "kernel"}  # how each machine starts the hypervisor
STOPPED = "stopped"  # by the escape key and x
MAKERS = {"linux": debian.guests, "tdx": debian.tdx_guests, "debian": debian.system_guests}
CMDLINES = {
    "linux": debian.CMDLINE, "tdx": debian.TDX_CMDLINE, "debian": debian.SYSTEM_CMDLINE,
}  # fmt: skip


def checked(name: str, text: str, what: str) -> pathlib.Path:
    """Returns the path of a file that the variable `name` gives, if it can be used."""
    path = pathlib.Path(text).resolve()
    if not path.exists():
        raise HarnessError(f"{name}={text}: there is no such file; give {what}")
    if not path.is_file():
        raise HarnessError(f"{name}={text}: this is not a file; give {what}")
    if not os.access(path, os.R_OK):
        raise HarnessError(f"{name}={text}: you have no permission to read this file; give {what}")
    if not path.stat().st_size:
        raise HarnessError(f"{name}={text}: this file is empty; give {what}")
    return path


def file(name: str, what: str) -> pathlib.Path | None:
    text = os.environ.get(name)
    return checked(name, text, what) if text else None


def disks(owner: str) -> tuple[Guest, ...]:
    """Returns the modules of the disks of a VM."""
    guests = []
    for i, text in enumerate(os.environ.get("DISK", "").split()):
        name, colon, mode = text.rpartition(":")
        word = "disk=ro" if colon and mode == "ro" else "disk"
        what = "the image of a disk, followed by :ro if the guest must not write to it"
        path = checked("DISK", name if word == "disk=ro" else text, what)
        guests.append(Guest(path, (word,), "", f"+{owner}-disk{i}"))
    return tuple(guests)


def machine(kind: str, vms: int, vcpus: int, mem: int) -> Boot:
    """Returns the machine with its VMs; the serial port is still to be connected."""
    given = {
        "kernel": file("KERNEL", "a bzImage or a vmlinux for x86-64"),
        "initrd": file("INITRD", "an initramfs, as Debian's /initrd.img is one"),
        "cmdline": os.environ.get("CMDLINE"),
    }
    options = {name: value for name, value in given.items() if value}
    words = ("live", *os.environ.get("WORDS", "").split())
    pci = os.environ.get("PCI") or "0"
    if pci not in ("0", "1"):
        raise HarnessError(f"PCI={pci}: write PCI=1 for a PCI bus, or leave it out")
    if pci == "1":
        words += ("pci", "rng", "console=virtio")
        usual = CMDLINES[kind]
        options.setdefault("cmdline", usual.replace("ttyS0", "ttyS0 console=hvc0", 1))
    make = MAKERS[kind]
    if kind == "debian":
        options["system"] = debian.SYSTEMS / os.environ.get("RELEASE", "bookworm")
    guests: tuple[Guest, ...] = ()
    for i in range(1, vms + 1):
        name = kind if i == 1 else f"{kind}{i}"
        guests += make(vcpus=vcpus, mem=mem, words=words, name=name, **options)
        guests += disks(name)
    line = [debian.TDX_WORDS] if kind == "tdx" else []
    line += [f"parallel={vms}"] if vms > 1 else []
    line += [f"escape={os.environ['ESCAPE']}"] if os.environ.get("ESCAPE") else []
    where = os.environ.get("MACHINE") or "bochs"
    if where not in METHODS:
        raise HarnessError(f"MACHINE={where}: a console in this terminal needs bochs or nested")
    return Boot(
        name=os.environ.get("NAME") or kind, cmdline=" ".join(line), guests=guests, smp=vcpus,
        ips=debian.IPS, mem=debian.machine_memory(vms * mem, guests),
        machine=where, method=METHODS[where],
    )  # fmt: skip


def window_key(boot: Boot) -> bytes:
    """Returns the escape key by which the hypervisor is told the size of the window; empty if there
    is no such key, or no VM with a console that has a size."""
    letter = os.environ.get("ESCAPE") or "a"
    sized = any("console=virtio" in guest.words for guest in boot.guests)
    return bytes([ord(letter) & 0x1F]) if sized and re.fullmatch("[a-z]", letter) else b""


class Progress:
    """Says how long the emulator has been working, and how far the machine has come in its own
    time. It says nothing while the guest waits for something: the emulator then rests, and the
    machine's time keeps up with the computer's. On a busy computer, an emulator that works gets
    hardly any CPU time, either, but its machine falls behind."""

    def __init__(self, boot: Boot, process) -> None:
        self.boot, self.process = boot, process
        self.begin = self.looked = time.monotonic()
        self.used = self.passed = 0.0
        self.works = True

    def text(self) -> str:
        now, used = time.monotonic(), session.cpu_time(self.process.pid)
        passed, interval = bochs.machine_time(self.boot), now - self.looked
        if interval >= LOOK_EVERY:
            keeps_up = passed - self.passed >= 0.5 * interval
            self.works = used - self.used >= 0.2 * interval or not keeps_up
            self.looked, self.used, self.passed = now, used, passed
        if not self.works:
            return ""
        return (f"[{now - self.begin:.0f} s, of which the emulator has computed for {used:.0f} s; "
                f"{passed:.0f} s have passed in the machine]")  # fmt: skip


def main() -> int:
    (kind,) = sys.argv[1:] or ["linux"]
    whole = kind == "debian"
    vms, vcpus = variable("VMS", 1), variable("VCPUS", 2 if whole else 1)
    plan = machine(kind, vms, vcpus, variable("MEM", debian.SYSTEM_MEM if whole else debian.MEM))
    if whole:
        print(WHAT_TO_EXPECT, file=sys.stderr)
    with terminal.listen() as server:
        boot = dataclasses.replace(plan, serial_port=server.getsockname()[1])
        with session.started(session.prepare(boot), boot) as process:
            progress, key = Progress(boot, process), window_key(boot)
            status, name = terminal.talk(server, lambda: process.poll() is None, progress.text, key)
    if status == Status.DIED:
        print(f"linux: the emulator ended; its logs are in {boot.folder}/", file=sys.stderr)
    if name in HINTS:
        print(f"linux: {HINTS[name]}", file=sys.stderr)
    return Status.OK if name == STOPPED else status


if __name__ == "__main__":
    run_tool("linux", main)
