#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures paths in emulated instructions, from one guest instruction to the guest's next one.

    bench.py [--profile ROW] [SET...]     run and print; the sets are those of the budget
    bench.py --update [SET...]            write tests/bench/budget.txt and docs/PERFORMANCE.md

Each set is a guest program and a command line. It runs twice: once unchanged, for the guest's own
measurement, and once with the debugger stopping around the last run of each row. The trace of this
run counts what the guest cannot see: VMREADs and VMWRITEs, each of which is an exit when nested
without shadowing, and locked and serialising instructions. The weight adds cycles that stand for
their cost on silicon. The product contains no code for this.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import stages
import start
from harness import session, trace
from harness.boot import BUILD, ROOT, Boot, Guest
from harness.errors import HarnessError, Status, run_tool

BOCHS = "3.0"  # the version that the budget is for: it saves RF as a CPU does
BUDGET = ROOT / "tests/bench/budget.txt"
DOCUMENT = ROOT / "docs/PERFORMANCE.md"
# Each set: a guest, the command line, and words for its VM. With `parallel=2` two VMs run it, and
# the second one competes with the first. A set with `cpu=` in its name is measured on this model,
# with mitigations; all others without.
BITS = ("shared=39", "execute_only=38")
SETS = {
    "exits": ("bench", "", ()),
    "exits,mmio_caching=0": ("bench", "mmio_caching=0", ()),
    "exits,vcpus=2": ("bench", "", ("vcpus=2",)),
    "exits,cpu=corei7_skylake_x": ("bench", "", ()),
    "mmio": ("mmio_bench", "", ()),
    "mmio,vcpus=2": ("mmio_bench", "", ("vcpus=2",)),
    "cpu": ("cpu_bench", "", ()),
    "cpu,vcpus=2": ("cpu_bench", "", ("vcpus=2",)),
    "io": ("io_bench", "cpus=1 parallel=2", ("pc", "net")),
    "mmu": ("mmu_bench", "", ()),
    "mmu,ept_ad=0": ("mmu_bench", "ept_ad=0", ()),
    "private,bits=0": ("sides_bench", "", ()),
    "private,bits=1": ("sides_bench", "", BITS[:1]),
    "private,bits=2": ("sides_bench", "", BITS),
    "private,ve": ("sides_bench", "", (*BITS, "ve")),
    "private,ve=inject": ("sides_bench", "ve=inject", (*BITS, "ve")),
    "td": ("td_bench", "nx_huge=off", ("tdx",)),
    "smp,cpus=4": ("smp_bench", "cpus=4", ("vcpus=4",)),
    "smp,cpus=2": ("sched_bench", "cpus=2", ("vcpus=3",)),
    "smp,cpus=1": ("sched_bench", "cpus=1", ("vcpus=2",)),
    "vms": ("vms_bench", "cpus=1 parallel=2", ()),
    "vms,cpu=tigerlake": ("vms_bench", "cpus=1 parallel=2", ()),
    "vms,cpu=corei7_skylake_x": ("vms_bench", "cpus=1 parallel=2", ()),
    "hold,cpus=1": ("hold_bench", "cpus=1 huge=0", ("vcpus=2", "shared=39", "budget=600000")),
    "hold,huge=1": ("hold_bench", "cpus=1", ("vcpus=2", "shared=39", "budget=600000")),
    "scale": ("scale", "", ()),
    "start": ("hello", "", ()),  # tools/start.py measures it
}
MEMORY = {"scale": 1280}  # MiB of the machine, where it is not the default
PER = re.compile(r"^ *# (\S+): one of (\d+)$")
MORE_IS_BETTER = ("faults",)  # units
LONGEST_HOLD = 50000  # instructions: what the rows longest_hold… may have at most
LIMIT = 1.03  # more than that over the budget is a failure
# Another compiler makes other instructions of the same source, but the same number of VMREADs,
# VMWRITEs, locked and serialising instructions: one more of a hundred only in a path through
# several VMs, where one of them finds another one a little earlier or later.
OTHER_LIMIT = 1.15
OTHER_COUNTS = 1.01
# Rows with text for the screen: when it scrolls, depends on how much was printed before, which is
# not the same with the firmware of each emulator.
SCROLLING = ("hold_flood", "longest_hold")
SCROLLING_LIMIT = 1.08
# The compiler, which the debug information names for each object.
PRODUCER = re.compile(rb"GNU C\d* (\d+)\.")
COMPILER = re.compile(r"^# compiler: (.+)$", re.M)  # in the budget
ROUNDING = 0.005  # tolerance for counts, none of which may exceed its budget
COLUMNS = ("ticks", *trace.CYCLES, "weighed")


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the budget. The counts apply only to rows in ticks, which are path lengths."""

    name: str
    value: int
    unit: str = "ticks"
    vmreads: float = 0
    vmwrites: float = 0
    locked_ops: float = 0
    serialising: float = 0
    stages: dict[str, float] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def weighed(self) -> int:
        """Cycles, with one for each instruction whose cost has not been measured."""
        return round(self.value + sum((cycles - 1) * getattr(self, what)
                                      for what, cycles in trace.CYCLES.items()))  # fmt: skip

    @property
    def cells(self) -> list[str]:
        if self.unit != "ticks":
            return [str(self.value)]
        counts = (getattr(self, what) for what in trace.CYCLES)
        return [str(self.value), *(f"{n:.2f}".rstrip("0").rstrip(".") for n in counts),
                str(self.weighed)]  # fmt: skip

    def __str__(self) -> str:
        if self.unit != "ticks":
            return f"BENCH {self.name} {self.value} {self.unit}"
        columns = zip(self.cells, COLUMNS, strict=True)
        return f"BENCH {self.name} " + ", ".join(f"{cell} {what}" for cell, what in columns)


def cpus(name: str) -> int:
    """Returns the number of CPUs of the machine, all of which are used."""
    found = re.search(r"\bcpus=(\d+)", SETS[name][1])
    return int(found[1]) if found else 1


def model(name: str) -> str:
    """Returns the set's CPU model, or an empty text for the machine's default."""
    found = re.search(r",cpu=(\w+)", name)
    return found[1] if found else ""


def mitigations(name: str) -> str:
    """Mitigations are on only where the CPU model matters; without them a row is comparable to
    KVM's."""
    return f"mitigations={'auto' if model(name) else 'off'}"


