# SPDX-License-Identifier: MIT
"""Reads the image's ELF file as a multiboot2 loader does: segments, addresses and entry point."""

import dataclasses
import pathlib
import struct

from .errors import HarnessError

MULTIBOOT2_MAGIC = 0xE85250D6
HEADER_LIMIT = 32768  # the header lies within so many bytes, multiboot2 section 3.1.1
PT_LOAD = 1


@dataclasses.dataclass(frozen=True)
class Segment:
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int


@dataclasses.dataclass(frozen=True)
class Image:
    path: pathlib.Path
    data: bytes
    entry: int  # physical
    segments: tuple[Segment, ...]

    @property
    def start(self) -> int:
        return min(s.paddr for s in self.segments)

    @property
    def end(self) -> int:
        return max(s.paddr + s.memsz for s in self.segments)

    def flat(self) -> bytearray:
        """The bytes from start to end as they lie in RAM once loaded."""
        memory = bytearray(self.end - self.start)
        for s in self.segments:
            place = s.paddr - self.start
            memory[place : place + s.filesz] = self.data[s.offset : s.offset + s.filesz]
        return memory


def read_image(path: pathlib.Path) -> Image:
    """Raises a HarnessError with the reason if a loader would not accept the file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}; `make` builds it") from error
    try:
        entry, segments = _read_headers(data)
    except struct.error as error:
        raise HarnessError(f"{path}: the ELF headers are cut short ({error})") from error
    except ValueError as error:
        raise HarnessError(f"{path}: {error}") from error
    return Image(path, data, entry, segments)


def _read_headers(data: bytes) -> tuple[int, tuple[Segment, ...]]:
    if data[:4] != b"\x7fELF":
        raise ValueError(f"not an ELF file (it begins with {data[:4].hex(' ') or 'nothing'})")
    if data[4] == 2:
        entry, phoff = struct.unpack_from("<QQ", data, 24)
        phentsize, phnum = struct.unpack_from("<HH", data, 54)
    else:
        entry, phoff = struct.unpack_from("<II", data, 24)
        phentsize, phnum = struct.unpack_from("<HH", data, 42)
    segments = []
    for i in range(phnum):
        at = phoff + i * phentsize
        if data[4] == 2:
            kind, _, *fields = struct.unpack_from("<IIQQQQQ", data, at)
        else:
            kind, *fields = struct.unpack_from("<IIIIII", data, at)
        segment = Segment(*fields)
        if kind != PT_LOAD or segment.memsz == 0:
            continue
        if segment.offset + segment.filesz > len(data) or segment.filesz > segment.memsz:
            raise ValueError(f"program header {i} reaches beyond the file or its memory")
        segments.append(segment)
    if not segments:
        raise ValueError("there is no PT_LOAD segment")
    return _entry(data, entry, segments), tuple(segments)


def _entry(data: bytes, entry: int, segments: list[Segment]) -> int:
    """Returns the address in the entry-address tag of the multiboot2 header, or, without this tag,
    the physical address of the ELF entry point."""
    for at in range(0, min(len(data), HEADER_LIMIT) - 16 + 1, 8):
        magic, arch, length, checksum = struct.unpack_from("<IIII", data, at)
        if magic == MULTIBOOT2_MAGIC and (magic + arch + length + checksum) % 2**32 == 0:
            break
    else:
        raise ValueError(f"no multiboot2 header in the first {HEADER_LIMIT} bytes")
    tag, end = at + 16, at + length
    while tag < end:
        kind, _, size = struct.unpack_from("<HHI", data, tag)
        if kind == 0:
            break
        if size < 8:
            raise ValueError(f"multiboot2 header tag {kind} has size {size}")
        if kind == 3:
            return struct.unpack_from("<I", data, tag + 8)[0]
        tag += (size + 7) & ~7
    for s in segments:
        if s.vaddr <= entry < s.vaddr + s.memsz:
            return entry - s.vaddr + s.paddr
    raise ValueError(f"the entry {entry:#x} lies in no segment")
