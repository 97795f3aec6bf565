# SPDX-License-Identifier: MIT
"""Traces of what the emulator executed between two marks of a guest (guest/programs/rt/mark.h):
counts of the hypervisor's instructions, by function and source file."""

import bisect
import collections
import dataclasses
import functools
import pathlib
import re
import subprocess

from .boot import ROOT

# What the debugger prints for each instruction while `trace on`, and where it stops.
STEP = re.compile(r"(?m)^\(\d\)\.\[\d+\] \[\w+\] \w+:([0-9a-f]+) \([^)]*\): (.*?)\s*;")
BEGIN, END = "Tracing enabled", "Magic breakpoint"
HYPERVISOR = 0xFFFF_0000_0000_0000  # its addresses begin here; guests stay below

LOCKED = re.compile(r"^lock |^xchg .*\[")
# Serialising instructions (SDM 3, 9.3) wait until all earlier instructions are done, and no later
# one begins before. VM entries and exits also serialise, but each row has a fixed number of them.
# VERW is counted with them, because it takes as long where it clears the CPU's buffers.
SERIALISING = re.compile(r"^(cpuid|inv(d|ept|lpg|pcid|vpid)|wbinvd|wrmsr|xsetbv|serialize|verw|"
                         r"iret[dqw]?|l[gil]dt|ltr|mov ([cd]r[0-7]),.*)(\s|$)")  # fmt: skip

# Cycles that each is taken to need: docs/PERFORMANCE.md says where they are from.
CYCLES = {"vmreads": 52, "vmwrites": 44, "locked_ops": 19, "serialising": 100}


@dataclasses.dataclass
class Cost:
    """Counts of the hypervisor's instructions, in the order of the columns of all tables."""

    instructions: int = 0
    vmreads: int = 0
    vmwrites: int = 0
    locked_ops: int = 0
    serialising: int = 0

    def add(self, instruction: str) -> None:
        self.instructions += 1
        self.vmreads += instruction.startswith("vmread")
        self.vmwrites += instruction.startswith("vmwrite")
        self.locked_ops += bool(LOCKED.match(instruction))
        self.serialising += bool(SERIALISING.match(instruction))


@dataclasses.dataclass
class Trace:
    cost: Cost = dataclasses.field(default_factory=Cost)
    addresses: list[int] = dataclasses.field(default_factory=list)


def read(path: pathlib.Path) -> list[Trace]:
    """The traces between the pairs of marks, in the order in which they were executed."""
    traces: list[Trace] = []
    current: Trace | None = None
    with path.open(errors="replace") as lines:
        for line in lines:
            if BEGIN in line:
                current = Trace()
            elif current and END in line:
                traces.append(current)
                current = None
            elif current and (step := STEP.match(line)):
                address = int(step[1], 16)
                if address >= HYPERVISOR:
                    current.cost.add(step[2])
                    current.addresses.append(address)
    return traces


def symbols(image: pathlib.Path) -> list[tuple[int, str]]:
    """The symbols of code, by address."""
    lines = subprocess.run(["nm", "-n", str(image)], capture_output=True, text=True, check=True)
    fields = (line.split() for line in lines.stdout.splitlines())
    return [(int(f[0], 16), f[2]) for f in fields if len(f) == 3 and f[1] in "tT"]


@functools.cache
def _in_tree(path: pathlib.Path) -> str:
    """The path of a source file, relative to the tree. With a compiler's cache, the debug
    information may name another copy of the tree."""
    tails = (path.relative_to(parent) for parent in reversed(path.parents))
    return str(next((tail for tail in tails if (ROOT / tail).is_file()), path))


def files(image: pathlib.Path, addresses: set[int]) -> dict[int, str]:
    """The source file of each instruction, that of an inlined function where there is one."""
    ordered = sorted(addresses)
    lines = subprocess.run(["addr2line", "-e", str(image)], capture_output=True, text=True,
                           check=True, input="\n".join(map(hex, ordered))).stdout.splitlines()
    # fmt: skip
    return {address: _in_tree(pathlib.Path(line.rpartition(":")[0]))
            for address, line in zip(ordered, lines, strict=True)}  # fmt: skip


def profile(trace: Trace, table: list[tuple[int, str]]) -> list[tuple[str, int]]:
    """The instructions of each function, in the order in which they were first entered."""
    starts = [start for start, _ in table]
    counts: collections.Counter[str] = collections.Counter()
    for address in trace.addresses:
        counts[table[bisect.bisect_right(starts, address) - 1][1]] += 1
    return list(counts.items())
