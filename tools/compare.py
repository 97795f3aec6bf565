#!/usr/bin/python3
"""`make bench`: what eptvisor and KVM cost on the same emulated machine, the same guests on both.

    compare.py            run both; write the CSV, tests/bench/kvm.txt, the table and the chart
    compare.py --quick    eptvisor alone, printed beside what KVM cost the last time
    compare.py --table    the table and the chart again, of the numbers in tests/bench/

KVM is that of Debian's stock cloud kernel, with tools/kvm/launcher.c as /init. docs/PERFORMANCE.md
says what is compared, and what an instruction count is not.
"""

import argparse
import concurrent.futures
import os
import re
import sys

import bench
from harness import linux, session
from harness.boot import BUILD, ROOT, Boot, Guest
from harness.errors import HarnessError, Status

PEER = ROOT / "tests/bench/kvm.txt"
CHART = ROOT / "docs/bench.svg"
CSV = BUILD / "bench/bench.csv"
GUESTS = {"exits": "bench", "mmu": "mmu_bench"}
CMDLINE = linux.CMDLINE + " hugepages=36"
# The columns, and the words of the kernel's command line.
CONFIGURATIONS = {
    "off": "mitigations=off",
    "default": "",
    "uncached": "mitigations=off bench.mmio_caching=N",
}
MARKS = ("<!-- make bench writes from here -->", "<!-- to here -->")
# What is compared: set, row, sentence.
ROWS = (
    ("exits", "cpuid", "CPUID leaf 0"),
    ("exits", "hypercall", "a hypercall that does nothing"),
    ("exits", "rdmsr", "RDMSR of IA32_APIC_BASE"),
    ("exits", "port_write", "port write to a device in the hypervisor"),
    ("exits", "port_read", "port read"),
    ("exits", "mmio_write_1", "MMIO write of 1 byte, to a device there"),
    ("exits", "mmio_write_2", "MMIO write of 2 bytes"),
    ("exits", "mmio_write", "MMIO write of 4 bytes"),
    ("exits", "mmio_write_8", "MMIO write of 8 bytes"),
    ("exits", "mmio_read_1", "MMIO read of 1 byte"),
    ("exits", "mmio_read_2", "MMIO read of 2 bytes"),
    ("exits", "mmio_read", "MMIO read of 4 bytes"),
    ("exits", "mmio_read_8", "MMIO read of 8 bytes"),
    ("exits", "doorbell", "a doorbell"),
    ("exits", "mmio_first_after_slot_change", "first MMIO write after a slot has come"),
    ("mmu", "fault_4k_present", "first touch of 4 KiB that the host has"),
    ("mmu", "fault_4k_cold", "first touch of 4 KiB, allocated and cleared"),
    ("mmu", "fault_2m_present", "first touch of 2 MiB that the host has"),
)
# Those to which it matters whether MMIO is cached; of another set.
UNCACHED = ("mmio_write", "mmio_read", "doorbell", "mmio_first_after_slot_change")
UNCACHED_SET = "exits,mmio_caching=0"

Numbers = dict[str, int]  # by row
Peer = dict[str, Numbers]  # by configuration


def _run(boot: Boot) -> session.Run:
    run = session.run(boot)
    if run.status != Status.OK:
        raise HarnessError(f"{boot.name}: {run.reason or 'a test failed'}; see {boot.folder}/")
    return run


def _numbers(runs: list[session.Run]) -> Numbers:
    found: Numbers = {}
    for run in runs:
        found |= {row: int(value) for row, (value, _) in run.output.bench.items()}
    if missing := [row for _, row, _ in ROWS if row not in found]:
        raise HarnessError(f"{runs[0].boot.name}: no BENCH line for {', '.join(missing)}")
    return found


