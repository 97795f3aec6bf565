#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Boots the image once, streams its serial console and returns its exit code.

The options come from the environment as `make run` passes them: MACHINE, METHOD, CPU, CMDLINE,
SMP, MEM, GUESTS, GUEST_ARGS, MEDIUM, TIMEOUT, NAME, PORT, BAUD, POWER, ENTRY.
`tools/run.py --help` says what each may be.
"""

import argparse
import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Callable

from harness import box, host, port, session, terminal
from harness.boot import MACHINES, METHODS, Boot, number, parse_guests
from harness.errors import Status, run_tool

COMPLAINTS_SHOWN = 8
LONGER = ("nested", "serial")  # machines
SPEAKERS = {"qemu-kvm": "QEMU", "qemu-tcg": "QEMU", "serial": "the harness"}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    return parser.parse_args()


def add_options(parser: argparse.ArgumentParser) -> None:
    env, add = os.environ.get, parser.add_argument

    def given(name: str) -> Callable[[str], int]:
        return functools.partial(number, name)

    add("--machine", default=env("MACHINE") or "auto", help=f"auto, {', '.join(MACHINES)}")
    add("--method", default=env("METHOD") or "grub-bios",
        help="; ".join(f"{name}: {what}" for name, what in METHODS.items()))  # fmt: skip
    add("--cpu", default=env("CPU") or "", help="a CPU model of the machine")
    add("--cmdline", default=env("CMDLINE") or "", help="words for the hypervisor")
    add("--smp", type=given("SMP"), default=env("SMP") or 1, help="number of CPUs")
    add("--mem", type=given("MEM"), default=env("MEM") or 256, help="MiB of RAM")
    add("--guests", default=env("GUESTS") or "", help='"path[:word,word...] ..."')
    add("--guest-args", default=env("GUEST_ARGS") or "", help="command line for each guest")
    add("--medium", type=pathlib.Path, default=env("MEDIUM") or None,
        help="boot what `make image` or `make netboot` has made")  # fmt: skip
    add("--timeout", type=given("TIMEOUT"), default=env("TIMEOUT") or 0,
        help="seconds; 120, and 600 where it is nested or on a serial port")
    add("--port", default=env("PORT") or "", help=f"MACHINE=serial: {port.KINDS}")
    add("--baud", type=given("BAUD"), default=env("BAUD") or Boot.baud, help="its speed")
    add("--power", default=env("POWER") or "", help="a command that starts the machine")
    add("--entry", default=env("ENTRY") or "", help="the key of an entry of GRUB's menu")
    add("--name", default=env("NAME") or "last", help="logs go to build/run/NAME/")


def explain(run: session.Run) -> None:
    """Prints what a user needs to find the cause of a failure, in this order."""
    out = sys.stderr
    if run.reason:
        print(f"run: {run.reason}", file=out)
    for case in run.output.failures:
        print(f"run: failed: {case.path}", file=out)
    machine = SPEAKERS.get(run.boot.machine, "Bochs")
    for line in run.complaints[-COMPLAINTS_SHOWN:]:
        print(f"run: {machine} says: {line}", file=out)
    print(f"run: status {run.status}; the logs are in {run.boot.folder}/", file=out)


def dialogue(boot: Boot) -> int:
    """Connects the user's terminal with the machine, which begins with its monitor. The end of
    standard input ends the dialogue."""
    with terminal.listen() as server:
        boot = dataclasses.replace(boot, serial_port=server.getsockname()[1])
        with session.started(session.prepare(boot), boot) as process:
            status, _ = terminal.talk(server, lambda: process.poll() is None, lambda: "")
    if status == Status.DIED:
        print(f"run: the emulator ended; its logs are in {boot.folder}/", file=sys.stderr)
    return status


def boot_of(opt: argparse.Namespace) -> Boot:
    """The boot that the options describe."""
    return Boot(
        name=opt.name,
        machine=host.best_machine() if opt.machine == "auto" else opt.machine,
        method=opt.method,
        cpu=opt.cpu,
        cmdline=opt.cmdline,
        # A medium has guests of its own, and so has a machine on a serial port.
        guests=() if opt.medium or opt.machine == "serial"
        else parse_guests(opt.guests, opt.guest_args),
        medium=opt.medium,
        smp=opt.smp,
        mem=opt.mem,
        timeout=opt.timeout or (600 if opt.machine in LONGER else 120),
        port=opt.port,
        baud=opt.baud,
        power=opt.power,
        entry=opt.entry,
    )


def watched(boot: Boot) -> session.Run:
    """Boots, shows the console as it comes, and explains what went wrong."""
    run = (box.run if boot.machine == "serial" else session.run)(boot, show=print)
    if run.status != Status.OK or (boot.machine == "serial" and run.complaints):
        explain(run)
    return run


def main() -> int:
    # A reader in a pipe sees each line when it comes.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    boot = boot_of(options())
    if "monitor" in boot.cmdline.split() and boot.machine != "serial":
        return dialogue(boot)
    return watched(boot).status


if __name__ == "__main__":
    run_tool("run", main)
