# SPDX-License-Identifier: MIT
"""Bochs: its configuration file and command. Comments explain the settings that matter."""

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import time

from . import emulator, host
from .boot import BOCHS_LOW, BUILD, Boot, Guest
from .grub import make_cd, make_stick
from .payload import ROM_SIZE, make_disk, with_checksum

DEFAULT_CPU = "corei7_icelake_u"
ROM = BUILD / "optrom.bin"
ROM_ADDRESS = 0xD0000
IPS = 10_000_000  # emulated instructions in an emulated second; more makes booting slower
HOST_RAM = 2048  # MiB of the computer's RAM that Bochs takes at most
TIME0 = 1_000_000_000  # a fixed date, so that two runs are the same to the instruction
# OVMF reads IA32_PLATFORM_ID, which Bochs lacks: address, type, reset value, reserved, ignored.
MSRS = "0x017 0 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000\n"

# Where the debugger stops: after how many instructions, and at which address. The following lines
# answer the commands given there.
STOP = re.compile(r"^Next at t=(\d+)\n\(\d\) \[\w+\] \w+:(\w+)(.*?)(?=^Next at t=|\Z)", re.M | re.S)

# What it prints when the machine has used up its time.
TIME_IS_UP = "Caught time breakpoint"
# What `print_timestamps` prints each second: the ticks per second so far, and the seconds.
TICKS = re.compile(r"^IPS: \d+\taverage = (\d+)\t+\((\d+)s\)$", re.M)

STOPPING = 3.0  # seconds in which a machine that is to stop has to say where it is

# What the debugger prints at each VM exit after `vmexitbp`.
VMEXIT = "Caught VMEXIT breakpoint"

# A log line of level error or panic: `00012345678e[CPU0  ] text`.
COMPLAINT = re.compile(r"^\d+([ep])\[(\w+) *\] (.*)$")
# What is logged as an error, although it is routine: faults of the EPT, breakpoints that are met,
# and two registers that each boot asks for, ready for the #GP: IA32_BIOS_SIGN_ID for the revision
# of the microcode (arch/x86/cpu_facts_read.c), and MSR_PLATFORM_INFO (arch/x86/tsc.c).
ROUTINE = re.compile(
    r"EPT (?:violation|misconfig)|#DB: \S+ (?:code )?breakpoint|Unknown register 0x(?:8b|ce)$", re.I
)


def prepare(boot: Boot) -> list[str]:
    """Writes everything below the boot's folder; returns the command to run there."""
    host.require(host.boot_needs("bochs", boot.method, boot.feature_control is not None))
    bochs = emulator.find(boot.bochs)
    bochs.require_model(boot.cpu or DEFAULT_CPU)
    if bochs.major >= 3:
        boot = dataclasses.replace(boot, guests=tuple(map(_spared, boot.guests)))
    (boot.folder / "msrs.def").write_text(MSRS)
    (boot.folder / "bochsrc").write_text("\n".join(_settings(boot, bochs)) + "\n")
    # `c` continues after the debugger's greeting, `q` ends it once the image has written 'D' to
    # port 0x8900, or the machine's time is up. When exits are counted, every one of them stops and
    # needs a `c` of its own.
    steps = [f"sb {int(boot.machine_time * _ips(boot))}"] if boot.machine_time else []
    steps += boot.debugger
    steps += ["vmexitbp"] + ["c"] * boot.count_exits if boot.count_exits else []
    begin = [step for i in range(boot.smp) for step in (f"set $cpu = {i}", "trace on")]
    end = [step for i in range(boot.smp) for step in (f"set $cpu = {i}", "trace off")]
    steps += ["c", *begin, "c", *end] * boot.marks
    (boot.folder / "debugger").write_text("\n".join([*steps, "c", "q"]) + "\n")
    preload = ["env", f"LD_PRELOAD={boot.preload}"] if boot.preload else []
    return [*preload, *bochs.command, "-q", "-f", "bochsrc", "-rc", "debugger"]


