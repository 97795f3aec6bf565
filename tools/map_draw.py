# SPDX-License-Identifier: MIT
"""Draws pictures of a VM's memory as SVG: tables as nested areas, entries as cells of a grid.

A block is 2 MiB: the 512 entries of a table of level 1 in 16 rows, or one large page. Blocks lie in
the area of their table of level 2, and so on. All pictures of a VM have the same layout, that of
everything that any of them shows, so that nothing moves when one picture follows the other.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from html import escape

from map_read import EMPTY, TABLE, Picture, Root, Run

COLUMNS, ROWS = 32, 16
LABEL, GAP, PAD, HEAD = 6, 4, 4, 9
SLOT_BLOCKS = 32  # blocks of a slot that are shown even if nothing in them was ever used
WHOLE = 512  # a block: the frames of 2 MiB
SIZES = {1: "4 KiB", 2: "2 MiB", 3: "1 GiB", 4: "512 GiB"}


def hex_address(frame: int) -> str:
    return f"{frame << 12:#x}"


@dataclasses.dataclass
class Box:
    """The area of a table of level 2 to 4, or of all roots' top table."""

    level: int
    first: int  # frame
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0


@dataclasses.dataclass
class Layout:
    width: float = 0
    height: float = 0
    boxes: list[Box] = dataclasses.field(default_factory=list)
    blocks: dict[int, tuple[float, float]] = dataclasses.field(default_factory=dict)  # by number


