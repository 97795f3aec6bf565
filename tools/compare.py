#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make bench`: compares eptvisor with KVM, running the same guests on the same emulated machine.

    compare.py            run both; write the CSV, tests/bench/kvm.txt, the tables and the chart
    compare.py --quick    run eptvisor alone, and print it next to KVM's numbers of the last run
    compare.py --table    write the tables and the chart again from the numbers in tests/bench/

KVM is that of Debian's stock cloud kernel, with tools/kvm/launcher.c as /init. docs/PERFORMANCE.md
says what is compared, and what an instruction count does not show.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import os
import re
import textwrap
from collections.abc import Callable, Iterable
from typing import TypeVar

import bench
import charts
import scaling
import start
from harness import bochs, linux, session
from harness.boot import BUILD, ROOT, Boot, Guest
from harness.errors import HarnessError, Status, run_tool

T = TypeVar("T")

PEER = ROOT / "tests/bench/kvm.txt"
CHART = ROOT / "docs/bench.svg"
README = ROOT / "README.md"
CSV = BUILD / "bench/bench.csv"
GUESTS = {"exits": "bench", "mmio": "mmio_bench", "cpu": "cpu_bench", "mmu": "mmu_bench"}
HUGE_PAGES = "hugepages=36"
# The columns: which Bochs, and the words of the kernel's command line.
CONFIGURATIONS = {
    "off": (bench.BOCHS, "mitigations=off"),
    "default": (bench.BOCHS, ""),
    "plain": (bench.BOCHS, "mitigations=off kvm.mmio_caching=N kvm_intel.pml=N"),
    "two": (bench.BOCHS, "mitigations=off bench.vcpus=2"),
    "bochs2": ("2.7", "mitigations=off"),
    "flawed": ("2.7", ""),  # on a model with L1TF, which costs most
}
# What is compared: our set, the row, its label.
ROWS = (
    ("exits", "cpuid", "CPUID leaf 0"),
    ("exits", "hypercall", "a hypercall that does nothing"),
    ("exits", "rdmsr", "RDMSR of IA32_APIC_BASE"),
    ("exits", "wrmsr", "WRMSR of IA32_TSC_DEADLINE, KVM's fast path"),
    ("cpu", "cpuid_1", "CPUID leaf 1"),
    ("cpu", "cpuid_7", "CPUID leaf 7"),
    ("cpu", "cpuid_b", "CPUID leaf 0xb"),
    ("cpu", "cpuid_hypervisor", "CPUID leaf 0x40000000"),
    ("cpu", "cpuid_armed", "CPUID leaf 0, with the guest's timer armed"),
    ("cpu", "hypercall_armed", "a hypercall, with the timer armed"),
    ("cpu", "port_write_armed", "port write, with the timer armed"),
    ("cpu", "wrmsr_deadline", "WRMSR of IA32_TSC_DEADLINE: another deadline"),
    ("cpu", "cpuid_waiting", "CPUID leaf 0, with an interrupt pending and IF=0"),
    ("cpu", "hypercall_waiting", "a hypercall, with an interrupt pending"),
    ("cpu", "port_write_waiting", "port write, with an interrupt pending"),
    ("exits", "flush", "INVLPG and MOV to CR3"),
    ("exits", "port_write", "port write to a device in the hypervisor"),
    ("exits", "port_read", "port read"),
    ("exits", "port_write_user", "port write; KVM's device is in user space"),
    ("exits", "mmio_write_1", "MMIO write of 1 byte, to a device in the hypervisor"),
    ("exits", "mmio_write_2", "MMIO write of 2 bytes"),
    ("exits", "mmio_write", "MMIO write of 4 bytes"),
    ("exits", "mmio_write_8", "MMIO write of 8 bytes"),
    ("exits", "mmio_read_1", "MMIO read of 1 byte"),
    ("exits", "mmio_read_2", "MMIO read of 2 bytes"),
    ("exits", "mmio_read", "MMIO read of 4 bytes"),
    ("exits", "mmio_read_8", "MMIO read of 8 bytes"),
    ("exits", "doorbell", "a doorbell"),
    ("exits", "mmio_first_after_slot_change", "first MMIO write after a slot was added"),
    ("exits", "mmio_first_after_slot_replace", "… after a slot was deleted and added again"),
    ("exits", "mmio_first_after_slot_flags", "… after a slot's flags were changed twice"),
    ("mmio", "mmio_one_cr3", "MMIO write, alternating between two address spaces"),
    ("mmio", "mmio_devices_2", "one instruction, two devices in turn"),
    ("mmio", "mmio_devices_2_cr3", "… and two address spaces"),
    ("mmio", "mmio_places_17", "one instruction, 17 registers in turn"),
    ("mmio", "mmio_places_17_cr3", "… and two address spaces"),
    ("mmio", "mmio_places_64", "… 64 registers"),
    ("mmio", "mmio_places_64_cr3", "… and two address spaces"),
    ("mmio", "mmio_places_256", "… 256 registers, more than are cached"),
    ("mmio", "mmio_instructions_17", "17 instructions, one register"),
    ("mmio", "mmio_instructions_17_cr3", "… and two address spaces"),
    ("mmio", "mmio_instructions_64", "64 instructions"),
    ("mmio", "mmio_instructions_64_cr3", "… and two address spaces"),
    ("mmio", "mmio_instructions_256", "256 instructions, more than are cached"),
    ("mmio", "doorbells_2", "one instruction, two doorbells in turn"),
    ("mmio", "doorbells_2_cr3", "… and two address spaces"),
    ("mmio", "mmio_or", "OR on a device"),
    ("mmio", "mmio_xchg", "XCHG with a device"),
    ("mmio", "mmio_rep_movs", "one element of REP MOVSD to a device"),
    ("mmio", "lapic_eoi", "local APIC: EOI"),
    ("mmio", "lapic_tpr", "local APIC: a write of TPR"),
    ("mmio", "lapic_id", "local APIC: a read of its ID"),
    ("mmio", "lapic_tmict", "local APIC: a write of the timer's initial count"),
    ("mmu", "fault_4k_present", "first touch of 4 KiB that the host has allocated"),
    ("mmu", "fault_4k_cold", "first touch of 4 KiB, allocated and cleared"),
    ("mmu", "fault_2m_present", "first touch of 2 MiB that the host has allocated"),
    ("mmu", "write_after_harvest", "write to a page whose dirty bit was collected"),
)
# Rows measured without the mechanism that makes them fast: our set, the row, its label.
PLAIN = (
    ("exits,mmio_caching=0", "mmio_write", "MMIO write of 4 bytes, not cached"),
    ("exits,mmio_caching=0", "mmio_read", "MMIO read of 4 bytes"),
    ("exits,mmio_caching=0", "doorbell", "a doorbell"),
    ("exits,mmio_caching=0", "mmio_first_after_slot_change",
     "first MMIO write after a slot was added"),
    ("mmu,ept_ad=0", "write_after_harvest", "write to a collected page, by write protection"),
)
# Rows measured in VMs with two vCPUs.
TWO = (
    ("exits,vcpus=2", "cpuid", "CPUID leaf 0"),
    ("exits,vcpus=2", "hypercall", "a hypercall that does nothing"),
    ("exits,vcpus=2", "port_write", "port write"),
    ("exits,vcpus=2", "mmio_write", "MMIO write of 4 bytes"),
    ("exits,vcpus=2", "mmio_read", "MMIO read of 4 bytes"),
    ("exits,vcpus=2", "doorbell", "a doorbell"),
    ("exits,vcpus=2", "mmio_first_after_slot_change", "first MMIO write after a slot was added"),
    ("mmio,vcpus=2", "mmio_devices_2", "one instruction, two devices in turn"),
    ("mmio,vcpus=2", "mmio_places_256", "one instruction, 256 registers, more than are cached"),
    ("mmio,vcpus=2", "doorbells_2", "one instruction, two doorbells in turn"),
    ("mmio,vcpus=2", "mmio_or", "OR on a device"),
    ("mmio,vcpus=2", "lapic_eoi", "local APIC: EOI"),
    ("cpu,vcpus=2", "cpuid_armed", "CPUID leaf 0, with the guest's timer armed"),
    ("cpu,vcpus=2", "cpuid_waiting", "CPUID leaf 0, with an interrupt pending and IF=0"),
)
# Rows measured with mitigations, on the same CPU model as KVM's `flawed`.
FLAWED_SET = f"exits,cpu={linux.MACHINES['2.7'][0]}"
FLAWED = tuple((FLAWED_SET, row, what) for row, what in (
    ("cpuid", "CPUID leaf 0"),
    ("hypercall", "a hypercall that does nothing"),
    ("port_write", "port write"),
    ("mmio_write", "MMIO write of 4 bytes"),
    ("mmio_read", "MMIO read of 4 bytes"),
    ("doorbell", "a doorbell"),
    ("mmio_first_after_slot_change", "first MMIO write after a slot was added"),
))  # fmt: skip

