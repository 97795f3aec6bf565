# SPDX-License-Identifier: MIT
"""The colours of the map, and the pictures of the README: single SVG files in light and dark."""

from html import escape

import map_draw
import map_read
import page
from map_draw import COLUMNS
from map_read import EMPTY, TABLE, Class, Picture

# By the name of a class: its colour in the light, and in the dark.
COLOURS = {
    "empty": ("#f6f7f9", "#1d222b"),
    "table": ("#c9ced8", "#4a5160"),
    "RAM": ("#3b78d8", "#5c98f2"),
    "RAM, no execute": ("#1f9c93", "#3dbdb2"),
    "RAM, no write yet": ("#a3c4ef", "#3a5d94"),
    "RAM, execute only": ("#8557cf", "#a583ea"),
    "write-tracked RAM": ("#e2772b", "#f59a52"),
    "read-only slot": ("#c39a1c", "#dfba48"),
    "aged RAM": ("#95a2b3", "#697a8e"),
    "MMIO, current": ("#2a9d55", "#4cc276"),
    "MMIO, stale": ("url(#stale)", "url(#stale)"),
    "blocked": ("#b93131", "#e36363"),
    "frozen": ("#27b5d8", "#4fd0ee"),
    "alien": ("#d100a0", "#ff5fd2"),
}
SURFACES = page.SURFACES | {
    "new": ("#d1246f", "#ff7ab2"),
    "slot": ("#dde8f9", "#222f47"),
    "ground": ("#f6f7f9", "#1d222b"),
    "area": ("#eceff4", "#14181f"),
    "grid": ("#ffffff66", "#00000040"),
    "stale": ("#2a9d55", "#4cc276"),
    "stale2": ("#d9efe1", "#1d3a29"),
}

PATTERNS = f"""
<pattern id="stale" width="1.2" height="1.2" patternUnits="userSpaceOnUse"
 patternTransform="rotate(45)"><rect class="s2" width="1.2" height="1.2"/><rect class="s1"
 width="0.6" height="1.2"/></pattern>
<pattern id="cells" width="1" height="1" patternUnits="userSpaceOnUse"><path class="gl"
 d="M1 0V1H0"/></pattern>
<pattern id="dots" width="1" height="1" patternUnits="userSpaceOnUse"><circle class="dot" cx="0.5"
 cy="0.5" r="0.2"/></pattern>
"""

# Without ancestors in the selectors: the lens of the page clones the drawings.
SHAPES = """
.box { fill: var(--area); stroke: var(--line); stroke-width: 0.4; }
.l3 { fill: var(--card); } .l2 { fill: var(--area); }
.none { stroke-dasharray: 1.4 1.2; }
text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--faint); }
.h { font-size: 4.2px; font-weight: 600; fill: var(--ink); }
.t { font-size: 3.6px; }
.big { font-size: 5px; fill: #fff; text-anchor: middle; font-weight: 600; }
.bg { fill: var(--ground); } .slot { fill: var(--slot); }
.grid { fill: url(#cells); } .gl { fill: none; stroke: var(--grid); stroke-width: 0.12; }
.edge { fill: none; stroke: var(--line); stroke-width: 0.35; }
.large { stroke: var(--ink); stroke-opacity: 0.4; }
.dev { fill: none; stroke: var(--ink); stroke-width: 0.22; stroke-dasharray: 0.5 0.4; }
.new { fill: none; stroke: var(--new); stroke-width: 0.35; stroke-linejoin: round; }
.m { fill: none; }
.m0 { stroke: var(--ink); stroke-width: 0.25; } .m2 { fill: url(#dots); }
.dot { fill: var(--ink); fill-opacity: 0.75; }
.s1 { fill: var(--stale); } .s2 { fill: var(--stale2); }
"""

OTHER = ("#777777", "#aaaaaa")  # of a class whose name is not in the table


def style(classes: dict[int, Class], shapes: str = SHAPES) -> str:
    """The style sheet of a drawing: variables for the light and the dark, and shapes by them."""
    pairs = dict(SURFACES)
    pairs |= {f"k{n}": COLOURS.get(c.name, OTHER) for n, c in classes.items()}
    kinds = "".join(f".k{n}{{fill:var(--k{n})}}" for n in classes)
    return page.variables(pairs) + kinds + shapes


def page_style(classes: dict[int, Class]) -> str:
    """The same with the colours of the legend."""
    swatches = "".join(
        f".sw.k{n}{{background:var(--k{n})}}"
        if "url" not in COLOURS.get(c.name, OTHER)[0]
        else f".sw.k{n}{{background:repeating-linear-gradient(45deg,var(--stale) 0 3px,"
        f"var(--stale2) 3px 6px)}}"
        for n, c in classes.items()
    )
    return style(classes) + swatches