def boot(name: str, folder: str, marks: int = 0) -> session.Run:
    program, cmdline, words = SETS[name]
    folder = "-".join([folder, *re.findall(r"\w+", name)] + ["marked"] * bool(marks))
    budget = () if any(word.startswith("budget=") for word in words) else ("budget=120000",)
    testctl = () if "tdx" in words else ("testctl",)  # a TD has no control hypercalls
    guest = Guest(BUILD / f"guest/{program}.elf", (*testctl, *budget, *words))
    guests = [guest]
    if "pc" in words:
        guests.append(Guest(BUILD / "guest/mmio.elf", ("disk",), name="+disk"))
    if "parallel=2" in cmdline:
        guests.append(dataclasses.replace(guest, name="beside", args="beside"))
    run = session.run(Boot(name=folder, cmdline=f"{cmdline} {mitigations(name)}".strip(),
                           cpu=model(name), guests=tuple(guests), smp=cpus(name),
                           mem=MEMORY.get(name, Boot.mem), marks=marks, timeout=300))  # fmt: skip
    if run.status != Status.OK:
        raise HarnessError(f"{name}: {run.reason or 'a test failed'}; see {run.boot.folder}/")
    return run


def alike(name: str, plain: dict[str, tuple], marked: dict[str, tuple]) -> bool:
    """Returns whether two runs gave equal numbers. With several CPUs, the debugger's stops shift
    the CPUs against each other, so small differences are allowed."""
    if cpus(name) == 1 or list(plain) != list(marked):
        return plain == marked
    return all(abs(int(plain[row][0]) - int(marked[row][0])) <= 1 + int(plain[row][0]) // 100
               for row in plain)  # fmt: skip


