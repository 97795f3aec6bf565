#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Turns the trace events that the image has exported into a file for Perfetto or chrome://tracing:
tools/perfetto.py OUTPUT-OF-THE-EMULATOR FILE.json. Without the second file it prints the events.

Each VM is a process with a track for each vCPU; the pCPUs are a process of their own. On a vCPU's
track the time in the guest and the handling of each exit alternate, and what happened during an
exit is inside of it. Arrows lead from what a CPU has sent to its effect on another one.
"""

import argparse
import json
import pathlib
from collections.abc import Iterable, Iterator

import trace_tracks
from harness import events
from harness.errors import run_tool
from harness.events import Recording
from trace_tracks import PCPUS, Args, track_of

Slice = dict[str, object]


def convert(recording: Recording) -> dict[str, object]:
    """The trace in Chrome's format."""
    start = recording.records[0].tsc if recording.records else 0

    def ns(tsc: int) -> int:
        return (tsc - start) * 1_000_000 // recording.tsc_khz

    def piece(phase: str, where: tuple[int, int], name: str, tsc: int, **more: object) -> Slice:
        """The format's unit is a microsecond."""
        ts = ns(tsc) / 1000
        return {"ph": phase, "pid": where[0], "tid": where[1], "name": name, "ts": ts} | more

    def whole(where: tuple[int, int], name: str, begin: int, end: int, args: Args) -> Slice:
        return piece("X", where, name, begin, dur=(ns(end) - ns(begin)) / 1000, args=args)

    shown = trace_tracks.timeline(recording)
    out = [
        piece("i", (PCPUS, cpu + 1), f"{missing} events are missing", tsc, s="p")
        for cpu, missing, tsc in recording.gaps
    ]
    tracks = set(shown.tracks)
    for where, track in shown.tracks.items():
        for outer in track.slices:
            for s in (outer, *outer.inside):
                out.append(whole(where, s.name, s.begin, s.end, s.args()))
    for begun, end in trace_tracks.turns(recording):
        where = (PCPUS, begun.cpu + 1)
        tracks.add(where)
        out.append(whole(where, f"VM {begun.vm} vCPU {begun.vcpu}", begun.tsc, end, {}))
    # Of slices that begin together, the outer one comes first.
    out.sort(key=lambda piece: (piece["ts"], -piece.get("dur", 0)))  # type: ignore
    for number, (sent, answer) in enumerate(shown.flows.found):
        name = sent.name
        out.append(piece("s", track_of(sent), name, sent.tsc, cat=name, id=number))
        out.append(piece("f", track_of(answer), name, answer.tsc, cat=name, id=number, bp="e"))
    return {"displayTimeUnit": "ns", "traceEvents": _names(recording, tracks) + out}


def _names(recording: Recording, tracks: Iterable[tuple[int, int]]) -> list[Slice]:
    """The names of the processes and threads, VMs first."""
    out: list[Slice] = []
    for process, thread in sorted(tracks):
        vm = recording.vms.get(process, "?")
        whole = "pCPUs" if process == PCPUS else f"VM {process} {vm}"
        name = f"{'pCPU' if process == PCPUS else 'vCPU'} {thread - 1}"
        for what, text in (("process_name", whole), ("thread_name", name)):
            out.append({"ph": "M", "pid": process, "tid": thread, "name": what,
                        "args": {"name": text}})  # fmt: skip
    return out


def text(recording: Recording) -> Iterator[str]:
    """A line for each event: the microseconds since the first one, the pCPU, and whose it is."""
    for record in recording.records:
        us = (record.tsc - recording.records[0].tsc) * 1000 / recording.tsc_khz
        whose = f"{recording.vms.get(record.vm, '?')}/{record.vcpu}" if record.vm else "-"
        values = " ".join(f"{name}={value}" for name, value in record.args().items())
        yield f"{us:>12.1f} {record.cpu:>2} {whose:<12} {record.name:<22} {values}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path, help="what the emulator has written")
    parser.add_argument("json", type=pathlib.Path, nargs="?", help="the file to write")
    opt = parser.parse_args()
    recording = events.read(opt.output.read_bytes())
    if not opt.json:
        print(*text(recording), sep="\n")
        return 0
    opt.json.parent.mkdir(parents=True, exist_ok=True)
    opt.json.write_text(json.dumps(convert(recording)))
    missing = sum(gap[1] for gap in recording.gaps)
    print(f"{opt.json}: {len(recording.records)} events, {missing} missing; open it in "
          "ui.perfetto.dev, which does not upload it, or in chrome://tracing")  # fmt: skip
    return 0


if __name__ == "__main__":
    run_tool("perfetto", main)