def run_ours(name: str) -> tuple[Numbers, Numbers]:
    """With and without MMIO caching."""
    runs = []
    for i, which in enumerate((*GUESTS, UNCACHED_SET)):
        program, cmdline, words = bench.SETS[which]
        guest = Guest(BUILD / f"guest/{program}.elf", ("testctl", "budget=120000", *words))
        runs.append(_run(Boot(name=f"{name}-{i}", cpu=linux.CPU, cmdline=cmdline, guests=(guest,),
                              timeout=120)))  # fmt: skip
    cached = _numbers(runs[:-1])
    return cached, _numbers([*runs[:-1], runs[-1]])


def make_initrd() -> None:
    guests = {f"guests/{guest}.elf": BUILD / f"guest/{guest}.elf" for guest in GUESTS.values()}
    (linux.KVM / "initrd").write_bytes(linux.initrd(linux.KVM / "init", guests))


def run_kvm(name: str, configuration: str) -> session.Run:
    words = f"{CMDLINE} {CONFIGURATIONS[configuration]}".strip()
    return _run(Boot(name=f"{name}-kvm-{configuration}", method="grub-bios", cpu=linux.CPU,
                     mem=1024, cmdline=words, timeout=300, image=linux.KERNEL,
                     initrd=linux.KVM / "initrd", ips=linux.IPS,
                     preload=linux.KVM / "seed.so"))  # fmt: skip


def run_peers(name: str) -> tuple[str, Peer]:
    """The kernel's version, and its numbers. Two emulators at a time."""
    make_initrd()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda each: run_kvm(name, each), CONFIGURATIONS))
    lines = [line for line in runs[0].output.lines if line.startswith("# kernel: ")]
    numbers = [_numbers([run]) for run in runs]
    return lines[0].removeprefix("# kernel: "), dict(zip(CONFIGURATIONS, numbers, strict=True))


# ---- tests/bench/kvm.txt ----------------------------------------------------------------------


def write_peer(kernel: str, peer: Peer) -> None:
    lines = [
        "# What KVM costs beside tests/bench/budget.txt: `make bench` writes this.",
        f"# kernel: {kernel}",
        f"# {'row':28} " + " ".join(f"{name:>8}" for name in CONFIGURATIONS),
    ]
    for _, row, _ in ROWS:
        lines.append(f"{row:30} " + " ".join(f"{peer[name][row]:8}" for name in CONFIGURATIONS))
    PEER.write_text("\n".join(lines) + "\n")


def read_peer() -> tuple[str, Peer]:
    text = PEER.read_text()
    kernel = re.search(r"^# kernel: (.*)$", text, re.M)
    peer: Peer = {name: {} for name in CONFIGURATIONS}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            row, *values = line.split()
            for name, value in zip(CONFIGURATIONS, values, strict=True):
                peer[name][row] = int(value)
    return kernel[1] if kernel else "", peer


def budget() -> tuple[Numbers, Numbers]:
    """With and without MMIO caching."""
    sets = bench.read_budget()
    cached = {row: int(sets[name][row][0]) for name, row, _ in ROWS}
    return cached, cached | {row: int(sets[UNCACHED_SET][row][0]) for row in UNCACHED}


# ---- The table and the chart ------------------------------------------------------------------


