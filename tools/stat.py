#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Shows what the VMs do, as kvm_stat does: tools/stat.py [--json] [FILE]

Reads the lines that the hypervisor prints with `stat=MS` (vm/stat.h), from a console that grows in
FILE or from the standard input, and shows how fast each counter grows. Keys: q ends it, v shows the
next VM, o changes the order of the rows.
"""

import argparse
import collections
import contextlib
import curses
import json
import os
import pathlib
import re
import time
from collections.abc import Callable, Iterator

from harness import events
from harness.errors import run_tool

LINE = re.compile(r"# stat (.+) (\d+)/(\d+)((?: [a-z]\w*=\d+)+)?( \.)?\s*$")
POLL = 0.1  # seconds


class Vm:
    """What is known of a VM: its counters at the last two complete samples."""

    def __init__(self) -> None:
        self.ms, self.totals = 0, dict[str, int]()
        self.before_ms, self.before = 0, dict[str, int]()
        self.coming_ms, self.lines, self.coming = -1, 0, dict[str, int]()

    def add(self, ms: int, number: int, values: dict[str, int], last: bool) -> bool:
        """Adds a line; true if it completes a sample, of which no line is missing."""
        if ms != self.coming_ms:
            self.coming_ms, self.lines, self.coming = ms, 0, {}
        self.lines += 1
        self.coming |= values
        if not last or self.lines != number:
            return False
        self.before_ms, self.before = self.ms, self.totals
        self.ms, self.totals = ms, self.coming
        self.coming_ms, self.coming = -1, {}
        return True

    def rates(self) -> dict[str, float]:
        """Per second, between the last two samples; none after the first one. A counter that has
        become smaller is one that does not only grow, such as a number of pages."""
        seconds = (self.ms - self.before_ms) / 1000
        if not self.before or seconds <= 0:
            return {}
        return {name: (value - self.before.get(name, 0)) / seconds
                for name, value in self.totals.items()}  # fmt: skip


def label(counter: str) -> str:
    """The counter's name as kvm_stat shows it."""
    reason = counter.removeprefix("exit_")
    return f"kvm_exit({events.reason_name(int(reason))})" if reason.isdigit() else counter


class Samples:
    """All VMs, in the order in which they were first seen."""

    def __init__(self) -> None:
        self.vms: dict[str, Vm] = collections.defaultdict(Vm)

    def add(self, line: str) -> str:
        """Adds a line of the console. Returns the name of the VM whose sample it completes."""
        match = LINE.match(line)  # a guest's own lines are indented
        if not match:
            return ""
        pairs = (pair.split("=") for pair in (match[4] or "").split())
        values = {label(name): int(value) for name, value in pairs}
        vm = self.vms[match[1]]
        complete = vm.add(int(match[2]), int(match[3]), values, bool(match[5]))
        return match[1] if complete else ""


def as_json(name: str, vm: Vm) -> str:
    rates = {counter: round(rate, 3) for counter, rate in vm.rates().items()}
    return json.dumps({"vm": name, "ms": vm.ms, "totals": vm.totals, "rates": rates})


def table(name: str, vm: Vm, by_rate: bool) -> list[str]:
    """The screen's lines: like kvm_stat's columns, and the exits also as a share of all."""
    rates, exits = vm.rates(), vm.totals.get("exits", 0)
    lines = [f"eptvisor statistics - {name} at {vm.ms / 1000:.1f} s", "",
             f" {'Event':<40}{'Total':>14} {'%Total':>7} {'CurAvg/s':>11}"]  # fmt: skip

    def order(counter: str) -> tuple[float, str]:
        return -(rates.get(counter, 0.0) if by_rate else vm.totals[counter]), counter

    for counter in sorted(vm.totals, key=order):
        share = 100 * vm.totals[counter] / exits if counter.startswith("kvm_exit") and exits else 0
        percent = f"{share:.1f}" if share else ""
        rate = f"{rates[counter]:.0f}" if counter in rates else ""
        lines.append(f" {counter:<40}{vm.totals[counter]:>14} {percent:>7} {rate:>11}")
    return lines


class Console:
    """A console's complete lines, as far as they have come."""

    def __init__(self, path: pathlib.Path | None) -> None:
        self.file = os.open(path, os.O_RDONLY) if path else os.dup(0)
        self.follows = path is not None  # a file may grow; a pipe ends
        os.set_blocking(self.file, False)
        self.rest, self.ended = b"", False

    def lines(self) -> Iterator[str]:
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.file, 1 << 20)
            self.ended = not data and not self.follows
        *whole, self.rest = (self.rest + data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")


def print_json(console: Console, once: bool) -> None:
    """Prints an object for each sample; with `once`, until nothing more has come."""
    samples = Samples()
    while True:
        lines = list(console.lines())
        for line in lines:
            if name := samples.add(line):
                print(as_json(name, samples.vms[name]), flush=True)
        if console.ended or (once and not lines):
            return
        if not lines:
            time.sleep(POLL)


def show(screen: "curses.window", lines: list[str]) -> None:
    height, width = screen.getmaxyx()
    screen.erase()
    for y, line in enumerate(lines[:height]):
        with contextlib.suppress(curses.error):  # of the last place of the screen
            screen.addstr(y, 0, line[: width - 1], curses.A_REVERSE if y == 2 else 0)
    screen.refresh()


def watch(console: Console) -> Callable[["curses.window"], None]:
    def loop(screen: "curses.window") -> None:
        samples, chosen, by_rate = Samples(), 0, True
        screen.timeout(int(POLL * 1000))
        with contextlib.suppress(curses.error):
            curses.curs_set(0)
        while True:
            for line in console.lines():
                samples.add(line)
            names = [name for name, vm in samples.vms.items() if vm.totals]
            if names:
                name = names[chosen % len(names)]
                show(screen, table(name, samples.vms[name], by_rate))
            else:
                show(screen, ["waiting for lines; the command line needs stat=1000 or the like"])
            key = screen.getch()
            if key == ord("q") or console.ended:
                return
            chosen += key == ord("v")
            by_rate ^= key == ord("o")

    return loop


def keys_from_terminal() -> None:
    """The standard input is the console if no file is given; keys come from the terminal then."""
    terminal = os.open("/dev/tty", os.O_RDONLY)
    os.dup2(terminal, 0)
    os.close(terminal)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("file", nargs="?", type=pathlib.Path, help="the console, such as build/run/last/serial.txt")
    add("--json", action="store_true", help="print an object for each sample of a VM")
    add("--once", action="store_true", help="with --json: end when all that is there is printed")
    opt = parser.parse_args()
    console = Console(opt.file)
    if opt.json:
        print_json(console, opt.once)
        return 0
    if not opt.file:
        keys_from_terminal()
    curses.wrapper(watch(console))
    return 0


if __name__ == "__main__":
    run_tool("stat", main)
