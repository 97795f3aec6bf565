#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Boots one guest and starts GDB for it: `make gdb GUEST=hello`.

GDB runs in the terminal, with the guest's symbols and connected to the second serial port. The
machine's console is in build/run/gdb/serial.txt. When GDB ends, the machine does.

GUEST=linux is Debian's Linux with a small initrd, as for `make linux`; KERNEL, INITRD, VCPUS and
MEM are as there. SYMBOLS is a file with the kernel's symbols, by default one that tools/kallsyms.py
makes of the kernel itself, and GDB has the command `kaslr` (tools/kaslr.py).
"""

import argparse
import functools
import os
import pathlib
import signal
import subprocess
import sys
import threading

from harness import debian, host, session
from harness.boot import BUILD, ROOT, Boot, Guest, number, variable
from harness.debugger import Relay
from harness.errors import HarnessError, Status, run_tool

TIMEOUT = 24 * 3600.0
MACHINES = ("bochs", "nested", "qemu-kvm")


def options() -> argparse.Namespace:
    env = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--guest", default=env("GUEST") or "hello", help="a program of guest/programs/, or linux")
    add("--words", default=env("WORDS") or "", help="its words, with commas between them")
    add("--machine", default=env("MACHINE") or "bochs", help=", ".join(MACHINES))
    add("--smp", type=functools.partial(number, "SMP"), default=env("SMP") or 1,
        help="number of CPUs")  # fmt: skip
    add("--symbols", default=env("SYMBOLS") or "", help="a file with the guest's symbols")
    add("--cmdline", default=env("CMDLINE") or "", help="more words for the hypervisor")
    add("arguments", nargs="*", help="for GDB: -x FILE, -batch, -ex COMMAND")
    opt = parser.parse_args()
    if opt.machine not in MACHINES:
        raise HarnessError(f"MACHINE={opt.machine}: choose from {', '.join(MACHINES)}, which run "
                           "guests and have a second serial port")  # fmt: skip
    if opt.symbols and not pathlib.Path(opt.symbols).is_file():
        raise HarnessError(f"SYMBOLS={opt.symbols}: no such file")
    host.require(["gdb"])
    return opt


def program(opt: argparse.Namespace) -> tuple[dict[str, object], list[str]]:
    """What differs for a program of ours: fields of the machine, and commands for GDB."""
    path = BUILD / "guest" / f"{opt.guest}.elf"
    symbols = path.with_name(path.name + ".64")
    if not path.exists():
        raise HarnessError(f"{path} does not exist; make it with `make {path}`")
    words = tuple((opt.words or "testctl").split(","))
    commands = [f"file {opt.symbols or (symbols if symbols.exists() else path)}"]
    return {"guests": (Guest(path, words),), "smp": opt.smp}, commands


def linux(opt: argparse.Namespace) -> tuple[dict[str, object], list[str]]:
    """The same for Linux."""
    env = os.environ.get
    kernel = pathlib.Path(env("KERNEL") or debian.KERNEL)
    initrd = pathlib.Path(env("INITRD", "")) if env("INITRD") else None
    vcpus, mem = variable("VCPUS", 1), variable("MEM", debian.MEM)
    for word, path in (("KERNEL", kernel), ("INITRD", initrd)):
        if path and not path.is_file():
            raise HarnessError(f"{word}={path} does not exist")
    words = tuple(word for word in opt.words.split(",") if word)
    guests = debian.guests(kernel, initrd, env("APPEND") or debian.CMDLINE, vcpus, mem, words)
    symbols = opt.symbols or debian.SYMBOLS
    if kernel != debian.KERNEL and not opt.symbols:
        raise HarnessError("SYMBOLS= is missing: a file with the symbols of KERNEL=, such as its "
                           "vmlinux with debug information, or what tools/vmlinux.py and "
                           "tools/kallsyms.py make of it")  # fmt: skip
    fields = {"guests": guests, "smp": max(opt.smp, vcpus), "ips": debian.IPS,
              "mem": debian.machine_memory(mem, guests)}  # fmt: skip
    return fields, [f"symbol-file {symbols}", f"source {ROOT / 'tools/kaslr.py'}"]


def run(boot: Boot, runs: list[session.Run]) -> None:
    """Runs the machine, and says at once why it has ended if that is not what it should do."""
    done = session.run(boot)
    runs.append(done)
    if done.status != Status.OK:
        errors = [line for line in done.output.lines if line.startswith("error: ")]
        why = [done.output.exit_name, done.reason, *errors[:1]]
        print(f"gdb: the machine has ended: {'; '.join(filter(None, why))}; its console is in "
              f"{done.log}", file=sys.stderr)  # fmt: skip


def main() -> int:
    opt = options()
    fields, commands = linux(opt) if opt.guest == "linux" else program(opt)
    with Relay() as relay:
        boot = Boot(
            name="gdb",
            machine=opt.machine,
            method="optrom" if opt.machine == "bochs" else "kernel",
            cmdline=f"gdb={opt.guest} {opt.cmdline}".strip(),
            timeout=TIMEOUT,
            gdb_port=relay.machine_port,
            **fields,
        )
        session.prepare(boot)  # what keeps it from being started is said before GDB begins
        runs: list[session.Run] = []
        machine = threading.Thread(target=run, args=(boot, runs), daemon=True)
        machine.start()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is GDB's
        command = ["gdb", "-q"]
        for line in ("set confirm off", "set remotetimeout 30", *commands,
                     f"target remote 127.0.0.1:{relay.gdb_port}"):  # fmt: skip
            command += ["-ex", line]
        command += opt.arguments
        status = subprocess.run(command, check=False).returncode
        signal.signal(signal.SIGINT, before)
        machine.join(1.0)
    if runs:
        print(f"The machine has ended: {runs[0].output.exit_name or runs[0].reason}")
    return status


if __name__ == "__main__":
    run_tool("gdb", main)
