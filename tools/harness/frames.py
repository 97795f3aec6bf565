# SPDX-License-Identifier: MIT
"""The frames that the image exports (arch/x86/export.h), found among an emulator's messages."""

import dataclasses
import re
import struct
import zlib
from collections.abc import Iterator

TEXT, EVENTS, MAP = 1, 2, 3
MAGIC = b"\xe9EPT"
VERSION = 1
HEADER = struct.Struct("<4sIBBHI")
MAX = 1024  # bytes of data in a frame

# What Bochs itself prints while it runs a machine that is connected to a terminal: a message may
# come in the middle of a frame.
MESSAGE = re.compile(rb"IPS: \d+\taverage = \d+\t+\(\d+s\)\n")


@dataclasses.dataclass(frozen=True)
class Frame:
    kind: int
    number: int  # from 0; a gap: frames that were damaged on their way
    data: bytes


def encode(kind: int, number: int, data: bytes) -> bytes:
    """The frame that export_bytes() would make; for tests."""
    checked = struct.pack("<BBHI", kind, VERSION, len(data), number) + data
    return MAGIC + struct.pack("<I", zlib.crc32(checked)) + checked


def _frame_at(stream: bytes, at: int) -> Frame | None:
    if len(stream) - at < HEADER.size:
        return None
    _, crc, kind, version, size, number = HEADER.unpack_from(stream, at)
    end = at + HEADER.size + size
    if version != VERSION or size > MAX or end > len(stream):
        return None
    if zlib.crc32(stream[at + 8 : end]) != crc:
        return None
    return Frame(kind, number, stream[at + HEADER.size : end])


def frames(stream: bytes) -> Iterator[Frame]:
    """Yields the intact frames. A damaged one is skipped: what follows its first bytes is searched
    for the next."""
    stream = MESSAGE.sub(b"", stream)
    at = stream.find(MAGIC)
    while at >= 0:
        frame = _frame_at(stream, at)
        if frame:
            yield frame
        at = stream.find(MAGIC, at + (HEADER.size + len(frame.data) if frame else 1))


def damaged(found: list[Frame]) -> int:
    """How many frames are missing before the last one that was found."""
    return found[-1].number + 1 - len(found) if found else 0
