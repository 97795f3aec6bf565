#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes a page of the pictures that VMs' memory has been drawn in: `make map`, docs/MAP.md.

    tools/map.py OUTPUT-OF-THE-EMULATOR PAGE.html
    tools/map.py --pictures OUTPUT-OF-THE-EMULATOR FOLDER

The page needs neither a network nor this tool. The second form makes the pictures of the README.
"""

import pathlib
import sys
from collections.abc import Iterable
from html import escape

import map_draw
import map_read
import map_story
import page as framework
from harness.errors import run_tool
from map_read import TABLE, Picture

# ---- Data ----------------------------------------------------------------------------------------


def label_of(picture: Picture) -> str:
    if picture.ended:
        return f"end of the VM: {picture.label}" if picture.label else "end of the VM"
    return picture.label or "no label"


def facts(before: Picture | None, now: Picture) -> list[str]:
    """What has changed beside the entries."""
    found = []
    if before is None:
        return found
    if before.generation != now.generation:
        found.append(f"The generation of the slots went from {before.generation} to "
                     f"{now.generation}.")  # fmt: skip
    old, new = ({s.id: s for s in p.slots} for p in (before, now))
    for slot in (new[i] for i in new.keys() - old.keys()):
        pages = "1 page" if slot.pages == 1 else f"{slot.pages} pages"
        found.append(f"Slot {slot.id} was added: {pages} from {map_draw.hex_address(slot.base)}.")
    found += [f"Slot {i} was deleted." for i in sorted(old.keys() - new.keys())]
    for i in sorted(old.keys() & new.keys()):
        if old[i] != new[i]:
            found.append(f"Slot {i} was changed: {new[i].attributes or 'without attributes'}, from "
                         f"{map_draw.hex_address(new[i].base)}.")  # fmt: skip
    return found


def data_of_picture(before: Picture | None, p: Picture, changed: list[map_draw.Change]) -> dict:
    runs = [(r.root, r.level, r.kind, r.marks, r.gfn, r.count, str(r.word)) for r in p.runs]
    changes = [
        {"root": c.root, "level": c.level, "gfn": c.gfn, "count": c.count, "before": c.before,
         "kind": c.after}
        for c in changed
    ]  # fmt: skip
    changes.sort(key=lambda c: TABLE in (c["kind"], c["before"]))  # pages before their tables
    return {
        "number": p.number,
        "label": label_of(p),
        "top": p.top,
        "runs": runs,
        "slots": [vars(s) for s in p.slots],
        "regions": [vars(r) for r in p.regions],
        "counters": p.counters,
        "facts": facts(before, p),
        "changes": changes,
    }


def data_of_vm(
    pictures: list[Picture], layout: map_draw.Layout, changed: list[list[map_draw.Change]]
) -> dict:
    last = pictures[-1]
    boxes = [(b.first >> 18, b.x, b.y, b.width, b.height) for b in layout.boxes if b.level == 2]
    before = [None, *pictures[:-1]]
    return {
        "classes": {n: vars(c) for n, c in sorted(last.classes.items())},
        "marks": [last.marks[n] for n in sorted(last.marks)],
        "fields": [(str(mask), kinds, name) for mask, kinds, name in last.fields],
        "roots": [vars(r) for r in last.roots],
        "pictures": [data_of_picture(*of) for of in zip(before, pictures, changed, strict=True)],
        "layout": {"width": layout.width, "height": layout.height, "blocks": layout.blocks,
                   "boxes": boxes},
    }  # fmt: skip


# ---- HTML ----------------------------------------------------------------------------------------


def figures(
    vm: int, pictures: list[Picture], layout: map_draw.Layout, changed: list[list[map_draw.Change]]
) -> Iterable[str]:
    last = pictures[-1]
    for root in last.roots:
        what = f"{root.name} memory" if len(last.roots) > 1 else "guest-physical memory"
        bits = f"addresses with {root.bits << 12:#x} set" if root.bits else "stolen bits clear"
        note = bits if len(last.roots) > 1 else f"VM {last.vm}, {last.name}"
        yield f'<figure data-vm="{vm}"><figcaption><strong>{escape(what)}</strong>'
        if not root.shown:
            yield "<span>not shown: the VM is a TD that was not created for inspection</span>"
            yield "</figcaption></figure>"
            continue
        yield f"<span>{note}</span></figcaption>"
        yield (
            f'<svg class="map" data-vm="{vm}" data-root="{root.number}" tabindex="0" '
            f'role="application" aria-roledescription="map" aria-label="{escape(what)}" '
            f'data-label="{escape(what)}" viewBox="0 0 {layout.width:g} {layout.height:g}" '
            f'style="aspect-ratio:{layout.width:g}/{layout.height:g}">'
        )
        for p, differs in zip(pictures, changed, strict=True):
            drawn = map_draw.draw(p, root, layout, differs)
            name = f"p{p.number}r{root.number}"
            yield f'<g class="picture" id="{name}" data-p="{p.number}">{drawn}</g>'
        yield '<rect class="cursor" width="2" height="2" rx="0.5"/></svg></figure>'


def warnings(pictures: list[Picture]) -> Iterable[str]:
    for p in pictures:
        name = f"“{escape(label_of(p))}” of VM {p.vm}"
        if p.missing:
            yield f'<p class="warning" role="alert">The picture {name} is incomplete.</p>'
        elif p.generation != p.later_generation:
            yield f'<p class="warning">The slots changed while {name} was drawn.</p>'


KEYS = (
    (("←", "→", "↑", "↓"), "in a map: move by an entry"),
    (("Page Up", "Page Down"), "in a map: the block of 2 MiB before and after"),
    (("Enter", "Escape"), "in a map: zoom in and out"),
    ((",", "."), "the moment before, and the next one"),
    (("p",), "play"),
    (("c",), "go to the first entry that has changed"),
    (("/",), "search for an address, a device or a slot"),
)
HELP = """<p>A block is 2 MiB: 512 entries in 16 rows, or one large page. Blocks lie in the area of
their table of level 2. Tinted ground belongs to a memslot; a dashed frame has no table yet. Dots
are pages in the dirty log, and a dark edge is around pages whose writes are tracked. What has
changed since the moment before is outlined.</p>"""


def vms_of(pictures: list[Picture]) -> list[list[Picture]]:
    """By number of the VM, in the order in which they were drawn. Without what has no beginning."""
    numbers = sorted({p.vm for p in pictures if p.classes})
    return [[p for p in pictures if p.classes and p.vm == n] for n in numbers]


def page(pictures: list[Picture]) -> str:
    """The whole page. Labels are texts of guests."""
    vms = vms_of(pictures)
    layouts = [map_draw.lay_out(vm) for vm in vms]
    all_of = list(zip(vms, layouts, [map_draw.all_changes(vm) for vm in vms], strict=True))
    data = {"vms": [data_of_vm(*of) for of in all_of]}
    drawn = [figure for i, of in enumerate(all_of) for figure in figures(i, *of)]
    choices = [
        f'<option value="{i}">VM {vm[0].vm}: {escape(vm[0].name)}</option>'
        for i, vm in enumerate(vms)
    ]
    parts = {
        "TITLE": "a map of memory",
        "STYLE": map_story.page_style(vms[0][0].classes)
        + framework.read("page.css", "map_page.css"),
        "DEFS": map_story.PATTERNS,
        "HEADING": "A map of memory",
        "CHOICE": "The VM whose memory is shown",
        "VMS": "".join(choices),
        "SOUGHT": "An address, a device or a slot",
        "EXAMPLES": "0xfe000000, testdev, slot 1",
        "WARNINGS": "".join(w for vm in vms for w in warnings(vm)),
        "MAPS": "".join(drawn),
        "HELP": HELP,
        "SCRIPT": framework.read("page.js", "map_page.js"),
    }
    return framework.page(framework.read("map_page.html"), data, KEYS, parts)


def main(arguments: list[str]) -> int:
    try:
        pictures = map_read.read(pathlib.Path(arguments[-2]).read_bytes())
    except map_read.Damaged as error:
        print(f"map: {arguments[-2]}: {error}", file=sys.stderr)
        return 1
    if not any(p.classes for p in pictures):
        print(f"map: {arguments[-2]} holds no picture; start the image with export=e9 map=1",
              file=sys.stderr)  # fmt: skip
        return 1
    to = pathlib.Path(arguments[-1])
    if arguments[0] == "--pictures":
        for name, svg in map_story.readme_pictures(vms_of(pictures)).items():
            (to / name).write_text(svg)
            print(f"map: {to / name}")
        return 0
    to.write_text(page(pictures))
    print(f"map: {len(pictures)} pictures in {to}; open it in a browser: file://{to.resolve()}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) - 1 not in (2, 3):
        sys.exit(__doc__)
    run_tool("map", lambda: main(sys.argv[1:]))