# The table of README.md, hits next to misses: set, row, label, and how the work differs.
FRONT = (
    ("exits", "cpuid", "CPUID leaf 0", ""),
    ("exits", "hypercall", "a hypercall that does nothing", "KVM refuses it as unknown"),
    ("cpu", "cpuid_armed", "CPUID leaf 0, with the guest's timer armed", ""),
    ("cpu", "wrmsr_deadline", "WRMSR of IA32_TSC_DEADLINE", ""),
    ("exits", "port_write", "port write", "KVM's device is the PIC, eptvisor's is a UART"),
    ("exits", "mmio_write", "MMIO write, made before", "KVM decodes the instruction and walks the "
     "guest's page tables again; eptvisor checks that its replay entry is still valid"),
    ("mmio", "mmio_devices_2", "MMIO write, two devices in turn", "as for the MMIO write"),
    ("mmio", "mmio_places_256", "MMIO write, 256 registers in turn, more than are cached: four of "
     "five are misses", "as for the MMIO write; a miss does the same work as KVM"),
    ("mmio", "mmio_instructions_256", "MMIO write, 256 instructions in turn, more than are cached",
     "as for the MMIO write; a miss does the same work as KVM"),
    ("exits", "mmio_first_after_slot_change", "MMIO write, the first after a memslot was added",
     "as for the MMIO write"),
    ("exits", "mmio_first_after_slot_replace", "MMIO write, the first after a memslot was replaced:"
     " nothing cached is valid", "KVM drops all mappings of the VM"),
    ("mmio", "mmio_or", "OR on a device, which eptvisor emulates each time", ""),
    ("exits", "doorbell", "a doorbell, rung before", "KVM's wakes an eventfd, eptvisor's counts"),
    ("mmio", "doorbells_2", "two doorbells in turn", "KVM's wakes an eventfd, eptvisor's counts"),
    ("mmio", "lapic_eoi", "local APIC: EOI", ""),
    ("mmu", "fault_4k_present", "first touch of a page that the host has allocated", "KVM asks the "
     "host's page tables, and the host can take the page back; eptvisor owns its memory"),
)  # fmt: skip

