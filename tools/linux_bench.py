#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What Linux costs the hypervisor from the kernel's entry to the shell: `make bench-linux`.

    linux_bench.py            run and print
    linux_bench.py --update   also write the table of docs/PERFORMANCE.md
    linux_bench.py --tdx      Debian 13's kernel, as a normal guest and as a TD: `make bench-tdx`

The emulator's debugger stops at each VM exit and at each VM entry, so the product contains no code
for this: what is between an exit and the next entry was executed by the hypervisor. A program in
the initrd marks the moment at which the shell would start. The same kernel also boots with the same
initrd and command line without a hypervisor, and the debugger stops at its entry and at the mark.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import subprocess

import bench
import start
from harness import bochs, debian, linux, session
from harness.boot import BUILD, Boot, Guest
from harness.errors import HarnessError, Status, run_tool

VERSION = "2.7"  # of Bochs
STOPS = 1_000_000  # more than a boot has
ENTRY = 0x1000000  # where GRUB enters the kernel in protected mode
MOST = 2.0  # percents of all instructions that the hypervisor may execute
MOST_BESIDE = 300  # KiB that a VM with one vCPU may take in addition to its RAM
# How many quadwords the REP STOSQ clears that these functions contain.
CLEARS = {"page_clear": 512, "clearing_take_block": 16384}
INITRD = debian.INITRD.with_name("initrd-mark")
TDX_INITRD = debian.INITRD.with_name("initrd-tdx-mark")
MARK = {"bin/mark": BUILD / "linux/mark"}
STOP = re.compile(r"^(?:\(0\) (Magic|Caught|Break).*\n)?Next at t=(\d+)\n"
                  r"\(0\) \[\w+\] \w+:(\w+) \([^)]*\): (\w+)", re.M)  # fmt: skip
MEMORY = re.compile(r"^# linux: (\d+) KiB of RAM are in use, and (\d+) KiB of other memory$", re.M)
# How the kernel of Debian 13 is booted, and the words for that.
TDX_RUNS = {"a normal guest": ("entry=64",), "a TD that is not measured": ("tdx", "measure=0"),
            "a TD": ("tdx",)}  # fmt: skip
VERSION_LINE = re.compile(rb"(\d+\.\d+\.\d+\S*) \(.*?\) #1 ")


@dataclasses.dataclass(frozen=True)
class Cost:
    """In ticks of the emulator: one for each instruction, and one for each further repetition of a
    string instruction."""

    exits: int
    ticks: int
    hypervisor: int
    cleared: int  # of those: repetitions of REP STOSQ that clear the guest's new pages
    ram: int = 0  # KiB of RAM that the guest has touched
    beside: int = 0  # KiB that the VM has taken in addition to its RAM

    @property
    def share(self) -> float:
        """Percents of all instructions, of which REP STOSQ is one."""
        return 100 * (self.hypervisor - self.cleared) / (self.ticks - self.cleared)

    @property
    def share_of_ticks(self) -> float:
        return 100 * self.hypervisor / self.ticks


def _code() -> tuple[list[int], dict[int, int]]:
    """Returns the addresses of VMLAUNCH and VMRESUME, and of the instructions that precede the REP
    STOSQ of CLEARS."""
    lines = subprocess.run(["objdump", "-d", start.IMAGE], capture_output=True, text=True,
                           check=True).stdout.splitlines()  # fmt: skip
    entries, clears, function, before = [], {}, "", 0
    for line in lines:
        if name := re.match(r"^\w+ <(\w+)>:$", line):
            function = name[1]
        elif code := re.match(r"^ *(\w+):\t[^\t]*\t(.*)$", line):
            if code[2].startswith(("vmlaunch", "vmresume")):
                entries.append(int(code[1], 16))
            elif code[2].startswith("rep stos") and function in CLEARS:
                clears[before] = CLEARS[function]
            before = int(code[1], 16)
    if len(entries) != 2 or len(clears) != len(CLEARS):
        raise HarnessError(f"the image has {len(entries)} entries of the guest, not 2, and clears "
                           f"pages in {len(clears)} places, not {len(CLEARS)}")  # fmt: skip
    return entries, clears


def count(text: str, entries: list[int], clears: dict[int, int]) -> Cost:
    """Reads the stops from the first entry to the mark."""
    exits = hypervisor = cleared = first = left = 0
    for match in STOP.finditer(text):
        why, now, address = match[1], int(match[2]), int(match[3], 16)
        if why == "Magic":
            return Cost(exits, now - first, hypervisor, cleared)
        if why == "Caught":
            exits += 1
            left = now
        elif address in entries:
            hypervisor += now - left if left else 0
            first, left = first or now, 0
        elif address in clears and left:
            cleared += clears[address] - 1
    raise HarnessError("the debugger did not see the program that marks the shell's start")


def _words() -> tuple[str, str]:
    """The CPU model, and the kernel's command line, whose first word is for the initrd."""
    model, words = linux.machine(VERSION)
    return model, f"mark {words} mitigations=off initcall_blacklist={','.join(debian.SLOW)}"


def in_vm(name: str) -> Cost:
    model, words = _words()
    initrd = debian.make_initrd(INITRD, MARK)
    return measured(f"{name}-vm", model, debian.guests(initrd=initrd, cmdline=words))


def tdx(name: str, words: tuple[str, ...]) -> Cost:
    """The kernel of Debian 13: with the word `tdx` as a TDX guest, otherwise as a normal one."""
    initrd = debian.make_tdx_initrd(TDX_INITRD, MARK)
    guests = debian.guests(debian.TDX_KERNEL, initrd, f"mark {debian.TDX_CMDLINE}", words=words)
    return measured(name, "", guests)


