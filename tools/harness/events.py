# SPDX-License-Identifier: MIT
"""The trace events that the image has exported (lib/trace_export.h), and what it says of itself."""

import dataclasses
import struct

from . import frames
from .errors import HarnessError

BATCH = struct.Struct("<QHHI")
RECORD = struct.Struct("<QBBHHH")
NO_ADDRESS = (1 << 64) - 1


# The exit reasons by KVM's names (VMX_EXIT_REASONS in Linux' uapi/asm/vmx.h).
REASONS = (
    "EXCEPTION_NMI EXTERNAL_INTERRUPT TRIPLE_FAULT INIT_SIGNAL SIPI_SIGNAL REASON_5 OTHER_SMI "
    "INTERRUPT_WINDOW NMI_WINDOW TASK_SWITCH CPUID GETSEC HLT INVD INVLPG RDPMC RDTSC RSM VMCALL "
    "VMCLEAR VMLAUNCH VMPTRLD VMPTRST VMREAD VMRESUME VMWRITE VMOFF VMON CR_ACCESS DR_ACCESS "
    "IO_INSTRUCTION MSR_READ MSR_WRITE INVALID_STATE MSR_LOAD_FAIL REASON_35 MWAIT_INSTRUCTION "
    "MONITOR_TRAP_FLAG REASON_38 MONITOR_INSTRUCTION PAUSE_INSTRUCTION MCE_DURING_VMENTRY "
    "REASON_42 TPR_BELOW_THRESHOLD APIC_ACCESS EOI_INDUCED GDTR_IDTR LDTR_TR EPT_VIOLATION "
    "EPT_MISCONFIG INVEPT RDTSCP PREEMPTION_TIMER INVVPID WBINVD XSETBV APIC_WRITE RDRAND INVPCID "
    "VMFUNC ENCLS RDSEED PML_FULL XSAVES XRSTORS"
).split()  # fmt: skip


def reason_name(number: int) -> str:
    return REASONS[number] if number < len(REASONS) else f"REASON_{number:#x}"


@dataclasses.dataclass(frozen=True)
class Event:
    name: str
    values: tuple[tuple[str, str], ...]  # the name and the format of each, as in lib/trace_events.h
    flushes: tuple[str, ...] = ()  # why flushes are owed, from bit 1 on


@dataclasses.dataclass(frozen=True)
class Record:
    tsc: int
    cpu: int
    vm: int  # 0: none
    vcpu: int
    event: Event
    raw: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.event.name

    def __getitem__(self, name: str) -> int:
        return self.raw[[value for value, _ in self.event.values].index(name)]

    def args(self) -> dict[str, int | str]:
        """The values as they are shown."""
        named = zip(self.event.values, self.raw, strict=True)
        found = {name: shown(form, value, self.event.flushes) for (name, form), value in named}
        return found | {"reason": reason_name(self["reason"])} if self.name == "exit" else found


@dataclasses.dataclass
class Recording:
    tsc_khz: int = 0
    vms: dict[int, str] = dataclasses.field(default_factory=dict)
    flushes: list[str] = dataclasses.field(default_factory=list)
    table: dict[int, Event] = dataclasses.field(default_factory=dict)
    records: list[Record] = dataclasses.field(default_factory=list)  # ordered by time
    # The pCPU, how many of its records are missing, and the TSC of the first one after them.
    gaps: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)


def _letters(names: str, value: int, clear: str = "") -> str:
    return "".join(name if value >> i & 1 else clear for i, name in enumerate(names))


def _choice(names: str, value: int) -> str:
    found = names.split()
    return found[value] if value < len(found) else "?"


CHOICES = {
    "f": "continue retry emulate write-protected invalid fixed spurious #VE",
    "m": "unsatisfied-read read write",
    "i": "debt root-load",
    "t": "interrupt ? NMI exception INT INT1 INT3",
    "l": "fixed lowest SMI ? NMI INIT start-up ExtINT",
}
SPTES = {1 << 63: "nonpresent", 1 << 63 | 0x5A0: "frozen"}


def shown(form: str, value: int, flushes: tuple[str, ...] = ()) -> int | str:
    """A value as lib/trace_events.c prints it; numbers stay numbers."""
    if form == "d":
        return ",".join(name for i, name in enumerate(flushes) if value >> i + 1 & 1) or "-"
    if form == "u":
        return value
    if form == "f" and value >> 63:
        return value - (1 << 64)
    if form in CHOICES:
        return _choice(CHOICES[form], value)
    if form == "a":
        return _letters("rwx", value, "-")
    if form == "e":
        return _letters("rwxpfR", value)
    if form == "s" and value in SPTES:
        return SPTES[value]
    if form == "o" and value == NO_ADDRESS:
        return "-"
    return hex(value)


def _describe(recording: Recording, line: str) -> None:
    what, _, rest = line.partition(" ")
    if what == "tsc_khz":
        recording.tsc_khz = int(rest)
    elif what == "vm":
        number, name = rest.split(" ", 1)
        recording.vms[int(number)] = name
    elif what == "event":
        number, name, *values = rest.split()
        pairs = tuple((value.split(":")[0], value.split(":")[1]) for value in values)
        recording.table[int(number)] = Event(name, pairs, tuple(recording.flushes))
    elif what == "flush":
        recording.flushes.append(rest)


def _unpack(recording: Recording, data: bytes, seen: dict[int, int]) -> None:
    """Adds the records of a batch. `seen` is the number of each pCPU's next record."""
    first, cpu, count, _ = BATCH.unpack_from(data)
    at = BATCH.size
    for i in range(count):
        tsc, event, values, on, vm, vcpu = RECORD.unpack_from(data, at)
        raw = struct.unpack_from(f"<{values}Q", data, at + RECORD.size)
        at += RECORD.size + 8 * values
        if event not in recording.table:
            raise HarnessError(f"event {event} has no name: the beginning of the export is missing")
        recording.records.append(Record(tsc, on, vm, vcpu, recording.table[event], raw))
        if i == 0 and first != seen.get(cpu, 0):
            recording.gaps.append((cpu, first - seen.get(cpu, 0), tsc))
    seen[cpu] = first + count


def read(stream: bytes) -> Recording:
    """Reads what an emulator's output holds. Raises HarnessError if no events are in it."""
    recording, seen = Recording(), dict[int, int]()
    for frame in frames.frames(stream):
        if frame.kind == frames.TEXT:
            _describe(recording, frame.data.decode())
        elif frame.kind == frames.EVENTS:
            _unpack(recording, frame.data, seen)
    if not recording.table or not recording.tsc_khz:
        raise HarnessError("no events were exported; boot with export=e9 and, say, trace=all")
    recording.records.sort(key=lambda record: record.tsc)
    return recording