def measure(name: str, profiled: str = "", folder: str = "bench") -> list[Row]:
    """Measures each row of a set. `profiled` names a row whose instructions are printed by
    function. The logs are in folders below build/run/ that begin with `folder`."""
    if name == "start":
        return [Row(*row) for row in start.measure(folder)]
    plain = boot(name, folder).output
    rows = {row: Row(row, int(value), unit) for row, (value, unit) in plain.bench.items()}
    ticks = [row for row in rows if rows[row].unit == "ticks"]
    if not ticks:  # no row is a path length, so there is nothing to trace
        return list(rows.values())
    marked = boot(name, folder, 2 * len(ticks))
    if not alike(name, plain.bench, marked.output.bench):
        raise HarnessError(f"{name}: costs differ under the debugger: "
                           f"{marked.output.bench}, not {plain.bench}")  # fmt: skip
    per = {m[1]: int(m[2]) for line in plain.lines if (m := PER.match(line))}
    traces = trace.read(marked.boot.folder / "emulator.txt")
    if len(traces) != 2 * len(ticks):
        raise HarnessError(f"{name}: {len(traces)} marked runs, not two for each of {ticks}")
    files = trace.files(marked.boot.image, {at for each in traces for at in each.addresses})
    for i, row in enumerate(ticks):
        full, idle = traces[2 * i : 2 * i + 2]
        counts = {what: (getattr(full.cost, what) - getattr(idle.cost, what)) / per.get(row, 1)
                  for what in trace.CYCLES}  # fmt: skip
        spent = stages.count(full.addresses, files)
        spent.subtract(stages.count(idle.addresses, files))
        spent = {stage: count / per.get(row, 1) for stage, count in spent.items()}
        rows[row] = dataclasses.replace(rows[row], **counts, stages=spent)
        if row == profiled:
            for function, count in trace.profile(traces[2 * i], trace.symbols(marked.boot.image)):
                print(f"{count:6} {function}")
    return list(rows.values())


def read_budget() -> dict[str, dict[str, list[str]]]:
    """The cells of each row of each set."""
    sets: dict[str, dict[str, list[str]]] = {}
    for line in BUDGET.read_text().splitlines():
        fields = line.split("#")[0].split()
        if fields:
            sets.setdefault(fields[0], {})[fields[1]] = fields[2:]
    return sets


def compiler(image: pathlib.Path = Boot.image) -> str:
    """Returns the name of the compiler that made the image, such as `gcc 12`."""
    found = PRODUCER.search(image.read_bytes())
    return f"gcc {found[1].decode()}" if found else "a compiler other than gcc"


def budget_compiler() -> str:
    """Returns the name of the compiler for whose code the budget holds."""
    if not (found := COMPILER.search(BUDGET.read_text())):
        raise HarnessError(f"{BUDGET.name}: no line `# compiler: gcc N`")
    return found[1]


def limit() -> float:
    return LIMIT if compiler() == budget_compiler() else OTHER_LIMIT


def exceeds(old: float, new: float, what: str, limit: float) -> bool:
    if what in trace.CYCLES:
        return new > old * (OTHER_COUNTS if limit >= OTHER_LIMIT else 1) + ROUNDING
    return old > new * limit if what in MORE_IS_BETTER else new > old * limit


def over_budget(row: Row, budget: list[str] | None, limit: float = LIMIT) -> list[str]:
    """Messages that say what exceeds the budget, and what to do about it."""
    advice = ("Find the cause (tools/bench.py --profile) and take it off the path. If it has to "
              "be there, `tools/bench.py --update` makes it the budget, and the commit says why.")
    if budget is None:
        return [f"{row.name} has no budget. {advice}"]
    if row.name in SCROLLING:
        limit = max(limit, SCROLLING_LIMIT)
    names = COLUMNS if row.unit == "ticks" else [row.unit]
    return [
        f"{row.name}: {new} {what}, its budget is {old}. {advice}"
        for what, old, new in zip(names, budget, row.cells, strict=True)
        if exceeds(float(old), float(new), what, limit)
    ]