def measured(name: str, model: str, guests: tuple[Guest, ...]) -> Cost:
    """Boots Linux in a VM until the mark."""
    entries, clears = _code()
    breakpoints = [f"lb {address:#x}" for address in (*entries, *clears)]
    boot = Boot(
        name=name, bochs=VERSION, cpu=model, cmdline="counters=1 mitigations=off",
        guests=guests, ips=debian.IPS, mem=debian.machine_memory(debian.MEM, guests), magic=True,
        debugger=(*breakpoints, "vmexitbp", *["c"] * STOPS), timeout=900,
    )  # fmt: skip
    run = session.run(boot)
    if run.status != Status.OK:
        raise HarnessError(f"{boot.name}: {run.reason or 'it failed'}; see {boot.folder}/")
    text = (boot.folder / "emulator.txt").read_text(errors="replace")
    memory = MEMORY.search("\n".join(run.output.lines))
    if not memory:
        raise HarnessError(f"{boot.name}: no line says how much memory the VM has taken")
    return dataclasses.replace(count(text, entries, clears), ram=int(memory[1]),
                               beside=int(memory[2]))  # fmt: skip


def bare(name: str) -> int:
    """The ticks from the kernel's entry to the mark without a hypervisor."""
    debian.make_initrd(INITRD, MARK)
    model, words = _words()
    boot = Boot(
        name=f"{name}-bare", method="grub-bios", bochs=VERSION, cpu=model, cmdline=words,
        image=debian.KERNEL, initrd=INITRD, ips=debian.IPS, mem=debian.MEM, magic=True,
        debugger=(f"lb {ENTRY:#x}", "c", "d 1", "c", "q"), timeout=300,
    )  # fmt: skip
    session.run(boot)  # it ends at the mark, without a line EXIT
    stops = bochs.stops(boot.folder)
    if len(stops) < 2:
        raise HarnessError(f"{boot.name}: no stop at the kernel's entry and at the mark; see "
                           f"{boot.folder}/")  # fmt: skip
    return stops[1].instructions - stops[0].instructions


def kernel_version(kernel: pathlib.Path = debian.KERNEL) -> str:
    """Returns the version that the header of a bzImage contains."""
    image = kernel.read_bytes()
    place = int.from_bytes(image[0x20E:0x210], "little") + 0x200
    return image[place : image.index(0, place)].split()[0].decode()


def millions(ticks: int) -> str:
    return f"{ticks / 1e6:.1f}"


def tdx_table(version: str, costs: tuple[Cost, ...]) -> str:
    """Rows for docs/PERFORMANCE.md: a normal guest, and TDs."""
    rows = (
        ("millions of ticks", *(millions(cost.ticks) for cost in costs)),
        ("of these, executed by the hypervisor", *(millions(cost.hypervisor) for cost in costs)),
        ("the hypervisor's share of the ticks",
         *(f"{cost.share_of_ticks:.1f} %" for cost in costs)),
        ("exits", *(str(cost.exits) for cost in costs)),
        ("KiB of RAM that are in use", *(str(cost.ram) for cost in costs)),
        ("KiB that the VM takes in addition to its RAM", *(str(cost.beside) for cost in costs)),
    )  # fmt: skip
    head = f"| from the first entry to the shell, Linux {version} | " + " | ".join(TDX_RUNS) + " |"
    return "\n".join([head, "|---" * (1 + len(costs)) + "|",
                      *("| " + " | ".join(row) + " |" for row in rows)])  # fmt: skip


def table(version: str, cost: Cost, alone: int) -> str:
    """Rows for docs/PERFORMANCE.md, in millions of ticks."""
    rows = (
        ("without a hypervisor, in millions of ticks", millions(alone)),
        ("in a VM of 256 MiB with one vCPU", millions(cost.ticks)),
        ("of these, executed by the hypervisor", millions(cost.hypervisor)),
        ("of these, repetitions of REP STOSQ that clear new pages", millions(cost.cleared)),
        ("the hypervisor's share of the ticks", f"{cost.share_of_ticks:.1f} %"),
        ("the hypervisor's share of the instructions", f"{cost.share:.2f} %"),
        ("exits", str(cost.exits)),
        ("KiB of RAM that the kernel has touched", str(cost.ram)),
        ("KiB that the VM takes in addition to its RAM", str(cost.beside)),
    )  # fmt: skip
    return "\n".join([f"| from entry to shell | Linux {version} |", "|---|---|",
                      *(f"| {what} | {value} |" for what, value in rows)])  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--tdx", action="store_true")
    arguments = parser.parse_args()
    if arguments.tdx:
        costs = tuple(tdx(f"bench-tdx-{i}", words) for i, words in enumerate(TDX_RUNS.values()))
        text = tdx_table(kernel_version(debian.TDX_KERNEL), costs)
        print(text)
        if arguments.update:
            bench.DOCUMENT.write_text(bench.fill(bench.DOCUMENT.read_text(), "tdx", text))
        return 0
    name = os.environ.get("NAME") or "bench-linux"
    cost = in_vm(name)
    text = table(kernel_version(), cost, bare(name))
    print(text)
    if arguments.update:
        bench.DOCUMENT.write_text(bench.fill(bench.DOCUMENT.read_text(), "linux", text))
    return 0 if cost.share <= MOST and cost.beside <= MOST_BESIDE else 1


if __name__ == "__main__":
    run_tool("bench-linux", main)