# ---- The pictures of the README ------------------------------------------------------------------


def document(width: float, height: float, classes: dict[int, Class], title: str, body: str) -> str:
    extra = SHAPES + STORY_SHAPES
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"<style>{style(classes, extra)}</style><defs>{PATTERNS}</defs>"
        f'<rect class="paper" width="{width:g}" height="{height:g}" rx="4"/>{body}</svg>\n'
    )


STORY_SHAPES = """
.paper { fill: var(--card); stroke: var(--line); stroke-width: 0.5; }
.step { font-size: 5px; font-weight: 600; fill: var(--ink); }
.say { font-size: 4.4px; } .kind { font-size: 4.8px; font-weight: 600; fill: var(--ink); }
.arrow { fill: none; stroke: var(--faint); stroke-width: 0.8; }
"""

SHOWN = 4  # columns and rows of cells that a panel of the story shows
CELL = 12.0
PANEL = SHOWN * CELL + 22


def generation_of(picture: Picture, word: int) -> int:
    """The generation in an MMIO SPTE, whose fields are named with their bits: `…, bits 7:0`."""
    value = 0
    for mask, _, name in picture.fields:
        if name.startswith("generation, bits "):
            low = int(name.rsplit(":", 1)[1])
            value |= (word & mask) // (mask & -mask) << low
    return value


def panel(index: int, picture: Picture, gfn: int) -> tuple[int, str]:
    """One moment: the corner of the block in which the page is, and what is said about the page.
    Returns the page's class as well."""
    out = [map_draw.text(0, 6, f"{index}  {picture.label}", "step")]
    kind, said = EMPTY, "empty: an access is a violation"
    for cell in range(SHOWN * SHOWN):
        frame = gfn + cell // SHOWN * COLUMNS + cell % SHOWN
        found = map_read.entry_at(picture, 0, frame, 1)
        slot = any(s.base <= frame < s.base + s.pages for s in picture.slots)
        shape = f"k k{found[0].kind}" if found else "slot" if slot else "bg"
        x, y = cell % SHOWN * CELL, 12 + cell // SHOWN * CELL
        size = f'width="{CELL - 1:g}" height="{CELL - 1:g}"'
        out.append(f'<rect class="{shape}" x="{x:g}" y="{y:g}" {size} rx="1"/>')
        if slot:
            out.append(f'<rect class="edge large" x="{x:g}" y="{y:g}" {size} rx="1"/>')
        if frame == gfn and found:
            kind, said = found[0].kind, picture.classes[found[0].kind].name
            if said.startswith("MMIO"):
                said += f", generation {generation_of(picture, found[1])}"
    below = 12 + SHOWN * CELL
    out.append(map_draw.text(0, below + 7, said, "kind"))
    out.append(map_draw.text(0, below + 14, f"slots: generation {picture.generation}", "say"))
    return kind, "".join(out)


def story(pictures: list[Picture]) -> str:
    """How a device page becomes RAM: the moments at which its entry or its meaning changes."""
    gfn = next(r.first >> 12 for r in pictures[0].regions if r.name == "testdev")
    body, last, count = [], None, 0
    across = PANEL + 44
    for picture in pictures:
        kind, drawn = panel(count + 1, picture, gfn)
        if kind == last:
            continue
        last = kind
        x, y = 8 + count % 3 * across, 6 + count // 3 * 84
        body.append(f'<g transform="translate({x:g} {y:g})">{drawn}</g>')
        count += 1
        if count == 6:
            break
    rows = -(-count // 3)
    title = "A device page becomes RAM: the generation of the slots makes its MMIO SPTE stale"
    return document(3 * across, 6 + 84 * rows, pictures[0].classes, title, "".join(body))


def roots(picture: Picture) -> str:
    """The memory of a VM with stolen bits: its roots beside each other."""
    layout = map_draw.lay_out([picture], slot_blocks=0)
    shown = [r for r in picture.roots if any(
        run.root == r.number and run.kind != TABLE for run in picture.runs)]  # fmt: skip
    body = []
    for i, root in enumerate(shown):
        x = 6 + i * (layout.width + 6)
        drawn = map_draw.draw(picture, root, layout, [])
        body.append(f'<g transform="translate({x:g} 14)">{drawn}</g>')
        body.append(map_draw.text(x, 9, f"{root.name} memory", "step"))
    width = 6 + len(shown) * (layout.width + 6)
    title = "The roots of a VM with stolen bits, side by side"
    return document(width, layout.height + 20, picture.classes, title, "".join(body))


def readme_pictures(vms: list[list[Picture]]) -> dict[str, str]:
    """By file name: the story of the first VM, and the roots of the last one at its end."""
    return {"map-story.svg": story(vms[0]), "map-roots.svg": roots(vms[-1][-1])}