def table(ours: Numbers, uncached: Numbers, kernel: str, peer: Peer) -> str:
    lines = [
        f"KVM is Linux {kernel}.",
        "",
        "| | eptvisor | KVM, mitigations off | ratio | KVM, as Debian boots it | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for _, row, what in ROWS:
        mine, off, default = ours[row], peer["off"][row], peer["default"][row]
        lines.append(f"| {what} | {mine} | {off} | {off / mine:.1f} | {default} | "
                     f"{default / mine:.1f} |")  # fmt: skip
    lines += [
        "",
        "Without MMIO caching (`mmio_caching=0`, KVM's `mmio_caching=N`), mitigations off:",
        "",
        "| | eptvisor | KVM | ratio |",
        "|---|---|---|---|",
    ]
    for _, row, what in ROWS:
        if row in UNCACHED:
            mine, theirs = uncached[row], peer["uncached"][row]
            lines.append(f"| {what} | {mine} | {theirs} | {theirs / mine:.1f} |")
    return "\n".join(lines)


def document(text: str, section: str) -> str:
    begin, end = (text.index(mark) for mark in MARKS)
    return text[: begin + len(MARKS[0])] + f"\n\n{section}\n\n" + text[end:]


def draw(ours: Numbers, kernel: str, peer: Peer) -> None:
    """Bars of equal scale, a number at each; the text stays text, so that it can be compared."""
    try:
        import matplotlib
    except ImportError as error:
        raise HarnessError("the chart needs python3-matplotlib: tools/deps.sh bench") from error
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "eptvisor", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.42 * len(ROWS)))
    for i, (_, row, what) in enumerate(reversed(ROWS)):
        for values, shift, colour in ((ours, 0.2, "#2563a8"), (peer["off"], -0.2, "#c8c8c8")):
            bar = axes.barh(i + shift, values[row], 0.38, color=colour)
            axes.bar_label(bar, labels=[f"{values[row]}"], padding=2)
        axes.text(-80, i, what, ha="right", va="center")
    axes.set_yticks([])
    axes.set_xlabel("instructions from guest to guest on the same emulator; fewer is better")
    axes.spines[["top", "right"]].set_visible(False)
    bars = axes.containers
    version = kernel.split()[0]
    axes.legend([bars[0], bars[1]], ["eptvisor", f"KVM of Linux {version}, mitigations off"],
                frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncol=2)  # fmt: skip
    figure.savefig(CHART, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = "\n".join(line.rstrip() for line in CHART.read_text().splitlines())
    CHART.write_text(text + "\n")


def write_documents() -> None:
    (ours, uncached), (kernel, peer) = budget(), read_peer()
    if missing := [row for row in ours if row not in peer["off"]]:
        raise HarnessError(f"KVM was not asked for {', '.join(missing)}: make bench")
    section = table(ours, uncached, kernel, peer)
    bench.DOCUMENT.write_text(document(bench.DOCUMENT.read_text(), section))
    draw(ours, kernel, peer)


def write_csv(ours: Numbers, uncached: Numbers, peer: Peer) -> None:
    CSV.parent.mkdir(parents=True, exist_ok=True)
    names = ["row", "eptvisor", "eptvisor_uncached", *(f"kvm_{name}" for name in CONFIGURATIONS)]
    lines = [",".join(names)]
    for _, row, _ in ROWS:
        values = [ours[row], uncached[row], *(peer[name][row] for name in CONFIGURATIONS)]
        lines.append(",".join([row, *map(str, values)]))
    CSV.write_text("\n".join(lines) + "\n")


def show(ours: Numbers, kernel: str, peer: Peer) -> None:
    print(f"# KVM: Linux {kernel}, mitigations off; instructions, and how many times ours")
    print(f"# {'row':28} eptvisor      KVM   ratio")
    for _, row, _ in ROWS:
        mine, theirs = ours[row], peer["off"][row]
        print(f"{row:30} {mine:8} {theirs:8} {theirs / mine:7.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    name = os.environ.get("NAME") or "bench"
    if arguments.table:
        write_documents()
        return 0
    ours, uncached = run_ours(name)
    if arguments.quick:
        show(ours, *read_peer())
        return 0
    kernel, peer = run_peers(name)
    show(ours, kernel, peer)
    write_csv(ours, uncached, peer)
    now, now_uncached = budget()
    stale = [row for row in now if now[row] != ours[row]]
    stale += [row for row in UNCACHED if now_uncached[row] != uncached[row]]
    if stale:
        raise HarnessError(f"{', '.join(stale)}: not what tests/bench/budget.txt says, so no table "
                           "was written: tools/bench.py --update first")  # fmt: skip
    write_peer(kernel, peer)
    write_documents()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HarnessError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(Status.NOT_STARTED)