# How the work differs, where the row does not say it.
DIFFERENCES = (
    "Hypercall: KVM does not know this one and refuses it; eptvisor has one that does nothing.",
    "An MMIO access that was made before: KVM decodes the instruction and walks the guest's page "
    "tables each time. eptvisor has a replay entry for each combination of instruction, address "
    "and address space, and checks that nothing has changed since; without an entry it does the "
    "same work as KVM, which the rows with misses show.",
    "Devices: KVM's are registers of an interrupt controller, under a lock; eptvisor's are test "
    "devices, under a lock only in VMs with several vCPUs. KVM's doorbell wakes the readers of an "
    "eventfd, of which there are none; eptvisor's increments a counter.",
    "User space: KVM hands the port write to the process that runs the vCPU, which ignores it and "
    "calls KVM_RUN again; eptvisor's device is in the hypervisor, as all of its devices are.",
    "A fault: KVM asks the host's page tables for the page, under the locks and notifiers that let "
    "the host take it back; eptvisor owns its memory.",
    "Every exit: KVM checks for signals, preemption and work of the host, and switches more "
    "state; eptvisor has no user space and no host.",
    "Mitigations of the CPU's flaws: KVM's are off in the first columns. eptvisor's cost nothing "
    "at an exit on these models, only at a change of VMs (below).",
)