def used_blocks(pictures: Iterable[Picture], slot_blocks: int) -> set[int]:
    """The numbers of the blocks in which something was ever mapped, and of the first blocks of each
    slot."""
    blocks: set[int] = set()
    for picture in pictures:
        for run in picture.runs:
            if run.level == 1 or (run.level == 2 and run.count <= 4096):
                blocks.update(range(run.gfn // WHOLE, (run.end() - 1) // WHOLE + 1))
            elif run.level == 3 and run.kind != TABLE:
                blocks.add(run.gfn // WHOLE)  # stands for its GiB
        for slot in picture.slots:
            first, last = slot.base // WHOLE, (slot.base + slot.pages - 1) // WHOLE
            blocks.update(range(first, min(last + 1, first + slot_blocks)))
    return blocks


def columns_for(blocks: int) -> int:
    if blocks <= 12:
        return max(2, min(4, blocks))
    return 8 if blocks <= 128 else 16 if blocks <= 1024 else 32


def shelves(sizes: list[tuple[float, float]], width: float) -> Iterator[tuple[float, float]]:
    """Places boxes in rows, in their order; yields the corner of each."""
    x = y = row = 0.0
    for w, h in sizes:
        if x and x + w > width:
            x, y, row = 0, y + row + GAP, 0
        yield x, y
        x, row = x + w + GAP, max(row, h)


def lay_out(pictures: list[Picture], slot_blocks: int = SLOT_BLOCKS) -> Layout:
    layout = Layout()
    used = sorted(used_blocks(pictures, slot_blocks))
    columns = columns_for(len(used))
    width = columns * (COLUMNS + GAP) + GAP + PAD  # room for two areas of half the columns each

    def level_2(first: int, blocks: list[int]) -> tuple[Box, list[tuple[int, float, float]]]:
        across = max(2, min(columns, len(blocks)))
        rows = -(-len(blocks) // columns)
        box = Box(2, first, 0, 0, across * (COLUMNS + GAP) - GAP + 2 * PAD)
        box.height = HEAD + rows * (LABEL + ROWS + GAP) - GAP + PAD
        places = [
            (b, PAD + i % columns * (COLUMNS + GAP), HEAD + i // columns * (LABEL + ROWS + GAP))
            for i, b in enumerate(blocks)
        ]
        return box, [(b, x, y + LABEL) for b, x, y in places]

    y = float(HEAD)
    for region in sorted({b >> 18 for b in used}):  # 512 GiB each
        outer = Box(3, region << 27, PAD, y, width + 2 * PAD)
        gibs = sorted({b >> 9 for b in used if b >> 18 == region})
        inner = [level_2(g << 18, [b for b in used if b >> 9 == g]) for g in gibs]
        corners = list(shelves([(b.width, b.height) for b, _ in inner], width))
        layout.boxes.append(outer)
        for (box, places), (dx, dy) in zip(inner, corners, strict=True):
            box.x, box.y = outer.x + PAD + dx, outer.y + HEAD + dy
            layout.boxes.append(box)
            for block, bx, by in places:
                layout.blocks[block] = (box.x + bx, box.y + by)
            outer.height = max(outer.height, HEAD + dy + box.height + PAD)
        y += outer.height + GAP
    layout.width = width + 4 * PAD
    layout.height = y - GAP + PAD
    layout.boxes.insert(0, Box(4, 0, 0, 0, layout.width, layout.height))
    return layout


# ---- What an entry looks like --------------------------------------------------------------------


def cells(first: int, count: int) -> str:
    """The path of `count` cells of a block's grid, in rows."""
    path = []
    while count:
        row, column = divmod(first, COLUMNS)
        rows = count // COLUMNS if not column else 0
        step = rows * COLUMNS if rows else min(COLUMNS - column, count)
        wide, high = (COLUMNS, rows) if rows else (step, 1)
        path.append(f"M{column} {row}h{wide}v{high}h-{wide}z")
        first, count = first + step, count - step
    return "".join(path)


def parts(first: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Splits a range of frames at the borders of blocks: number, first cell, count."""
    while first < end:
        block, cell = divmod(first, WHOLE)
        count = min(WHOLE - cell, end - first)
        yield block, cell, count
        first += count


def accessed(picture: Picture) -> int:
    """The mask of the bits that the CPU sets by itself."""
    return sum(mask for mask, _, name in picture.fields if name in ("accessed", "dirty"))


def states(picture: Picture, root: int) -> dict[tuple[int, int], tuple[Run, int]]:
    """Each entry that is not empty, by its level and first frame: its run and its word."""
    found = {}
    for run in picture.runs:
        if run.root == root:
            for i in range(run.count):
                step = i * run.frames()
                found[run.level, run.gfn + step] = run, run.word + (step << 12)
    return found


@dataclasses.dataclass(frozen=True)
class Change:
    """Entries in a row that have changed in the same way since the last picture."""

    root: int
    level: int
    gfn: int
    count: int
    before: int  # class
    after: int
    words: bool  # the class is the same, but the entries differ


def changes(before: Picture | None, now: Picture) -> list[Change]:
    """What has changed since the picture before, in the order of addresses. Bits that the CPU sets
    by itself don't count."""
    found: list[Change] = []
    if before is None:
        return found
    ignored = accessed(now)
    for root in (r.number for r in now.roots):
        old, new = states(before, root), states(now, root)
        for level, gfn in sorted(old.keys() | new.keys(), key=lambda key: (key[1], -key[0])):
            was, word_was = old.get((level, gfn), (None, 0))
            run, word = new.get((level, gfn), (None, 0))
            kinds = was.kind if was else EMPTY, run.kind if run else EMPTY
            marks = (was.marks if was else 0) != (run.marks if run else 0)
            if kinds[0] == kinds[1] and not marks and not (word ^ word_was) & ~ignored:
                continue
            last = found[-1] if found else None
            size = 1 << 9 * (level - 1)
            one = Change(root, level, gfn, 1, *kinds, kinds[0] == kinds[1])
            if last and dataclasses.replace(one, gfn=last.gfn, count=last.count) == last and (
                last.gfn + last.count * size == gfn
            ):
                found[-1] = dataclasses.replace(last, count=last.count + 1)
            else:
                found.append(one)
    return found


# ---- SVG -----------------------------------------------------------------------------------------


def text(x: float, y: float, what: str, kind: str = "t") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(what)}</text>'


def head(box: Box, layout: Layout) -> str:
    size = SIZES[box.level]
    if box.level == 4:
        return f"level 4: {size} an entry"
    if box.level == 3:
        return f"level 3: 1 GiB an entry, from {hex_address(box.first)}"
    return f"level 2: {hex_address(box.first)}"


def draw_frames(
    picture: Picture, layout: Layout, found: dict[tuple[int, int], tuple[Run, int]]
) -> Iterator[str]:
    for box in layout.boxes:
        is_there = box.level == 4 or (box.level + 1, box.first) in found
        kind = f"box l{box.level}" + ("" if is_there else " none")
        yield (
            f'<rect class="{kind}" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" '
            f'height="{box.height:g}" rx="2"/>'
        )
        note = "" if is_there else " (no table)"
        yield text(box.x + PAD, box.y + HEAD - 3, head(box, layout) + note, "h")


def block_paths(picture: Picture, root: Root) -> dict[int, dict[tuple[int, int], str]]:
    """The path of each block by class and marks: what is drawn in its grid."""
    paths: dict[int, dict[tuple[int, int], str]] = {}
    for run in picture.runs:
        if run.root != root.number or run.kind == TABLE or run.level > 3:
            continue
        end = run.end() if run.level < 3 else run.gfn + WHOLE
        for block, cell, count in parts(run.gfn, end):
            by_kind = paths.setdefault(block, {})
            key = run.kind, run.marks
            by_kind[key] = by_kind.get(key, "") + cells(cell, count)
    return paths


def slot_paths(picture: Picture) -> dict[int, str]:
    paths: dict[int, str] = {}
    for slot in picture.slots:
        for block, cell, count in parts(slot.base, slot.base + slot.pages):
            paths[block] = paths.get(block, "") + cells(cell, count)
            if block > slot.base // WHOLE + 4096:
                break
    return paths


def region_paths(picture: Picture, layout: Layout) -> dict[int, list[tuple[str, str]]]:
    paths: dict[int, list[tuple[str, str]]] = {}
    for region in picture.regions:
        for block, cell, count in parts(region.first >> 12, (region.last >> 12) + 1):
            if block not in layout.blocks:
                break
            paths.setdefault(block, []).append((cells(cell, count), region.name))
    return paths


def change_paths(found: list[Change], root: Root) -> dict[int, str]:
    paths: dict[int, str] = {}
    for change in found:
        if change.root == root.number and change.level < 3 and TABLE not in (
            change.before,
            change.after,
        ):
            end = change.gfn + (change.count << 9 * (change.level - 1))
            for block, cell, count in parts(change.gfn, end):
                paths[block] = paths.get(block, "") + cells(cell, count)
    return paths


def draw(picture: Picture, root: Root, layout: Layout, changed: list[Change]) -> str:
    """The contents of an <svg> whose view box is that of the layout."""
    found = states(picture, root.number)
    entries, slots = block_paths(picture, root), slot_paths(picture)
    regions, differs = region_paths(picture, layout), change_paths(changed, root)
    out = list(draw_frames(picture, layout, found))
    for block, (x, y) in sorted(layout.blocks.items()):
        first = block * WHOLE
        link = found.get((2, first))
        large = link is not None and link[0].kind != TABLE
        out.append(f'<g class="b" data-b="{block}" transform="translate({x:g} {y:g})">')
        out.append(text(0, -1.5, hex_address(first)))
        out.append(f'<rect class="bg" width="{COLUMNS}" height="{ROWS}"/>')
        if block in slots:
            out.append(f'<path class="slot" d="{slots[block]}"/>')
        for (kind, marks), path in sorted(entries.get(block, {}).items()):
            out.append(f'<path class="k k{kind}" d="{path}"/>')
            out += [
                f'<path class="m m{mark}" d="{path}"/>'
                for mark in sorted(picture.marks)
                if marks >> mark & 1
            ]
        if link and not large:
            out.append(f'<rect class="grid" width="{COLUMNS}" height="{ROWS}"/>')
        for path, name in regions.get(block, []):
            out.append(f'<path class="dev" d="{path}"><title>{escape(name)}</title></path>')
        edge = "edge" + ("" if link else " none") + (" large" if large else "")
        out.append(f'<rect class="{edge}" width="{COLUMNS}" height="{ROWS}"/>')
        if large:
            out.append(text(COLUMNS / 2, ROWS / 2 + 2, "2 MiB", "big"))
        if block in differs:
            out.append(f'<path class="new" d="{differs[block]}"/>')
        out.append("</g>")
    return "".join(out)