def _ips(boot: Boot) -> int:
    """The ticks in a second of the machine's own time."""
    return boot.ips or IPS


def _spared(guest: Guest) -> Guest:
    """Bochs 3 ends with a failed assertion in faststring.cc on REP MOVS and REP STOS with 32-bit
    addresses in 64-bit code; one guest generates such instructions."""
    if guest.path.name != "differ.elf":
        return guest
    return dataclasses.replace(guest, args=f"slow_strings {guest.args}".strip())


def _settings(boot: Boot, bochs: emulator.Emulator) -> list[str]:
    return [
        # This display needs neither a screen nor a client.
        'display_library: rfb, options="timeout=0, hideIPS"',
        "config_interface: textconfig",
        "plugin_ctrl: speaker=0, parallel=0, gameport=0",
        _memory(boot, bochs),
        f"cpu: model={boot.cpu or DEFAULT_CPU}, count={boot.smp}, ips={_ips(boot)}, "
        # Linux reads a few MSRs that Bochs lacks, before it could take a #GP.
        f"reset_on_triple_fault={int(boot.exits > 1)}, "
        f"ignore_bad_msrs={int(bool(boot.initrd))}, msrs=msrs.def",
        _firmware(boot, bochs),
        f"vgaromimage: file={bochs.firmware(host.BOCHS_VGA)}",
        _clock(boot),
        *_medium(boot),
        _serial(boot),
        *_second_serial(boot),
        f"print_timestamps: enabled={int(bool(boot.serial_port))}",
        # What the image exports (arch/x86/export.h) comes among the messages in emulator.txt.
        "port_e9_hack: enabled=1",
        f"magic_break: enabled={int(bool(boot.marks or boot.magic))}",
        "log: bochs.log",
        "panic: action=fatal",
        f"error: action={'report' if boot.errors else 'ignore'}",
        "info: action=report",
        "debug: action=ignore",
    ]


def _memory(boot: Boot, bochs: emulator.Emulator) -> str:
    """Bochs does not move the RAM that its PCI addresses hide, from 3 to 4 GiB, to another place.
    It takes memory as the machine touches it; what exceeds `host` is kept in a file."""
    large = boot.mem > BOCHS_LOW
    installed = boot.mem + 1024 if large else boot.mem
    # At its start Bochs looks for each block among all blocks before it: half a minute at 4 GiB,
    # when they have 128 KiB, as they always have in Bochs 2.7.
    blocks = ", block_size=2048" if large and bochs.major >= 3 else ""
    return f"memory: guest={installed}, host={min(installed, HOST_RAM)}{blocks}"


def _clock(boot: Boot) -> str:
    if boot.serial_port:
        return "clock: sync=slowdown, time0=utc"
    return f"clock: sync=none, time0={TIME0}"


def _serial(boot: Boot) -> str:
    if boot.serial_port:
        return f"com1: enabled=1, mode=socket-client, dev=127.0.0.1:{boot.serial_port}"
    other = "com1: enabled=0\n" if boot.console == "com2" else ""
    return f"{other}{boot.console}: enabled=1, mode=file, dev=serial.txt"


def _second_serial(boot: Boot) -> list[str]:
    """GDB's port, or a file for what the image exports there, if it is told to."""
    if boot.gdb_port:
        return [f"com2: enabled=1, mode=socket-client, dev=127.0.0.1:{boot.gdb_port}"]
    exports = "export=com2" in boot.cmdline.split()
    return ["com2: enabled=1, mode=file, dev=exported.bin"] if exports else []


def _firmware(boot: Boot, bochs: emulator.Emulator) -> str:
    if boot.method == "grub-efi":
        ovmf = bochs.firmware(host.OVMF)
        base = (1 << 32) - ovmf.stat().st_size  # 2 MiB, or 4
        return f"romimage: file={ovmf}, address={base:#x}, options=none"
    bios = host.BOCHS_BIOS if boot.feature_control is None else host.SEABIOS
    return f"romimage: file={bochs.firmware(bios)}, options=fastboot"