def update(sets: dict[str, list[Row]]) -> None:
    text = COMPILER.sub(f"# compiler: {compiler()}", BUDGET.read_text())
    lines = [line for line in text.splitlines() if line.startswith("#")]
    cells = read_budget() | {name: {row.name: row.cells for row in rows}
                             for name, rows in sets.items()}  # fmt: skip
    for name in SETS:
        lines += [""] + [f"{name:12} {row:28} " + " ".join(f"{cell:>7}" for cell in numbers)
                         for row, numbers in cells.get(name, {}).items()]  # fmt: skip
    BUDGET.write_text("\n".join(lines) + "\n")
    text = document(DOCUMENT.read_text(), cells)
    spent = {(name, row.name): row.stages for name, rows in sets.items() for row in rows}
    before = stages.read(text.split("<!-- stages:")[1])
    table = []
    for match, key in shown(text, cells):
        title = match[0].split("|")[1].replace("`", "").strip()
        if numbers := spent.get(key, before.get(title)):
            table.append((title, numbers))
    text = fill(text, "stages", stages.table(table))
    DOCUMENT.write_text(text)
    subprocess.run([sys.executable, ROOT / "tools/compare.py", "--table"], check=False)


# A row of a table; a set that is not the first one with such a row is named in brackets.
TABLE_ROW = re.compile(r"^\| `(\w+)`(?: \(`([\w=]+)`\))? \|([^|\n]*)\|((?:[^|\n]*\|)+)$", re.M)

Cells = dict[str, dict[str, list[str]]]  # by set and row


def shown(text: str, sets: Cells) -> Iterator[tuple[re.Match[str], tuple[str, str]]]:
    """Yields the rows that the document's tables show, each with its set."""
    for match in TABLE_ROW.finditer(text):
        row, word = match[1], match[2]
        for name, rows in sets.items():
            if row in rows and (not word or name.endswith(f",{word}")):
                yield match, (name, row)
                break


def document(text: str, sets: Cells) -> str:
    """Returns the document with the numbers of the budget in its tables. The cells after the label
    are replaced, as many as the budget has for the row; any others stay."""
    for match, (name, row) in reversed(list(shown(text, sets))):
        _, head, what, *cells, _ = match[0].split("|")
        cells[: len(sets[name][row])] = [f" {cell} " for cell in sets[name][row]]
        line = "|".join(["", head, what, *cells, ""])
        text = text[: match.start()] + line + text[match.end() :]
    return text


def fill(text: str, name: str, section: str) -> str:
    """Returns the document with `section` between the marks called `name`."""
    begin, end = (f"<!-- {name}: {word} -->" for word in ("written by make bench", "end"))
    if begin not in text or end not in text:
        raise HarnessError(f"{DOCUMENT.name}: no line \"{begin}\" followed by \"{end}\"")
    head, rest = text.split(begin, 1)
    return f"{head}{begin}\n\n{section}\n\n{end}{rest.split(end, 1)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", metavar="ROW", default="")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    arguments = parser.parse_args()
    if arguments.update:
        os.environ["BOCHS"] = BOCHS
        if arguments.sets and compiler() != budget_compiler():
            raise HarnessError(f"the budget was measured with {budget_compiler()}, and this image "
                               f"is compiled by {compiler()}; update all sets at once")  # fmt: skip
    found = {}
    for name in arguments.sets or SETS:
        if name not in SETS:
            raise HarnessError(f"{name}: the sets are {' '.join(SETS)}")
        program, cmdline, words = SETS[name]
        line = f", command line \"{cmdline}\"" if cmdline else ""
        print(" ".join(["#", program, *words]) + line)
        folder = os.environ.get("NAME") or "bench"
        found[name] = measure(name, arguments.profile, folder)
        for row in found[name]:
            print(row)
    if arguments.update:
        update(found)
    return 0


if __name__ == "__main__":
    run_tool("bench", main)
