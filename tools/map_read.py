# SPDX-License-Identifier: MIT
"""Reads the pictures of VMs' memory that the image exports (vm/map_dump.h)."""

import dataclasses
from collections.abc import Iterator

from harness import frames

BEGIN, CLASSES, MARKS, FIELDS, ROOTS, SLOTS, REGIONS, COUNTERS, ENTRIES, END = range(1, 11)
VERSION = 1
EMPTY, TABLE = 0, 1  # the classes that every picture has


class Damaged(Exception):
    """A block that does not follow the format."""


@dataclasses.dataclass(frozen=True)
class Run:
    """`count` entries of `level` in a row, from `gfn` on; each has the word of the one before plus
    the size of what it maps."""

    root: int
    level: int
    kind: int
    marks: int
    gfn: int
    count: int
    word: int

    def frames(self) -> int:
        return 1 << 9 * (self.level - 1)

    def end(self) -> int:
        return self.gfn + self.count * self.frames()


@dataclasses.dataclass(frozen=True)
class Class:
    fields: int  # the kind of its entries' fields: 1 table, 2 leaf, 4 MMIO SPTE, 0 none
    name: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Root:
    number: int
    bits: int  # the values of the stolen bits in a frame's number
    name: str
    shown: bool


@dataclasses.dataclass(frozen=True)
class Slot:
    id: int
    base: int
    pages: int
    attributes: str


@dataclasses.dataclass(frozen=True)
class Region:
    first: int
    last: int
    name: str


@dataclasses.dataclass
class Picture:
    number: int
    vm: int = 0
    name: str = ""
    label: str = ""
    ended: bool = False
    time: int = 0  # microseconds
    generation: int = 0
    later_generation: int = 0  # when the picture was complete
    top: int = 4
    frames: int = 0
    classes: dict[int, Class] = dataclasses.field(default_factory=dict)
    marks: dict[int, str] = dataclasses.field(default_factory=dict)
    fields: list[tuple[int, int, str]] = dataclasses.field(default_factory=list)
    roots: list[Root] = dataclasses.field(default_factory=list)
    slots: list[Slot] = dataclasses.field(default_factory=list)
    regions: list[Region] = dataclasses.field(default_factory=list)
    counters: dict[str, int] = dataclasses.field(default_factory=dict)
    runs: list[Run] = dataclasses.field(default_factory=list)
    blocks: int = 0  # that have arrived
    missing: int = -1  # -1: the end is missing


class Block:
    """The numbers and texts of a block."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def more(self) -> bool:
        return self.at < len(self.data)

    def number(self) -> int:
        value = shift = 0
        while True:
            if not self.more() or shift > 63:
                raise Damaged("a number has no end")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def text(self) -> str:
        size = self.number()
        if size > len(self.data) - self.at:
            raise Damaged("a text has no end")
        self.at += size
        return self.data[self.at - size : self.at].decode("ascii", "replace")


def _begin(picture: Picture, block: Block) -> None:
    version = block.number()
    if version != VERSION:
        raise Damaged(f"version {version} of the format; this tool reads version {VERSION}")
    picture.vm, picture.name, picture.label = block.number(), block.text(), block.text()
    picture.ended, picture.time = bool(block.number()), block.number()
    picture.generation, picture.top, picture.frames = (block.number() for _ in range(3))


def _row(picture: Picture, kind: int, block: Block) -> None:
    number, text = block.number, block.text
    if kind == CLASSES:
        key = number()
        picture.classes[key] = Class(number(), text(), text())
    elif kind == MARKS:
        key = number()
        picture.marks[key] = text()
    elif kind == FIELDS:
        picture.fields.append((number(), number(), text()))
    elif kind == ROOTS:
        picture.roots.append(Root(number(), number(), text(), bool(number())))
    elif kind == SLOTS:
        picture.slots.append(Slot(number(), number(), number(), text().strip()))
    elif kind == REGIONS:
        picture.regions.append(Region(number(), number(), text()))
    elif kind == COUNTERS:
        name = text()
        picture.counters[name] = number()
    elif kind == ENTRIES:
        picture.runs.append(Run(*(number() for _ in range(7))))
    else:
        raise Damaged(f"a block of unknown kind {kind}")


def pictures(blocks: Iterator[bytes]) -> list[Picture]:
    """Puts pictures together. The blocks of several may be mixed."""
    found: dict[int, Picture] = {}
    for data in blocks:
        block = Block(data)
        kind, number, index = block.number(), block.number(), block.number()
        picture = found.setdefault(number, Picture(number))
        picture.blocks += 1
        if kind == BEGIN:
            _begin(picture, block)
        elif kind == END:
            picture.later_generation = block.number()
            picture.missing = index + 1 - picture.blocks
        else:
            while block.more():
                _row(picture, kind, block)
    return [found[number] for number in sorted(found)]


def read(stream: bytes) -> list[Picture]:
    """The pictures in what an emulator has written."""
    return pictures(f.data for f in frames.frames(stream) if f.kind == frames.MAP)


def entry_at(picture: Picture, root: int, gfn: int, level: int) -> tuple[Run, int] | None:
    """The entry of this level for a frame, as its run and its word; None: it is empty."""
    for run in picture.runs:
        if run.root == root and run.level == level and run.gfn <= gfn < run.end():
            index = (gfn - run.gfn) // run.frames()
            return run, run.word + index * (run.frames() << 12)
    return None
