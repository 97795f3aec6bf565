# SPDX-License-Identifier: MIT
"""Debian's stock kernel as a guest: it starts, finds its machine in order, and turns it off."""

import dataclasses
import os
import pathlib
import re
import select
import struct
import subprocess
import time

import linux
import pytest
from conftest import BUILD, CODES, HELLO, ROOT, hello, need_made
from harness import debian
from harness.boot import Guest


@pytest.fixture(scope="module", autouse=True)
def kernel() -> None:
    """The kernel is downloaded by apt. Without it, the tests of this file cannot run."""
    need_made("linux-files")


# Where the bzImage is not what matters, the kernel in it is started, because it takes half of a
# boot, and on Debian 13 more, to decompress itself.
# How long a boot may take: in the machine's own time, so that it does not depend on what else the
# computer does, and much longer in CPU time.
TIME = {"ips": debian.IPS, "machine_time": 90, "timeout": 900}


def start(boot, guests: tuple[Guest, ...], mem: int = debian.MEM, smp: int = 1):
    return boot(guests=guests, mem=debian.machine_memory(mem, guests), smp=smp, **TIME)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    path = tmp_path_factory.mktemp("linux") / "disk"
    path.write_bytes(b"first sector".ljust(0x20000))
    return Guest(path, ("disk",), "", "+linux-disk")


def with_pci(disk: Guest) -> tuple[Guest, ...]:
    """A VM of two vCPUs whose virtio devices are PCI functions."""
    words = ("pci", "net", "rng", "console=virtio")
    return (*debian.checked(2, f"{debian.CMDLINE} devices=pci", words=words), disk)


def test_the_cloud_kernel(boot) -> None:
    result = start(boot, debian.checked(1))
    assert result.status == 0, result
    assert len(result.output.cases) >= 8, result
    assert result.has("ACPI sleep state|reboot: Power down"), result


def test_the_cloud_kernel_with_pci(boot, disk) -> None:
    result = start(boot, with_pci(disk), smp=2)
    assert result.status == 0, result
    assert len(result.output.cases) >= 15, result
    assert result.has("^    this is hvc0, which the VM's console shows$"), result


def test_the_kernel_moves_itself(boot, disk) -> None:
    """The decompressor implements KASLR: the boots of the two tests before have different, random
    addresses. One of about 500 addresses is the one without KASLR."""
    results = [start(boot, debian.checked(1)), start(boot, with_pci(disk), smp=2)]
    found = [result.output.counters["kernel_at"] for result in results]
    assert all(address % 0x200000 == 0 and address >= LINKED_AT for address in found)
    assert set(found) != {LINKED_AT}, found


# The addresses where kernels that do not move themselves run, and the values of bootloader_type for
# a zero page of an unknown loader and for PVH.
LINKED_AT = 0xFFFFFFFF81000000
LOADERS = {"64": 0xFF, "pvh": 0xB0}


def test_two_vms_with_a_network(boot) -> None:
    """The VMs ping each other and copy a file there and back. The kernel that the bzImage contains
    starts at each of its entry points; the second VM has two vCPUs."""
    need_made("build/linux/vmlinux")
    guests = ()
    for side, entry in enumerate(LOADERS, 1):
        line = f"{debian.CMDLINE} net side={side} cpus={side}"
        guests += debian.guests(debian.VMLINUX, cmdline=line, vcpus=side, mem=96,
                                words=("net", f"entry={entry}"), name=f"side{side}")  # fmt: skip
    result = start(boot, guests, 2 * 96, smp=2)
    assert result.status == 0, result
    assert sum(case.leaf for case in result.output.cases) == 14, result
    started = [
        re.search(r"loader=(\d+) kernel_at=0x(\w+)$", line) for line in result.lines
        if "loader=" in line
    ]  # fmt: skip
    found = sorted((int(match[1]), int(match[2], 16)) for match in started)
    assert found == sorted((loader, LINKED_AT) for loader in LOADERS.values()), result