# Bytes and counts of the same guests, followed by the size of the whole program.
OTHERS = (
    ("exits", "flush_exits", "exits of 1000 INVLPGs and 1000 MOVs to CR3"),
    ("mmu", "tables_per_gib_4k", "bytes of tables for a GiB in pages of 4 KiB"),
    ("mmu", "tables_per_gib_2m", "bytes of tables for a GiB in pages of 2 MiB"),
    ("start", "vm_bytes", "bytes that a VM takes in addition to its RAM"),
    ("start", "start_vm", "instructions from a VM's creation to its first guest instruction"),
)

ALL = (*ROWS, *PLAIN, *TWO, *FLAWED)

Numbers = dict[str, int]  # by row
Ours = dict[str, Numbers]  # by set
Peer = dict[str, Numbers]  # by configuration


@dataclasses.dataclass(frozen=True)
class Kernel:
    version: str
    # As Debian boots it: a line for each flaw of the CPU, and of the one with L1TF.
    mitigations: tuple[str, ...]
    flawed: tuple[str, ...]


def _run(boot: Boot) -> session.Run:
    run = session.run(boot)
    if run.status != Status.OK:
        raise HarnessError(f"{boot.name}: {run.reason or 'a test failed'}; see {boot.folder}/")
    return run


def _numbers(run: session.Run) -> Numbers:
    return {row: int(value) for row, (value, _) in run.output.bench.items()}


def _complete(where: str, wanted: Iterable[str], found: Numbers) -> Numbers:
    if missing := [row for row in wanted if row not in found]:
        raise HarnessError(f"{where}: no BENCH line for {', '.join(missing)}")
    return found


