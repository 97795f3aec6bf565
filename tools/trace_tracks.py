# SPDX-License-Identifier: MIT
"""A recording as tracks of time, for pictures of it: what each vCPU did one after the other, whose
turn it was on each pCPU, and which event was the answer to which (tools/harness/events.py reads
recordings)."""

import dataclasses
from collections.abc import Iterator

from harness import events
from harness.events import Record, Recording

PCPUS = 1000  # the process of the pCPUs; those of the VMs have the VMs' numbers

Args = dict[str, int | str]


def track_of(record: Record) -> tuple[int, int]:
    """The process and the thread on whose track a record is shown."""
    return (record.vm, record.vcpu + 1) if record.vm else (PCPUS, record.cpu + 1)


@dataclasses.dataclass
class Slice:
    """The handling of an exit, time in the guest, or an event until the next one."""

    name: str
    begin: int
    end: int
    record: Record
    inside: list["Slice"] = dataclasses.field(default_factory=list)

    def args(self) -> Args:
        return {} if self.record.name == "turn" else self.record.args()


OUTER = ("exit", "entry", "turn")


def _outer_name(record: Record) -> str:
    if record.name == "exit":
        return events.reason_name(record["reason"])
    if record.name == "entry":
        return "halted" if record["halted"] else "guest"
    return "begin turn" if record["on"] else ""


class Track:
    """The slices of one vCPU, from its records in their order. What happened outside of an exit
    that is known has no end that is known."""

    def __init__(self) -> None:
        self.slices: list[Slice] = []
        self.outer: Slice | None = None
        self.inner: Slice | None = None
        self.last = 0

    def close(self, now: int) -> None:
        for slice_ in (self.outer, self.inner if self.outer else None):
            if slice_:
                slice_.end = max(now, slice_.begin)
        self.outer = self.inner = None

    def add(self, record: Record) -> None:
        now, self.last = record.tsc, record.tsc
        if record.name in OUTER:
            self.close(now)
            name = _outer_name(record)
            if name:
                self.outer = Slice(name, now, now, record)
                self.slices.append(self.outer)
            return
        if self.inner and self.outer:
            self.inner.end = now
        self.inner = Slice(record.name, now, now, record)
        (self.outer.inside if self.outer else self.slices).append(self.inner)


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


def turns(recording: Recording) -> Iterator[tuple[Record, int]]:
    """The turns of vCPUs on pCPUs: the record with which each began, and its end. A turn during
    which events of the pCPU are missing is left out."""
    after_gap = {(cpu, tsc) for cpu, _, tsc in recording.gaps}
    begun: dict[int, Record] = {}
    for record in recording.records:
        if (record.cpu, record.tsc) in after_gap:
            begun.pop(record.cpu, None)
        if record.name == "turn" and record["on"]:
            begun[record.cpu] = record
        elif record.name == "turn" and record.cpu in begun:
            yield begun.pop(record.cpu), record.tsc


@dataclasses.dataclass
class Timeline:
    tracks: dict[tuple[int, int], Track] = dataclasses.field(default_factory=dict)
    flows: Flows = dataclasses.field(default_factory=Flows)


def timeline(recording: Recording) -> Timeline:
    """All tracks, and the arrows between them. Where events are missing, everything ends."""
    found = Timeline()
    gaps = sorted(gap[2] for gap in recording.gaps)
    for record in recording.records:
        while gaps and gaps[0] <= record.tsc:
            gaps.pop(0)
            for track in found.tracks.values():
                track.close(track.last)
            found.flows.forget()
        found.tracks.setdefault(track_of(record), Track()).add(record)
        found.flows.add(record)
    for track in found.tracks.values():
        track.close(track.last)
    return found
