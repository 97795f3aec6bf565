# SPDX-License-Identifier: MIT
"""ACPI tables that list CPUs: an RSDP of revision 2, an XSDT and a MADT (ACPI 6.5, 5.2)."""

import struct

XSDT_SIZE = 36 + 8
LAPIC_IDS = 0xFF  # those below have a local APIC entry, the others a local x2APIC entry


def _summed(data: bytes, size: int, at: int) -> bytes:
    """With the byte at `at`, 0 so far, the first `size` bytes sum to 0."""
    return data[:at] + bytes([-sum(data[:size]) % 256]) + data[at + 1 :]


def table(signature: bytes, revision: int, body: bytes) -> bytes:
    size = 36 + len(body)
    ident = struct.pack("<6s8sI4sI", b"EPTVIS", b"HARNESS ", 1, b"EPTV", 1)
    return _summed(struct.pack("<4sIBB", signature, size, revision, 0) + ident + body, size, 9)


def _cpu(uid: int, apic_id: int) -> bytes:
    if apic_id < LAPIC_IDS:
        return struct.pack("<BBBBI", 0, 8, uid, apic_id, 1)
    return struct.pack("<BBHIII", 9, 16, 0, apic_id, 1, uid)


def rsdp(xsdt: int) -> bytes:
    data = struct.pack("<8sB6sBIIQB3s", b"RSD PTR ", 0, b"EPTVIS", 2, 0, 36, xsdt, 0, b"")
    return _summed(_summed(data, 20, 8), 36, 32)


def tables(place: int, apic_ids: tuple[int, ...]) -> bytes:
    """An XSDT, to stand at `place`, and the MADT that it lists."""
    cpus = b"".join(_cpu(uid, apic_id) for uid, apic_id in enumerate(apic_ids))
    madt = table(b"APIC", 5, struct.pack("<II", 0xFEE00000, 1) + cpus)
    return table(b"XSDT", 1, struct.pack("<Q", place + XSDT_SIZE)) + madt