def _in_pairs(jobs: list[Callable[[], T]]) -> list[T]:
    """Runs two jobs at a time."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [job.result() for job in [pool.submit(job) for job in jobs]]


def run_ours(name: str) -> Ours:
    """Measures eptvisor on the same emulated machine as KVM."""
    def run(which: str) -> Numbers:
        program, cmdline, words = bench.SETS[which]
        guest = Guest(BUILD / f"guest/{program}.elf", ("testctl", "budget=120000", *words))
        folder = f"{name}-" + re.sub(r"\W", "-", which)
        cpu = bench.model(which) or linux.machine(bench.BOCHS)[0]
        boot = Boot(name=folder, bochs=bench.BOCHS, cpu=cpu, cmdline=cmdline, guests=(guest,),
                    timeout=300)  # fmt: skip
        wanted = [row for of, row, _ in (*ALL, *OTHERS) if of == which]
        return _complete(folder, wanted, _numbers(_run(boot)))

    sets = list(dict.fromkeys(of for of, _, _ in ALL))
    found = _in_pairs([functools.partial(run, of) for of in sets])
    return dict(zip(sets, found, strict=True))


def make_initrd() -> None:
    guests = {f"guests/{guest}.elf": BUILD / f"guest/{guest}.elf" for guest in GUESTS.values()}
    (linux.KVM / "initrd").write_bytes(linux.initrd(linux.KVM / "init", guests))


def run_kvm(name: str, configuration: str) -> session.Run:
    """The word `bench.stop` makes the launcher stop the debugger before it creates its first VM."""
    version, words = CONFIGURATIONS[configuration]
    cpu, cmdline = linux.machine(version)
    words = f"{cmdline} {HUGE_PAGES} {words} bench.stop"
    guest = start.entry_of(start.GUEST)
    return _run(Boot(name=f"{name}-kvm-{configuration}", method="grub-bios", bochs=version,
                     cpu=cpu, mem=1024, cmdline=words, timeout=1200, image=linux.KERNEL,
                     initrd=linux.KVM / "initrd", ips=linux.IPS, preload=linux.KVM / "seed.so",
                     debugger=("c", *start.commands_until([guest]))))  # fmt: skip


def peer_numbers(run: session.Run) -> Numbers:
    numbers = _numbers(run)
    stops = bochs.stops(run.boot.folder)
    if len(stops) < 2:
        raise HarnessError(f"{run.boot.name}: the debugger did not see the first VM start")
    numbers["start_vm"] = stops[1].instructions - stops[0].instructions
    return _complete(run.boot.name, [row for _, row, _ in (*ROWS, *OTHERS)], numbers)


def _said(lines: list[str], what: str) -> list[str]:
    """Returns the rest of each line that begins with `# what: `."""
    return [line.removeprefix(f"# {what}: ") for line in lines if line.startswith(f"# {what}: ")]


def run_peers(name: str) -> tuple[Kernel, Peer]:
    make_initrd()
    runs = _in_pairs([functools.partial(run_kvm, name, each) for each in CONFIGURATIONS])
    peer = dict(zip(CONFIGURATIONS, map(peer_numbers, runs), strict=True))
    default, flawed = (run.output.lines for run, name in zip(runs, CONFIGURATIONS, strict=True)
                       if name in ("default", "flawed"))  # fmt: skip
    return Kernel(_said(default, "kernel")[0], tuple(_said(default, "mitigation")),
                  tuple(_said(flawed, "mitigation"))), peer  # fmt: skip


# ---- tests/bench/kvm.txt ----------------------------------------------------------------------


def write_peer(kernel: Kernel, peer: Peer) -> None:
    lines = [
        "# What KVM costs, compared with tests/bench/budget.txt: `make bench` writes this.",
        f"# kernel: {kernel.version}",
        *(f"# mitigation: {each}" for each in kernel.mitigations),
        *(f"# flawed: {each}" for each in kernel.flawed),
        f"# {'row':28} " + " ".join(f"{name:>8}" for name in CONFIGURATIONS),
    ]
    for row in (*(row for _, row, _ in (*ROWS, *OTHERS)), "image_bytes"):
        lines.append(f"{row:30} " + " ".join(f"{peer[name][row]:8}" for name in CONFIGURATIONS))
    PEER.write_text("\n".join(lines) + "\n")


def read_peer() -> tuple[Kernel, Peer]:
    lines = PEER.read_text().splitlines()
    peer: Peer = {name: {} for name in CONFIGURATIONS}
    for line in lines:
        if line and not line.startswith("#"):
            row, *values = line.split()
            if len(values) != len(CONFIGURATIONS):
                raise HarnessError(f"{PEER.name} does not have all columns, "
                                   f"{', '.join(CONFIGURATIONS)}; type: make bench")  # fmt: skip
            for name, value in zip(CONFIGURATIONS, values, strict=True):
                peer[name][row] = int(value)
    return Kernel(_said(lines, "kernel")[0], tuple(_said(lines, "mitigation")),
                  tuple(_said(lines, "flawed"))), peer  # fmt: skip


def budget() -> Ours:
    return {name: {row: int(cells[0]) for row, cells in rows.items()}
            for name, rows in bench.read_budget().items()}  # fmt: skip


# ---- The table and the chart ------------------------------------------------------------------


def short_table(rows: Iterable[tuple[str, str, str]], ours: Ours, theirs: Numbers) -> list[str]:
    return ["| | eptvisor | KVM | ratio |", "|---|---|---|---|",
            *(f"| {what} | {ours[of][row]} | {theirs[row]} | {theirs[row] / ours[of][row]:.1f} |"
              for of, row, what in rows)]  # fmt: skip


def wrapped(items: Iterable[str]) -> list[str]:
    """A Markdown list, wrapped at 100 columns."""
    return [line for item in items
            for line in textwrap.wrap(f"- {item}", 100, subsequent_indent="  ")]  # fmt: skip


def table(ours: Ours, kernel: Kernel, peer: Peer) -> str:
    lines = [
        f"KVM is Linux {kernel.version}, booted with",
        "",
        f"    {linux.machine(bench.BOCHS)[1]} {HUGE_PAGES} mitigations=off",
        "",
        "and, as Debian boots it, without the last word. The kernel then reports",
        "",
        *(f"- {each}" for each in kernel.mitigations),
        "",
        f"The last column is KVM's first one on Bochs 2.7; the others are on {bench.BOCHS}.",
        "On 2.7 eptvisor costs at most as much as shown here, or `make test` fails.",
        "",
        "| | eptvisor | KVM, mitigations off | ratio | KVM, as Debian boots it | ratio | "
        "mitigations off, Bochs 2.7 |",
        "|---|---|---|---|---|---|---|",
    ]
    for of, row, what in ROWS:
        mine, off, default = ours[of][row], peer["off"][row], peer["default"][row]
        lines.append(f"| {what} | {mine} | {off} | {off / mine:.1f} | {default} | "
                     f"{default / mine:.1f} | {peer['bochs2'][row]} |")  # fmt: skip
    lines += ["", "How the work differs:", "", *wrapped(DIFFERENCES)]
    lines += ["",
              "Without MMIO caching (`mmio_caching=0`, KVM's `mmio_caching=N`), or with dirty "
              "logging by",
              "write protection (`ept_ad=0`, KVM's `pml=N`); mitigations off:", "",
              *short_table(PLAIN, ours, peer["plain"])]  # fmt: skip
    lines += ["", "In VMs with two vCPUs, mitigations off:", ""]
    lines += short_table(TWO, ours, peer["two"])
    lines += ["", f"With the mitigations that each chooses on `{bench.model(FLAWED_SET)}` (KVM on "
              "Bochs 2.7, where", "the last column of the first table is without), and the kernel "
              "reports", "", *(f"- {each}" for each in kernel.flawed), "",
              *short_table(FLAWED, ours, peer["flawed"])]  # fmt: skip
    lines += ["", "Figures that are not path lengths:", "", "| | eptvisor | KVM |", "|---|---|---|"]
    for of, row, what in OTHERS:
        lines.append(f"| {what} | {ours[of][row]} | {peer['off'][row]} |")
    image = sum(ours["start"][f"image_{part}"] for part in ("text", "data", "bss"))
    lines.append(f"| bytes of code and static data; for KVM, of Linux and its modules | {image} | "
                 f"{peer['off']['image_bytes']} |")  # fmt: skip
    return "\n".join(lines)


def front_table(ours: Ours, peer: Peer) -> str:
    lines = ["| | eptvisor | KVM | how the work differs |", "|---|---|---|---|"]
    lines += [f"| {what} | {ours[of][row]} | {peer[peers_of(of)[0]][row]} | {difference} |"
              for of, row, what, difference in FRONT]  # fmt: skip
    return "\n".join(lines)


def draw(ours: Ours, kernel: Kernel, peer: Peer) -> None:
    """Draws two bars for each row, with their values."""
    figure, axes = charts.pyplot().subplots(figsize=(8, 0.34 * len(ROWS)))
    for i, (of, row, what) in enumerate(reversed(ROWS)):
        values = ((ours[of][row], 0.2, "#2563a8"), (peer["off"][row], -0.2, "#c8c8c8"))
        for value, shift, colour in values:
            bar = axes.barh(i + shift, value, 0.38, color=colour)
            axes.bar_label(bar, labels=[f"{value}"], padding=2)
        axes.text(-80, i, what, ha="right", va="center")
    axes.set_yticks([])
    axes.set_xlabel("instructions from guest to guest on the same emulator; fewer is better")
    axes.spines[["top", "right"]].set_visible(False)
    bars = axes.containers
    version = kernel.version.split()[0]
    axes.legend([bars[0], bars[1]], ["eptvisor", f"KVM of Linux {version}, mitigations off"],
                frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncol=2)  # fmt: skip
    charts.save(figure, CHART)


def write_documents() -> None:
    ours, (kernel, peer) = budget(), read_peer()
    if missing := [row for _, row, _ in (*ROWS, *OTHERS) if row not in peer["off"]]:
        raise HarnessError(f"{PEER.name} has no row {', '.join(missing)}; type: make bench")
    text = bench.fill(bench.DOCUMENT.read_text(), "kvm", table(ours, kernel, peer))
    README.write_text(bench.fill(README.read_text(), "kvm", front_table(ours, peer)))
    sets = bench.read_budget()
    bench.DOCUMENT.write_text(bench.fill(text, "scaling", scaling.tables(sets)))
    draw(ours, kernel, peer)
    scaling.draw(sets)
    scaling.write_csv(sets)


def peers_of(of: str) -> tuple[str, ...]:
    """The configurations of KVM with which one of our sets is compared."""
    if of.endswith("vcpus=2"):
        return ("two",)
    if bench.model(of):
        return ("flawed",)
    return ("plain",) if "," in of else ("off", "default", "bochs2")


def write_csv(ours: Ours, peer: Peer) -> None:
    CSV.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(["set", "row", "eptvisor", *(f"kvm_{name}" for name in CONFIGURATIONS)])]
    for of, row, _ in (*ALL, *OTHERS):
        values = [peer[name][row] if name in peers_of(of) else "" for name in peer]
        lines.append(",".join([f'"{of}"', row, str(ours[of][row]), *map(str, values)]))
    CSV.write_text("\n".join(lines) + "\n")


def show(ours: Ours, kernel: Kernel, peer: Peer) -> None:
    print(f"# KVM: Linux {kernel.version}, mitigations off; instructions, and KVM's over ours")
    print(f"# {'row':32} eptvisor      KVM   ratio")
    what = ("# without MMIO caching; dirty logging by write protection", "# with two vCPUs",
            f"# with mitigations, on {bench.model(FLAWED_SET)}", "#")  # fmt: skip
    for rows, then in zip((ROWS, PLAIN, TWO, FLAWED), what, strict=True):
        for of, row, _ in rows:
            mine, theirs = ours[of][row], peer[peers_of(of)[0]][row]
            print(f"{row:34} {mine:8} {theirs:8} {theirs / mine:7.1f}")
        print(then)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    name = os.environ.get("NAME") or "bench"
    if arguments.table:
        write_documents()
        return 0
    ours = run_ours(name)
    if arguments.quick:
        show(ours, *read_peer())
        return 0
    kernel, peer = run_peers(name)
    show(ours, kernel, peer)
    known = budget()
    write_csv(known | ours, peer)
    if bench.compiler() != bench.budget_compiler():
        print(f"This image was compiled by {bench.compiler()}, and the documents have numbers of "
              f"{bench.budget_compiler()}, so they were not changed.")  # fmt: skip
        return 0
    rows = {(of, row) for of, row, _ in ALL}
    if stale := sorted(row for of, row in rows if known[of].get(row) != ours[of][row]):
        raise HarnessError(f"{', '.join(stale)}: differs from tests/bench/budget.txt, so no table "
                           "was written; run tools/bench.py --update first")  # fmt: skip
    write_peer(kernel, peer)
    write_documents()
    return 0


if __name__ == "__main__":
    run_tool("bench", main)