def test_a_triple_fault_of_linux(boot) -> None:
    """The kernel panics for want of a root file system, and is told to reset its machine by INT3
    without an IDT: the report says what a kernel that crashes so early could not."""
    cmdline = f"{debian.CMDLINE} rdinit=/nonexistent root=/dev/none panic=-1 reboot=t"
    need_made("build/linux/vmlinux")
    guests = debian.guests(debian.VMLINUX, cmdline=cmdline, words=("expect=triple-fault",))
    result = start(boot, guests)
    assert result.status == 0, result
    began = r"it began with #BP; the IDT's limit, 0, excludes the gate for vector 3 \(#BP\)$"
    assert result.has(rf"^# linux: triple fault at RIP 0xffffffff\w+: {began}"), result
    assert result.has(r"^# linux: vCPU 0: RIP 0xffffffff\w+, .* IDTR base 0 limit 0$"), result


def test_a_reboot(boot) -> None:
    """Linux resets its VM, which starts anew, until its budget is used up."""
    need_made("build/linux/vmlinux")
    cmdline = f"{debian.CMDLINE} rdinit=/bin/busybox -- reboot -f"
    guests = debian.guests(debian.VMLINUX, cmdline=cmdline, mem=96,
                           words=("reset=again", "expect=any"))  # fmt: skip
    words = tuple("budget=20000" if word.startswith("budget=") else word
                  for word in guests[0].words)  # fmt: skip
    guests = (dataclasses.replace(guests[0], words=words), *guests[1:])
    result = start(boot, guests, 96)
    assert result.status == 0, result
    assert result.has(r"^# linux: reset, by port 0xcf9; it starts again"), result
    assert result.has(r"^ok 1 linux # ended=budget exits=\d+ resets=\d+"), result


LOGGED = {
    "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [init:1]": True,
    "kernel BUG at mm/slub.c:305!": True,
    "WARNING: CPU: 0 PID: 1 at arch/x86/kernel/fpu/xstate.c:1009 get_xsave_addr_user+0x2c": True,
    "Call Trace:": True,
    "unchecked MSR access error: WRMSR to 0xda0 (tried to write 0x0)": True,
    "Kernel panic - not syncing: Attempted to kill init!": True,
    "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:": True,
    "PCI: Fatal: No config space access function found": False,
    "mce: Unable to init MCE device (rc: -5)": False,
    "rcu: INFO: rcu_sched self-detected stall on CPU": True,
    "[    0.607303] blacklisting initcall trace_eval_init": False,
    "[    1.924573] initcall trace_eval_init blacklisted": False,
    "Kernel command line: initcall_blacklist=jent_mod_init": False,
    "DEBUG_VM: off, x86/debug: nothing": False,
}


@pytest.mark.parametrize("line", LOGGED)
def test_what_the_checks_complain_of(line: str) -> None:
    (pattern,) = re.findall(r'dmesg \| grep -E "(.*)"', (ROOT / "tools/linux/results").read_text())
    busybox = [debian.BUSYBOX, "grep", "-E", pattern]
    found = subprocess.run(busybox, input=line, text=True, capture_output=True, check=False)
    assert (found.stdout != "") == LOGGED[line]


def test_the_drivers_are_those_of_the_kernel(tmp_path: pathlib.Path, monkeypatch) -> None:
    """A driver of another version cannot be loaded, and the VM would not find its disk."""
    monkeypatch.setattr(debian, "INITRD", tmp_path / "initrd")
    kernels = [tmp_path / "own/vmlinux", tmp_path / "bare/vmlinuz"]
    for path in kernels:
        path.parent.mkdir()
        path.write_bytes(b"kernel")
    (tmp_path / "own/virtio_blk.ko").write_bytes(b"the driver beside this kernel")
    own, bare, usual = (debian.guests(path)[1].path for path in (*kernels, debian.KERNEL))
    assert own.read_bytes().count(b"the driver beside this kernel") == 1
    assert bare == usual != own and b"beside this kernel" not in usual.read_bytes()
    usual_drivers = debian.modules(debian.KERNEL, debian.MODULES)
    assert all(path.read_bytes() in usual.read_bytes() for path in usual_drivers.values())
    assert usual_drivers and usual.read_bytes() == debian.make_initrd().read_bytes()


