#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Boots one guest and starts GDB for it: `make gdb GUEST=hello`.

GDB runs in the terminal, with the guest's symbols and connected to the second serial port. The
machine's console is in build/run/gdb/serial.txt. When GDB ends, the machine does.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading

from harness import session
from harness.boot import BUILD, Boot, Guest
from harness.debugger import Relay
from harness.errors import HarnessError, run_tool

TIMEOUT = 24 * 3600.0


def options() -> argparse.Namespace:
    env = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--guest", default=env("GUEST") or "hello", help="a program of guest/programs/")
    add("--words", default=env("WORDS") or "testctl", help="its words, with commas between them")
    add("--machine", default=env("MACHINE") or "bochs", help="bochs or qemu-kvm")
    add("--smp", type=int, default=env("SMP") or 1, help="number of CPUs")
    add("--cmdline", default=env("CMDLINE") or "", help="more words for the hypervisor")
    add("arguments", nargs="*", help="for GDB: -x FILE, -batch, -ex COMMAND")
    return parser.parse_args()


def main() -> int:
    opt = options()
    program = BUILD / "guest" / f"{opt.guest}.elf"
    symbols = program.with_name(program.name + ".64")
    if not program.exists():
        raise HarnessError(f"{program} does not exist; make it with `make {program}`")
    with Relay() as relay:
        boot = Boot(
            name="gdb",
            machine=opt.machine,
            method="optrom" if opt.machine == "bochs" else "kernel",
            cmdline=f"gdb={opt.guest} {opt.cmdline}".strip(),
            guests=(Guest(program, tuple(opt.words.split(","))),),
            smp=opt.smp,
            timeout=TIMEOUT,
            gdb_port=relay.machine_port,
        )
        runs: list[session.Run] = []
        machine = threading.Thread(target=lambda: runs.append(session.run(boot)), daemon=True)
        machine.start()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is GDB's
        command = ["gdb", "-q", "-ex", "set confirm off", "-ex", "set remotetimeout 30",
                   "-ex", f"file {symbols if symbols.exists() else program}",
                   "-ex", f"target remote 127.0.0.1:{relay.gdb_port}", *opt.arguments]  # fmt: skip
        status = subprocess.run(command, check=False).returncode
        signal.signal(signal.SIGINT, before)
        machine.join(1.0)
    if runs:
        print(f"The machine has ended: {runs[0].output.exit_name or runs[0].reason}")
    return status


if __name__ == "__main__":
    run_tool("gdb", main)
