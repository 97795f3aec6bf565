# SPDX-License-Identifier: MIT
"""Recordings of events as a machine would export them, for the tests of what is made of them."""

import pathlib
import re
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from harness import events, frames  # noqa: E402

TABLE = re.findall(r'X\((\w+), "([^"]+)"\)', (ROOT / "lib/trace_events.h").read_text())
NUMBERS = {name: number for number, (name, _) in enumerate(TABLE)}


class Machine:
    """Makes what a machine with two pCPUs would export."""

    def __init__(self) -> None:
        self.number, self.stream = 0, bytearray()
        self.recorded = [0, 0]
        self.say("tsc_khz 1000")  # a tick is a microsecond
        for number, (name, values) in enumerate(TABLE):
            self.say(f"event {number} {name} {values}")
        self.say("vm 1 first guest")

    def frame(self, kind: int, data: bytes) -> None:
        self.stream += frames.encode(kind, self.number, data)
        self.number += 1

    def say(self, line: str) -> None:
        self.frame(frames.TEXT, line.encode())

    def happens(self, tsc: int, cpu: int, vcpu: int, name: str, *values: int, vm: int = 1) -> None:
        batch = struct.pack("<QHHI", self.recorded[cpu], cpu, 1, 0)
        record = struct.pack("<QBBHHH", tsc, NUMBERS[name], len(values), cpu, vm, vcpu)
        self.frame(frames.EVENTS, batch + record + struct.pack(f"<{len(values)}Q", *values))
        self.recorded[cpu] += 1


def two_cpus() -> Machine:
    """vCPU 0 takes a fault, and sends an IPI with a kick to vCPU 1, which exits and takes it."""
    machine = Machine()
    add = machine.happens
    add(90, 0, 0, "turn", 1)
    add(91, 1, 1, "turn", 1)
    add(100, 0, 0, "entry", 0x1000, 0)
    add(101, 1, 1, "entry", 0x2000, 0)
    add(110, 0, 0, "exit", 48, 0x1004, 0x182, 0x5000)
    add(112, 0, 0, "page_fault", 0x5000, 0x12)
    add(115, 0, 0, "mmu_set_spte", 5, 1 << 63, 0xFFFF, 1, 7)
    add(120, 0, 0, "entry", 0x1004, 0)
    add(130, 0, 0, "exit", 32, 0x1008, 0, events.NO_ADDRESS)
    add(132, 0, 0, "apic_ipi", 1, 0x60, 0)
    add(133, 0, 0, "kick", 1)
    add(136, 1, 1, "exit", 0, 0x2004, 0, events.NO_ADDRESS)
    add(137, 1, 1, "apic_accept_irq", 0x60)
    add(138, 1, 1, "inj_virq", 0x60, 0, 0)
    add(139, 1, 1, "entry", 0x2004, 0)
    add(140, 0, 0, "entry", 0x100A, 0)
    add(150, 0, 0, "exit", 12, 0x100B, 0, events.NO_ADDRESS)
    add(160, 0, 0, "turn", 0)
    add(170, 1, 1, "exit", 52, 0x2008, 0, events.NO_ADDRESS)
    add(171, 1, 1, "turn", 0)
    return machine


# SPTEs: a leaf of 4 KiB that is written, written and its D bit cleared, and one that lost W.
DIRTY, CLEAN, PROTECTED = 0x200377, 0x200177, 0x200175
DEVICE, LOGGED = 0xFE000000, 0x40000000


def story(name: str = "second guest") -> Machine:
    """What two_cpus() did, and then another VM, which reads a device, writes to ports, waits, and
    has a slot with a dirty log; at last three events are missing."""
    machine = two_cpus()
    machine.say(f"vm 2 {name}")
    now = 200

    def add(ticks: int, event: str, *values: int) -> None:
        nonlocal now
        now += ticks
        machine.happens(now, 0, 0, event, *values, vm=2)

    add(0, "turn", 1)
    add(5, "entry", 0x1000, 0)
    for i in range(20):
        add(30, "exit", 49, 0x1010, 0, DEVICE + 8 * i)
        add(2, "mmio", 1 + i % 2, 4, DEVICE + 8 * i, 7)
        add(3, "entry", 0x1014, 0)
    add(10, "exit", 30, 0x1020, 0x3F8 << 16, events.NO_ADDRESS)
    add(8, "entry", 0x1021, 0)
    add(10, "exit", 18, 0x1030, 0, events.NO_ADDRESS)
    for page in range(4):
        add(1, "tdp_mmu_spte_changed", (LOGGED >> 12) + page, DIRTY, CLEAN, 1)
    add(20, "entry", 0x1032, 0)
    add(10, "exit", 48, 0x1040, 0x182, LOGGED + 0x5000)
    add(2, "page_fault", LOGGED + 0x5000, 0x1A)
    add(2, "fast_page_fault", (LOGGED >> 12) + 5, 2, 9, PROTECTED, PROTECTED | 2, 5)
    add(2, "entry", 0x1040, 0)
    add(10, "exit", 12, 0x1050, 0, events.NO_ADDRESS)
    add(3, "entry", 0x1051, 1)
    add(90, "exit", 52, 0x1051, 0, events.NO_ADDRESS)
    add(2, "inj_virq", 0x30, 0, 0)
    add(4, "entry", 0x1051, 0)
    machine.recorded[0] += 3
    add(40, "exit", 10, 0x1060, 0, events.NO_ADDRESS)
    add(9, "turn", 0)
    return machine