def test_the_progress_of_a_machine(monkeypatch) -> None:
    """Seconds by the clock, of CPU time, and in the machine, and what the line then is."""
    wall, used, passed = 0.0, 0.0, 0.0
    monkeypatch.setattr("time.monotonic", lambda: wall)
    monkeypatch.setattr("harness.session.cpu_time", lambda pid: used)
    monkeypatch.setattr("harness.bochs.machine_time", lambda boot: passed)
    progress = linux.Progress(None, subprocess.Popen(["true"]))
    for wall, used, passed, text in (
        (1, 1, 1, "[1 s, of which the emulator has computed for 1 s; 1 s have passed in the mac"),
        (10, 9, 4, "[10 s, of which the emulator has computed for 9 s; 4 s have passed"),
        (20, 9.5, 4.2, "[20 s, of which the emulator has computed for 10 s; 4 s"),  # a busy one
        (30, 19, 14, "[30 s,"),  # an idle one
        (33, 19.1, 17, ""),  # the guest waits
        (34, 20.1, 17, ""),  # that it works is not known yet
        (36, 22, 18, "[36 s,"),
    ):  # fmt: skip
        assert progress.text().startswith(text) and bool(text) == bool(progress.text())


class Typist:
    """Somebody at the terminal of `make linux`, or of another target, who waits for a text before
    the next is typed."""

    def __init__(self, target: str = "linux", **options: str) -> None:
        self.seen = b""
        words = [f"{name}={value}" for name, value in options.items()]
        self.process = subprocess.Popen(["make", "-s", target, *words], cwd=ROOT,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip

    def __enter__(self) -> "Typist":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def wait_for(self, text: bytes, seconds: float = 600) -> bytes:
        """Returns what was printed before the text. The time is long, because other tests run, but
        a text that never comes must not stop all of them."""
        output = self.process.stdout.fileno()
        end = time.monotonic() + seconds
        while text not in self.seen:
            left = max(0, end - time.monotonic())
            assert select.select([output], [], [], left)[0], (text, self.seen)
            data = os.read(output, 4096)
            assert data, (text, self.seen)
            self.seen += data
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text: bytes) -> None:
        self.process.stdin.write(text)
        self.process.stdin.flush()


def test_somebody_at_the_console() -> None:
    """On hvc0, the prompt is shown without a newline. Keys reach the guest, also ^C and the answer
    to the escape sequences by which `resize` asks the terminal for its size; ^A w tells it too."""
    with Typist(NAME="linux-console", PCI="1") as person:
        person.wait_for(b"/ # ")
        person.type(b"echo result-$((6 * 7))\n")
        person.wait_for(b"result-42")
        person.wait_for(b"/ # ")
        person.type(b"echo sleeping; sleep 100000\n")
        person.wait_for(b"\nsleeping")
        person.type(b"\x03")
        person.wait_for(b"/ # ")
        person.type(b"tty\n")
        person.wait_for(b"\n/dev/hvc0")
        person.type(b"\x01w80x25\rsleep 1; stty size\n")
        person.wait_for(b"\n25 80\r")
        person.wait_for(b"/ # ")
        person.type(b"resize && stty size\n")
        person.wait_for(b"\x1b[999;999H\x1b[6n")
        person.type(b"\x1b[45;132R")
        person.wait_for(b"COLUMNS=132;LINES=45;")
        person.wait_for(b"\n45 132\r")
        person.wait_for(b"/ # ")
        person.type(b"poweroff -f\n")
        person.wait_for(b"EXIT 0 ok")
        assert person.process.wait(60) == 0


