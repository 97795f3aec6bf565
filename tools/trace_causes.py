# SPDX-License-Identifier: MIT
"""What an exit was about, in words: its group (a colour), its reason, what it led to, and a detail,
such as EPT_MISCONFIG, "device written", "testdev". And what an event says about guest-physical
addresses: a fault, an MMIO, or that a page was written while a log was kept."""

from collections.abc import Callable, Iterator

from harness.events import Record
from trace_tracks import Slice

# The groups, in the order of the legend. What is not listed is "other".
GROUPS = (
    "guest", "halted", "EPT violation", "EPT misconfiguration", "call", "instruction",
    "port", "interrupt", "wait", "other", "turn",
)  # fmt: skip
_REASONS = {
    "EPT violation": "EPT_VIOLATION PML_FULL",
    "EPT misconfiguration": "EPT_MISCONFIG APIC_ACCESS APIC_WRITE EOI_INDUCED",
    "call": "VMCALL VMFUNC TDCALL",
    "instruction": "CPUID CR_ACCESS DR_ACCESS MSR_READ MSR_WRITE RDTSC RDTSCP RDPMC XSETBV INVD "
    "WBINVD INVLPG INVPCID GDTR_IDTR LDTR_TR TASK_SWITCH RDRAND RDSEED XSAVES XRSTORS ENCLS",
    "port": "IO_INSTRUCTION",
    "interrupt": "EXCEPTION_NMI EXTERNAL_INTERRUPT INTERRUPT_WINDOW NMI_WINDOW PREEMPTION_TIMER "
    "TPR_BELOW_THRESHOLD INIT_SIGNAL SIPI_SIGNAL MONITOR_TRAP_FLAG",
    "wait": "HLT PAUSE_INSTRUCTION MWAIT_INSTRUCTION MONITOR_INSTRUCTION",
}
_GROUP = {reason: group for group, reasons in _REASONS.items() for reason in reasons.split()}

SIZES = {1: "4 KiB", 2: "2 MiB", 3: "1 GiB"}

# The name of what is at a GPA of a VM.
Place = Callable[[int, int], str]
Cause = tuple[str, str, str, str]


def _direction(records: list[Record]) -> str:
    return "device read" if records[0].args()["type"] == "read" else "device written"


def _led_to(found: dict[str, list[Record]], place: Place) -> tuple[str, str]:
    """What an exit led to, by the first of these events that happened in it."""

    def first(name: str) -> Record:
        return found[name][0]

    def at(name: str) -> str:
        return place(first(name).vm, first(name)["gpa"])

    if "ve" in found:
        return "#VE raised", at("ve")
    if "mark_mmio_spte" in found:
        return "MMIO entry made", at("mmio") if "mmio" in found else ""
    if "mmio" in found:
        return _direction(found["mmio"]), at("mmio")
    if "fast_mmio" in found:
        return "doorbell rung", at("fast_mmio")
    if "mmu_split_huge_page" in found:
        return "large page split", ""
    if "mmu_set_spte" in found and "page_fault" in found:
        return "page mapped", SIZES.get(first("mmu_set_spte")["level"], "")
    if "fast_page_fault" in found:
        return "fault repaired", str(first("fast_page_fault").args()["ret"])
    for name, what in (("accept", "page accepted"), ("convert", "pages converted")):
        if name in found:
            return what, ""
    for name in ("tdvmcall", "tdcall"):
        if name in found:
            return name.upper(), f"leaf {first(name)['leaf']:#x}"
    for name, what in (("mmu_zap_all_fast", "all tables dropped"),
                       ("remote_flush", "other CPUs flushed"),
                       ("tdp_mmu_spte_changed", "entries changed"),
                       ("apic_ipi", "IPI sent")):  # fmt: skip
        if name in found:
            return what, ""
    for name, what in (("inj_virq", "interrupt injected"),
                       ("inj_exception", "exception injected")):  # fmt: skip
        if name in found:
            return what, f"vector {first(name)['vector']}"
    return "", ""


def _asked(reason: str, qualification: int) -> tuple[str, str]:
    """What the qualification says, by SDM 3, tables 28-3 and 28-5."""
    if reason == "IO_INSTRUCTION":
        return f"port {qualification >> 16 & 0xFFFF:#x}", "in" if qualification & 8 else "out"
    if reason == "CR_ACCESS":
        kind = ("written", "read", "CLTS", "LMSW")[qualification >> 4 & 3]
        return (f"CR{qualification & 15}", kind) if kind != "CLTS" else ("CR0", kind)
    return "", ""


def cause(slice_: Slice, place: Place, kicked_by: int | None = None) -> Cause:
    """Of an outer slice. `kicked_by` is the pCPU whose kick the exit is the answer to; with other
    reasons than an NMI, the exit came by itself."""
    if slice_.name in ("guest", "halted"):
        return slice_.name, slice_.name, "", ""
    found: dict[str, list[Record]] = {}
    for inner in slice_.inside:
        found.setdefault(inner.record.name, []).append(inner.record)
    record = slice_.record
    if record.name != "exit":
        return "turn", slice_.name, "", ""
    what, detail = _asked(slice_.name, record["qualification"])
    if slice_.name == "EXCEPTION_NMI" and kicked_by is not None:
        what, detail = "kicked", f"by pCPU {kicked_by}"
    if not what:
        what, detail = _led_to(found, place)
    return _GROUP.get(slice_.name, "other"), slice_.name, what, detail


# ---- Addresses -----------------------------------------------------------------------------------

FAULT, MMIO, DIRTY = range(3)
W, D = 1 << 1, 1 << 9  # of an SPTE


def _is_present(spte: int) -> bool:
    return bool(spte & 7)


def touches(record: Record) -> Iterator[tuple[int, int, int]]:
    """The kind, the first page and the number of pages of what a record says about addresses.

    DIRTY is the moment at which a write becomes known, by rule S4: the first write to a page whose
    entry lost W, or that a D bit is found set and cleared."""
    if record.name == "page_fault":
        yield FAULT, record["gpa"] >> 12, 1
    elif record.name in ("mmio", "fast_mmio"):
        yield MMIO, record["gpa"] >> 12, 1
    elif record.name == "fast_page_fault":
        if record["new"] & ~record["old"] & W and record.args()["ret"] == "fixed":
            yield DIRTY, record["gfn"], 1
    elif record.name == "tdp_mmu_spte_changed":
        old, new = record["old"], record["new"]
        if _is_present(old) and _is_present(new) and old & ~new & D:
            yield DIRTY, record["gfn"], 1 << 9 * (record["level"] - 1)
