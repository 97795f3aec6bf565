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

from harness import events
from harness.errors import run_tool
from harness.events import Record, Recording

PCPUS = 1000  # the process of the pCPUs; those of the VMs have the VMs' numbers

Slice = dict[str, object]
Args = dict[str, int | str]


def _track(record: Record) -> tuple[int, int]:
    """The process and the thread on whose track a record is shown."""
    return (record.vm, record.vcpu + 1) if record.vm else (PCPUS, record.cpu + 1)


class Track:
    """The slices of one vCPU, from its records in their order."""

    def __init__(self, where: tuple[int, int]) -> None:
        self.where = where
        self.slices: list[tuple[str, int, int, Args]] = []
        self.outer: tuple[str, int, Args] | None = None
        self.inner: tuple[str, int, Args] | None = None
        self.last = 0

    def _add(self, what: tuple[str, int, Args] | None, end: int) -> None:
        if what:
            self.slices.append((what[0], what[1], max(end, what[1]), what[2]))

    def close(self, now: int) -> None:
        self._add(self.outer, now)
        # What happened outside of an exit that is known has no end that is known.
        self._add(self.inner, now if self.outer else self.inner[1] if self.inner else now)
        self.outer = self.inner = None

    def add(self, record: Record) -> None:
        now, self.last = record.tsc, record.tsc
        if record.name in ("exit", "entry", "turn"):
            self.close(now)
        else:
            self._add(self.inner, now if self.outer else self.inner[1] if self.inner else now)
            self.inner = (record.name, now, record.args())
        if record.name == "exit":
            reason = record["reason"]
            self.outer = (events.reason_name(reason), now, record.args())
        elif record.name == "entry":
            self.outer = ("halted" if record["halted"] else "guest", now, record.args())
        elif record.name == "turn" and record["on"]:
            self.outer = ("begin turn", now, {})


class Flows:
    """Arrows: each begins at a record, and ends at the first later one that answers it."""

    def __init__(self) -> None:
        self.open: dict[tuple[object, ...], list[Record]] = {}
        self.found: list[tuple[Record, Record]] = []

    def forget(self) -> None:
        """Events are missing, and the answers may be among them."""
        self.open.clear()

    def add(self, record: Record) -> None:
        for question in self._answers(record):
            self.found += [(sent, record) for sent in self.open.pop(question, ())]
        question = self._asks(record)
        if question:
            self.open.setdefault(question, []).append(record)

    @staticmethod
    def _asks(record: Record) -> tuple[object, ...] | None:
        """What a record waits for; records that wait for the same have the same answer."""
        if record.name in ("kick", "remote_flush"):
            return record.name, record["cpu"]
        if record.name == "apic_accept_irq":
            return "accepted", record.vm, record.vcpu, record["vector"]
        if record.name != "apic_ipi":
            return None
        mode = events.shown("l", record["mode"])
        sent = record["vector"] if mode in ("fixed", "lowest") else mode
        return "sent", record.vm, record["dest"], sent

    @staticmethod
    def _answers(record: Record) -> list[tuple[object, ...]]:
        vcpu = record.vm, record.vcpu
        if record.name == "exit":
            return [("kick", record.cpu)]
        if record.name == "turn" and record["on"]:
            return [("kick", record.cpu), ("sent", *vcpu, "start-up")]
        if record.name == "invept":
            return [("remote_flush", record.cpu)]
        if record.name == "apic_accept_irq":
            return [("sent", *vcpu, record["vector"])]
        if record.name == "inj_virq":
            nmi = events.shown("t", record["type"]) == "NMI"
            return [("sent", *vcpu, "NMI") if nmi else ("accepted", *vcpu, record["vector"])]
        return []


def _turns(recording: Recording) -> Iterator[tuple[int, str, int, int]]:
    """The turns of vCPUs on each pCPU: the pCPU, whose turn, and its begin and end. A turn during
    which events of the pCPU are missing is left out."""
    after_gap = {(cpu, tsc) for cpu, _, tsc in recording.gaps}
    begun: dict[int, Record] = {}
    for record in recording.records:
        if (record.cpu, record.tsc) in after_gap:
            begun.pop(record.cpu, None)
        if record.name == "turn" and record["on"]:
            begun[record.cpu] = record
        elif record.name == "turn" and record.cpu in begun:
            start = begun.pop(record.cpu)
            yield record.cpu, f"VM {start.vm} vCPU {start.vcpu}", start.tsc, record.tsc


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

    tracks: dict[tuple[int, int], Track] = {}
    flows = Flows()
    gaps = sorted(recording.gaps, key=lambda gap: gap[2])
    out: list[Slice] = []
    for record in recording.records:
        while gaps and gaps[0][2] <= record.tsc:
            cpu, missing, tsc = gaps.pop(0)
            out.append(piece("i", (PCPUS, cpu + 1), f"{missing} events are missing", tsc, s="p"))
            for track in tracks.values():
                track.close(track.last)
            flows.forget()
        where = _track(record)
        tracks.setdefault(where, Track(where)).add(record)
        flows.add(record)
    for track in tracks.values():
        track.close(track.last)
        for name, begin, end, args in track.slices:
            out.append(whole(track.where, name, begin, end, args))
    for cpu, whose, begin, end in _turns(recording):
        where = (PCPUS, cpu + 1)
        tracks.setdefault(where, Track(where))
        out.append(whole(where, whose, begin, end, {}))
    # Of slices that begin together, the outer one comes first.
    out.sort(key=lambda piece: (piece["ts"], -piece.get("dur", 0)))  # type: ignore
    for number, (sent, answer) in enumerate(flows.found):
        name = sent.name
        out.append(piece("s", _track(sent), name, sent.tsc, cat=name, id=number))
        out.append(piece("f", _track(answer), name, answer.tsc, cat=name, id=number, bp="e"))
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
