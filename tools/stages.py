# SPDX-License-Identifier: MIT
"""Where the hypervisor's instructions go, by the source file that each comes from."""

import collections
import re

# The columns of docs/PERFORMANCE.md, and the files of each. The first pattern that matches counts.
STAGES = {
    "exit, entry": r"vmx/entry\.S",
    "dispatch": r"vm/(dispatch|run)\.c|vmx/(vmx|exit)\.h|vmx/vcpu\.c",
    "VMCS": r"vmx/",
    "handler": r"vm/(?!test_devices)",
    "known access": r"mmio/(replay|doorbell|cache)\.",
    "emulation": r"mmio/(?!bus)|mmu/guest_mem\.c",
    "device": r"mmio/|dev/|vm/",
    "slot, page": r"mmu/(fault|memslot|change|mmu|root|sides|backing|dirty|track|huge|host)|"
    r"lib/(page|buddy)|arch/x86/memory",
    "lock, flush, epoch": r"mmu/tlb|lib/(rwlock|spinlock|epoch)|ept/inv",
    "tables": r"mmu/|ept/",
    "other": r"",
}


def stage(file: str) -> str:
    return next(name for name, pattern in STAGES.items() if re.match(pattern, file))


def count(addresses: list[int], files: dict[int, str]) -> collections.Counter[str]:
    return collections.Counter(stage(files[address]) for address in addresses)


def table(rows: list[tuple[str, dict[str, float]]]) -> str:
    """A table of the rows, without columns that are 0 in all rows."""
    used = [name for name in STAGES if any(round(numbers.get(name, 0)) for _, numbers in rows)]
    lines = ["| row | " + " | ".join(used) + " |", "|---" * (len(used) + 1) + "|"]
    for title, numbers in rows:
        cells = (str(round(numbers.get(name, 0)) or "") for name in used)
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read(text: str) -> dict[str, dict[str, float]]:
    """The numbers of such a table, by row."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
            if line.startswith("|")]  # fmt: skip
    return {title: {stage: float(cell or 0) for stage, cell in zip(rows[0][1:], cells, strict=True)}
            for title, *cells in rows[2:]}  # fmt: skip
