#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Starts Linux in a VM, with its console in this terminal: `make linux`.

The environment contains the options. KERNEL and INITRD are files, by default Debian's cloud kernel
and a small initrd with busybox. CMDLINE is the kernel's command line. VCPUS is the number of vCPUs,
and MEM the VM's RAM in MiB. ^A x ends the machine, and ^A ^A sends ^A. The logs go to
build/run/NAME/, by default build/run/linux/. The end of standard input ends the shell, and thus the
VM.
"""

import os
import pathlib
import signal
import sys

from harness import debian, session, terminal
from harness.boot import Boot
from harness.errors import HarnessError, Status


def number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdigit() or not int(text):
        raise HarnessError(f"{name}={text}: a number from 1 on")
    return int(text)


def file(name: str) -> pathlib.Path | None:
    text = os.environ.get(name)
    return pathlib.Path(text).resolve() if text else None


def main() -> int:
    vcpus, mem = number("VCPUS", 1), number("MEM", debian.MEM)
    guests = debian.guests(
        file("KERNEL") or debian.KERNEL, file("INITRD"),
        os.environ.get("CMDLINE") or debian.CMDLINE, vcpus, mem, ("live",),
    )  # fmt: skip
    with terminal.listen() as server:
        boot = Boot(
            name=os.environ.get("NAME") or "linux", guests=guests, smp=vcpus, ips=debian.IPS,
            mem=debian.machine_memory(mem, guests), serial_port=server.getsockname()[1],
        )  # fmt: skip
        with session.started(session.prepare(boot), boot) as machine:
            status = terminal.talk(server, lambda: machine.poll() is None)
    if status == Status.DIED:
        print(f"linux: the emulator ended; its logs are in {boot.folder}/", file=sys.stderr)
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except HarnessError as error:
        print(f"linux: {error}", file=sys.stderr)
        sys.exit(Status.NOT_STARTED)
    except KeyboardInterrupt:
        sys.exit(Status.INTERRUPTED)