def test_two_vms_with_disks(tmp_path) -> None:
    """^A 2 switches to the second VM. Both VMs have the disks, and each has its own copy of the
    blocks that it writes."""
    disk, read_only = tmp_path / "disk", tmp_path / "ro"
    disk.write_bytes(b"first sector".ljust(512) + bytes(512 * 63))
    read_only.write_bytes(b"not to be written".ljust(512))
    need_made("build/linux/vmlinux")
    options = {"VMS": "2", "MEM": "96", "DISK": f"{disk} {read_only}:ro", "ESCAPE": "b",
               "KERNEL": str(debian.VMLINUX)}  # fmt: skip
    with Typist(NAME="linux-two", **options) as person:
        person.wait_for(b"/ # ")
        person.type(b"hostname ada; hostname\n")
        person.wait_for(b"\nada")
        person.wait_for(b"/ # ")
        person.type(b"\x022\n")
        person.wait_for(b"# console: VM 2 linux2")
        person.wait_for(b"/ # ")
        person.type(b"hostname\n")
        person.wait_for(b"\n(none)")
        person.type(b"\x02?")
        person.wait_for(b"# console: VM 1 linux\r\n# console: VM 2 linux2, which has the input\r\n")
        person.type(b"poweroff -f\n")
        person.wait_for(b"ok 2 linux2")
        person.wait_for(b"# console: VM 1 linux")
        person.type(b"hostname\n")
        person.wait_for(b"\nada")
        person.type(b"\x02x")
        person.wait_for(b"EXIT 4 stopped")
        assert person.process.wait(60) == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"KERNEL": "/no/such"}, "KERNEL=/no/such: there is no such file; give a bzImage or a "
                                 "vmlinux for x86-64"),
        ({"KERNEL": "/"}, "KERNEL=/: this is not a file; give a bzImage"),
        ({"INITRD": "{empty}"}, "this file is empty; give an initramfs"),
        ({"DISK": "/no/such:ro"}, "DISK=/no/such: there is no such file; give the image of a disk"),
        ({"DISK": "{short}"}, "look at VCPUS=, MEM=, DISK= and WORDS=; a disk has at least 512 "
                              "bytes"),
        ({"KERNEL": "{text}"}, "KERNEL= takes a bzImage or a vmlinux for x86-64"),
        ({"MEM": "32"}, "give the VM more RAM with MEM="),
        ({"ESCAPE": "1"}, "ESCAPE= takes a letter, or off"),
        ({"CMDLINE": "x" * 600}, "make CMDLINE= shorter"),
        ({"VMS": "0"}, "VMS=0 is not a number of at least 1"),
        ({"PCI": "yes"}, "PCI=yes: write PCI=1 for a PCI bus, or leave it out"),
    ],
)  # fmt: skip
def test_what_to_do_about_a_bad_option(options: dict[str, str], text: str, tmp_path) -> None:
    files = {"empty": b"", "short": b"x" * 511, "text": b"#!/bin/sh\n" * 500}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    paths = {name: str(tmp_path / name) for name in files}
    words = {name: value.format(**paths) for name, value in options.items()}
    run = subprocess.run(["/usr/bin/python3", "tools/linux.py"], cwd=ROOT, capture_output=True,
                         text=True, check=False, stdin=subprocess.DEVNULL,
                         env=os.environ | words | {"NAME": "linux-bad"})  # fmt: skip
    assert run.returncode not in (0, 4), run
    assert run.stderr.startswith("linux: ") and text in run.stderr, run
    assert len(run.stderr.splitlines()) == 1, run


# Fields of a bzImage's setup header: offset and format.
KERNEL_SIZE, VERSION, XLOADFLAGS, INITRD_LAST, CMDLINE_SIZE, INIT_SIZE = (
    (0x1F4, "<I"), (0x206, "<H"), (0x236, "<H"), (0x22C, "<I"), (0x238, "<I"), (0x260, "<I"),
)  # fmt: skip
SHORT = 0x10000  # bytes of the protected-mode kernel that remain


