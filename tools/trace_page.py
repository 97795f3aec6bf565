#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes a page of the trace of a run: when each vCPU exited and why, what the exits cost by cause,
and which addresses met faults and devices: `make trace`, docs/TRACE.md.

    tools/trace_page.py OUTPUT-OF-THE-EMULATOR PAGE.html
"""

import argparse
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape

import map_read
import page as framework
import trace_causes
import trace_tracks
from harness import events
from harness.errors import run_tool
from harness.events import Recording
from trace_tracks import PCPUS, Slice

# What a page holds at most, so that it opens and answers at once: slices of all tracks, touched
# addresses, and events whose values are shown.
SLICES, TOUCHES, DETAILS = 200_000, 100_000, 20_000

# ---- Data ----------------------------------------------------------------------------------------

# A slice on the page: begin and duration in ticks, number of its cause, how many it stands for.
Row = tuple[int, int, int, int]


class Places:
    """Names of guest-physical addresses: of devices and slots, if the run has pictures of memory
    (map=1), else of pages."""

    def __init__(self, pictures: Iterable[map_read.Picture]) -> None:
        self.regions: dict[int, dict[tuple[int, int], str]] = {}
        self.slots: dict[int, dict[tuple[int, int], str]] = {}
        for picture in pictures:
            regions = self.regions.setdefault(picture.vm, {})
            regions |= {(r.first, r.last): r.name for r in picture.regions}
            slots = self.slots.setdefault(picture.vm, {})
            for s in picture.slots:
                slots[s.base << 12, (s.base + s.pages << 12) - 1] = f"slot {s.id}"

    def device(self, vm: int, gpa: int) -> str:
        for (first, last), name in self.regions.get(vm, {}).items():
            if first <= gpa <= last:
                return name
        return f"{gpa & ~0xFFF:#x}"

    def of(self, vm: int) -> list[tuple[int, int, str]]:
        both = {**self.slots.get(vm, {}), **self.regions.get(vm, {})}
        return [(first, last, name) for (first, last), name in sorted(both.items())]


def merged(rows: Iterable[Row], shortest: int) -> Iterator[Row]:
    """Slices that are shorter than this are put together if they begin in the same part of time of
    this length: one for each cause, beside each other. The time and the number of each cause stay
    what they are; the order within the part is lost."""
    part, first = -1, 0
    sums: dict[int, list[int]] = {}

    def flush() -> Iterator[Row]:
        at = first
        for cause, (ticks, count) in sums.items():
            yield at, ticks, cause, count
            at += ticks
        sums.clear()

    for begin, ticks, cause, count in rows:
        if sums and (ticks >= shortest or begin // shortest != part):
            yield from flush()
        if ticks >= shortest:
            yield begin, ticks, cause, count
            continue
        if not sums:
            part, first = begin // shortest, begin
        total = sums.setdefault(cause, [0, 0])
        total[0] += ticks
        total[1] += count
    yield from flush()


def fitted(tracks: list[list[Row]], most: int) -> tuple[list[list[Row]], int]:
    """The tracks with at most so many slices in all, and below which length they are merged."""
    shortest = 0
    while sum(len(rows) for rows in tracks) > most:
        shortest = shortest * 2 or 64
        tracks = [list(merged(rows, shortest)) for rows in tracks]
    return tracks, shortest


def fitted_touches(touched: Counter, most: int, end: int) -> Counter:
    """At most so many (time, VM, page, kind): first of coarser times, then of coarser pages."""
    ticks, frames = 1, 1
    while len(touched) > most and (ticks < end or frames < 1 << 27):
        ticks, frames = (ticks * 4, frames) if ticks < end // 256 else (ticks, frames * 8)
        coarse: Counter = Counter()
        for (time, vm, frame, kind), count in touched.items():
            coarse[time - time % ticks, vm, frame - frame % frames, kind] += count
        touched = coarse
    return touched


def lines_of(slice_: Slice) -> str:
    """The values of a slice, and of each event inside with its distance in ticks."""

    def values(s: Slice) -> str:
        return " ".join(f"{name}={value}" for name, value in s.args().items())

    inside = [f"+{s.begin - slice_.begin} {s.name} {values(s)}" for s in slice_.inside]
    return "\n".join([values(slice_), *inside])


class Causes:
    """Numbers for causes."""

    def __init__(self) -> None:
        self.numbers: dict[trace_causes.Cause, int] = {}

    def number(self, cause: trace_causes.Cause) -> int:
        return self.numbers.setdefault(cause, len(self.numbers))

    def table(self) -> list[list[object]]:
        return [[trace_causes.GROUPS.index(group), *rest] for group, *rest in self.numbers]


def turn_rows(recording: Recording, causes: Causes) -> dict[tuple[int, int], list[Row]]:
    found: dict[tuple[int, int], list[Row]] = {}
    for begun, end in trace_tracks.turns(recording):
        name = f"{recording.vms.get(begun.vm, '?')}/{begun.vcpu}"
        row = begun.tsc, end - begun.tsc, causes.number(("turn", name, "", "")), 1
        found.setdefault((PCPUS, begun.cpu + 1), []).append(row)
    return found


def data_of(recording: Recording, pictures: Iterable[map_read.Picture]) -> dict[str, object]:
    places, causes = Places(pictures), Causes()
    shown = trace_tracks.timeline(recording)
    start = recording.records[0].tsc if recording.records else 0
    end = max((r.tsc for r in recording.records), default=0) - start
    kicks = {id(to): sent.cpu for sent, to in shown.flows.found if sent.name == "kick"}
    slices = {
        where: [s for s in track.slices if s.record.name in trace_tracks.OUTER]
        for where, track in shown.tracks.items() if where[0] != PCPUS
    }  # fmt: skip
    rows = {
        where: [
            (s.begin, s.end - s.begin,
             causes.number(trace_causes.cause(s, places.device, kicks.get(id(s.record)))), 1)
            for s in of
        ]
        for where, of in slices.items()
    }  # fmt: skip
    detailed = len(recording.records) <= DETAILS
    details = [[lines_of(s) for s in slices[where]] for where in sorted(rows)] if detailed else None
    rows |= turn_rows(recording, causes)
    order = sorted(rows)
    tracks, shortest = fitted([rows[where] for where in order], SLICES)
    touched: Counter = Counter()
    for r in recording.records:
        for kind, frame, _ in trace_causes.touches(r):
            touched[r.tsc - start, r.vm, frame, kind] += 1
    touched = fitted_touches(touched, TOUCHES, end)
    return {
        "khz": recording.tsc_khz,
        "end": end,
        "events": len(recording.records),
        "gaps": [(cpu, missing, tsc - start) for cpu, missing, tsc in recording.gaps],
        "merged": shortest,
        "groups": trace_causes.GROUPS,
        "causes": causes.table(),
        "vms": [[n, name] for n, name in sorted(recording.vms.items())],
        "tracks": [
            {"vm": vm if vm != PCPUS else 0, "number": thread - 1,
             "slices": [v for b, t, c, n in of for v in (b - start, t, c, n)]}
            for (vm, thread), of in zip(order, tracks, strict=True)
        ],
        "details": details if not shortest else None,
        "touched": [v for key in sorted(touched) for v in (*key, touched[key])],
        "places": {vm: places.of(vm) for vm in recording.vms},
    }  # fmt: skip


# ---- HTML ----------------------------------------------------------------------------------------

# By group: its colour in the light and in the dark, and that of texts on it. The colours of Okabe
# and Ito, which people with any kind of colour vision tell apart, and for the dark lighter ones.
COLOURS = {
    "guest": (("#dfe5ee", "#2b3340"), ("#3a4558", "#b9c4d6")),
    "halted": (("#f3f5f8", "#1d222b"), ("#5d687b", "#98a4b8")),
    "EPT violation": (("#0072b2", "#4aa8e0"), ("#ffffff", "#081018")),
    "EPT misconfiguration": (("#e69f00", "#f2b632"), ("#201600", "#201600")),
    "call": (("#cc79a7", "#dd95bd"), ("#240b18", "#240b18")),
    "instruction": (("#009e73", "#2fc79c"), ("#04150f", "#04150f")),
    "port": (("#d55e00", "#f2803a"), ("#1d0b00", "#1d0b00")),
    "interrupt": (("#56b4e9", "#8fd0f5"), ("#04141f", "#04141f")),
    "wait": (("#8b93a1", "#858fa0"), ("#0c1016", "#0c1016")),
    "other": (("#3b4252", "#dfe4ec"), ("#ffffff", "#101318")),
    "turn": (("#c5cedd", "#3d4758"), ("#27303f", "#d3dae6")),
}
# Of the heat map, from few to many, for all kinds together and for each.
HEAT = {
    "all": (("#d8dbe6", "#2a3040"), ("#aeb4ca", "#4a5470"), ("#7f88a8", "#7681a3"),
            ("#515b80", "#a9b3d0"), ("#262e50", "#e3e9fa")),
    "faults": (("#cfe3f1", "#15304a"), ("#92c2e2", "#1f5680"), ("#4f9ccd", "#2f80ba"),
               ("#0072b2", "#5cb2e6"), ("#00436a", "#c2e5fb")),
    "MMIO": (("#faecc8", "#3d2e0c"), ("#f4d281", "#6b5014"), ("#eab23a", "#a67a16"),
             ("#b97f00", "#e0ab34"), ("#6e4b00", "#fbe2a4")),
    "writes": (("#cdebe0", "#0e3529"), ("#8dd3bb", "#125c46"), ("#3db48f", "#1c8c6b"),
               ("#00805d", "#3fc49d"), ("#004b36", "#b6f0dd")),
}  # fmt: skip


def style() -> str:
    pairs = dict(framework.SURFACES)
    rules = []
    for n, group in enumerate(trace_causes.GROUPS):
        pairs[f"k{n}"], pairs[f"on{n}"] = COLOURS[group]
        rules.append(f".k{n}{{fill:var(--k{n})}}.sw.k{n}{{background:var(--k{n})}}"
                     f".on{n}{{fill:var(--on{n})}}")  # fmt: skip
    for n, steps in enumerate(HEAT.values()):
        for step, pair in enumerate(steps):
            pairs[f"h{n}{step}"] = pair
            rules.append(f".h{n}{step}{{fill:var(--h{n}{step})}}"
                         f".sw.h{n}{step}{{background:var(--h{n}{step})}}")  # fmt: skip
    return framework.variables(pairs) + "".join(rules)


KEYS = (
    ("← →", "in the timeline: the slice before and after; in the others: a cell, a neighbour"),
    ("↑ ↓", "another track; another row; the cause or a part of it"),
    ("Enter +", "zoom in on what the cursor is at"),
    ("Escape -", "zoom out"),
    ("Page Up, Page Down", "in the timeline: the part of time before and after"),
    ("Home, End", "the first and the last slice"),
    ("n, N", "the next and the previous exit of the same cause"),
    ("w", "cost by time or by number"),
    ("/", "search for a cause, an address or a time"),
)
HELP = """<p>Above a track's ground, which is time in the guest, stand the exits in the colours of
their reasons. Where many slices share a column, the column shows their shares of its time. Drag in
the timeline to zoom, or turn the wheel with Ctrl; the costs and the addresses below are those of
the part of time that it shows.</p>"""


def warnings(data: dict) -> Iterator[str]:
    missing = sum(gap[1] for gap in data["gaps"])
    if missing:
        yield (f'<p class="warning" role="alert">{missing} events are missing. What was open on '
               "the tracks ends there; the dashed lines show where.</p>")  # fmt: skip
    if data["merged"]:
        us = data["merged"] * 1000 / data["khz"]
        yield (f'<p class="warning">This is a long trace, of {data["events"]} events: slices of '
               f"less than {us:g} µs are put together by cause. Times and numbers stay exact."
               "</p>")  # fmt: skip


def page(data: dict) -> str:
    choices = ['<option value="0">All VMs and CPUs</option>']
    choices += [f'<option value="{n}">VM {n}: {escape(name)}</option>' for n, name in data["vms"]]
    parts = {
        "TITLE": "a trace",
        "STYLE": style() + framework.read("page.css", "trace_page.css"),
        "DEFS": "",
        "HEADING": "A trace of a run",
        "CHOICE": "The VM that is shown",
        "VMS": "".join(choices),
        "SOUGHT": "A cause, an address or a time",
        "EXAMPLES": "CPUID, 0xfe000000, 12.5 ms",
        "WARNINGS": "".join(warnings(data)),
        "HELP": HELP,
        "SCRIPT": framework.read("page.js", "trace_time.js", "trace_cost.js", "trace_heat.js",
                                 "trace_page.js"),
    }  # fmt: skip
    return framework.page(framework.read("trace_page.html"), data, KEYS, parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path, help="what the emulator has written")
    parser.add_argument("page", type=pathlib.Path, help="the file to write")
    opt = parser.parse_args()
    stream = opt.output.read_bytes()
    data = data_of(events.read(stream), map_read.read(stream))
    opt.page.parent.mkdir(parents=True, exist_ok=True)
    opt.page.write_text(page(data))
    print(f"{opt.page}: the same as a page; open it in a browser: file://{opt.page.resolve()}")
    return 0


if __name__ == "__main__":
    run_tool("trace_page", main)