def _medium(boot: Boot) -> list[str]:
    if boot.medium:
        stick = make_stick(boot)
        return [f"ata0-master: type=disk, path={stick.name}, mode=flat, cylinders=0", "boot: disk"]
    if boot.method != "optrom":
        cd = make_cd(boot)
        return [f"ata0-master: type=cdrom, path={cd.name}, status=inserted", "boot: cdrom"]
    rom = with_checksum(ROM.read_bytes())
    (boot.folder / "optrom.bin").write_bytes(rom[:ROM_SIZE])
    (boot.folder / "disk.img").write_bytes(make_disk(boot, rom))
    return [
        f"optromimage1: file=optrom.bin, address={ROM_ADDRESS:#x}",
        "ata0-master: type=disk, path=disk.img, mode=flat, cylinders=0",
        "boot: disk",
    ]


def _said(folder: pathlib.Path) -> str:
    """What Bochs has printed, and exported data among it."""
    return (folder / "emulator.txt").read_text(errors="replace")


@dataclasses.dataclass(frozen=True)
class Stop:
    instructions: int  # since the machine was switched on
    address: int
    answers: str


def stops(folder: pathlib.Path) -> list[Stop]:
    """The stops after the one at power-on, in order. Stops at an instruction that could not be
    fetched, and so was not executed, are left out."""
    text = _said(folder)
    return [Stop(int(m[1]), int(m[2], 16), m[3]) for m in STOP.finditer(text)][1:]


def machine_time(boot: Boot) -> float:
    """How far a machine that is connected to a terminal has come, in seconds of its own time. The
    emulator says it once a second."""
    with (boot.folder / "emulator.txt").open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 200))
        found = TICKS.findall(file.read().decode(errors="replace"))
    return int(found[-1][0]) * int(found[-1][1]) / _ips(boot) if found else 0.0


def time_is_up(boot: Boot) -> bool:
    """Whether a machine that has ended had used up its time."""
    return bool(boot.machine_time) and TIME_IS_UP in _said(boot.folder)


def stopped_at(boot: Boot, process: subprocess.Popen[bytes]) -> str:
    """Stops a machine that has run for too long, and says how far it has come, in its own time.
    The debugger takes SIGINT as ^C, and prints where it is; the command after `c` ends it. It has
    stopped already if the machine's time was up."""
    before = 0
    if process.poll() is None:
        before = (boot.folder / "emulator.txt").stat().st_size
        process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + STOPPING
    while time.monotonic() < deadline:
        with (boot.folder / "emulator.txt").open("rb") as file:
            file.seek(before)
            stopped = list(STOP.finditer(file.read().decode(errors="replace")))
        # The first stop of all is at power-on.
        if stopped[before == 0 :]:
            ticks = int(stopped[-1][1])
            return (f"the machine had come to {ticks / _ips(boot):.1f} s of its own time "
                    f"({ticks // 1_000_000:,} million instructions of each CPU), with CPU 0 at "
                    f"0x{int(stopped[-1][2], 16):x}")  # fmt: skip
        if process.poll() is not None:
            break
        time.sleep(0.02)
    return "the debugger did not say how far the machine had come"


def counted_exits(folder: pathlib.Path) -> int:
    """How often the debugger stopped at a VM exit in a boot with `count_exits`."""
    return _said(folder).count(VMEXIT)


def complaints(folder: pathlib.Path) -> list[str]:
    """The errors that Bochs itself reports, with failed VM entries (`VMFAIL`), oldest first."""
    log = folder / "bochs.log"
    if not log.is_file():
        return []
    lines = log.read_text(errors="replace").splitlines()
    found = [match for line in lines if (match := COMPLAINT.match(line))]
    return [f"{m[2]}: {m[3]}" for m in found if m[1] == "p" or not ROUTINE.search(m[3])]