def spoilt(*changes) -> bytes:
    """The beginning of the bzImage as if it were a whole one, with changed fields of its header."""
    image = bytearray(debian.KERNEL.read_bytes())
    image = image[: (image[0x1F1] + 1) * 512 + SHORT]
    for (offset, form), value in ((KERNEL_SIZE, SHORT // 16), *changes):
        struct.pack_into(form, image, offset, value)
    return bytes(image)


# What is changed, the MiB of RAM, and the message.
REFUSED = {
    "without_room": ((), 32, r"no room for its kernel, which needs \d+ bytes from 0x\w+ on"),
    "of_32_bits": (((XLOADFLAGS, 0x7E),), 256, r"a 32-bit kernel \(its xloadflags are 0x7e, "),
    "too_old": (((VERSION, 0x20B),), 256, r"its kernel has boot protocol 2\.11; 2\.12, of Linux 3"),
    "short_line": (((CMDLINE_SIZE, 5),), 256,
                   r"its command line has 10 characters; its kernel takes at most 5"),
    "initrd_too_large": (((INIT_SIZE, 46 << 20),), 64,
                         r"its initrd \S+ of 4194304 bytes does not fit between the end of its "
                         r"kernel, 0x3e00000, and 0x4000000; give it more RAM with mem="),
    "initrd_too_high": (((INITRD_LAST, 0x3FFFFFF),), 256,
                        r"its initrd \S+ of 4194304 bytes does not fit between .*, and 0x4000000"),
}  # fmt: skip


def test_kernels_that_are_refused(boot, tmp_path) -> None:
    """Each kernel is refused with its own message, and another guest runs."""
    initrd = tmp_path / "initrd"
    initrd.write_bytes(bytes(4 << 20))
    guests = [hello()]
    for name, (changes, mem, _) in REFUSED.items():
        (tmp_path / name).write_bytes(spoilt(*changes))
        guests.append(Guest(tmp_path / name, (f"mem={mem}M",), "0123456789"))
        guests.append(Guest(initrd, ("initrd",), "", f"+initrd_{name}"))
    result = boot(guests=tuple(guests), mem=512)
    assert result.exit == CODES.GUEST_TOO_LARGE, result
    for name, (_, _, message) in REFUSED.items():
        assert result.has(f"guest {name}: {message}"), (name, result)
    assert result.passed("hello"), result


def test_a_kernel_that_is_cut_off(boot, tmp_path) -> None:
    short = tmp_path / "vmlinuz"
    short.write_bytes(debian.KERNEL.read_bytes()[:-4096])
    result = boot(guests=debian.guests(kernel=short), mem=448)
    assert result.exit == CODES.MODULE_TRUNCATED, result
    assert result.has("linux: its kernel needs "), result


def test_the_offset_of_a_kernel() -> None:
    """N103: the symbols that a kernel has for its own use, and by how much it is above them. GDB is
    not connected; where the guest's handler is, it reads in another test."""
    need_made("build/linux/vmlinux")
    symbols = BUILD / "run" / "kernel.symbols"
    subprocess.run([ROOT / "tools/kallsyms.py", debian.VMLINUX, symbols], check=True)
    at = "number('(unsigned long)&asm_exc_divide_error')"
    early = "number('(unsigned long)&early_idt_handler_array')"
    asked = (f"{at} + 0x5000000, 0", f"{early} + 0x5000000, 0", f"{at}, 0", f"{at}, 0x200000",
             f"{at} + 0x5001000, 0", f"{at} + 0x40000000, 0", f"{at} - 0x200000, 0", "0x104c89, 0",
             "number('(unsigned long)&_text') + 0x200000, 0")  # fmt: skip
    command = ["gdb", "-q", "-nx", "-batch", "-ex", "set architecture i386:x86-64",
               "-ex", f"symbol-file {symbols}", "-ex", "source tools/kaslr.py",
               "-ex", "info symbol do_sys_openat2", "-ex", "info symbol &init_task",
               "-ex", "print &_text",
               "-ex", f"python print([offset_of(*each) for each in (({'), ('.join(asked)}),)])"]
    # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "do_sys_openat2 in section .text" in done.stdout, done.stdout + done.stderr
    assert "init_task in section .data" in done.stdout
    assert "0xffffffff81000000" in done.stdout
    offset = 0x5000000
    assert str([offset, offset, 0, 0x200000, *[None] * 5]) in done.stdout
    refused = subprocess.run([ROOT / "tools/kallsyms.py", HELLO, symbols], capture_output=True,
                             text=True, check=False)  # fmt: skip
    assert refused.returncode == 1
    assert refused.stderr == f"kallsyms: {HELLO}: no names of symbols are in it (CONFIG_KALLSYMS)\n"
