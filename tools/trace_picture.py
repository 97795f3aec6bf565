# SPDX-License-Identifier: MIT
"""The picture of docs/TRACE.md: what the exits of a VM cost by cause, as one SVG file in light and
dark. The page draws the same for any part of time (tools/trace_cost.js)."""

import dataclasses
import re
from collections.abc import Iterator
from html import escape

import page
import trace_causes
import trace_tracks
from harness.events import Recording
from trace_causes import Places
from trace_tracks import Timeline

WIDTH, LEVEL, LETTER = 720.0, 24.0, 6.6


@dataclasses.dataclass
class Node:
    """A cause, or a part of it."""

    words: tuple[str, ...]
    group: str
    ticks: int = 0
    count: int = 0
    children: dict[str, "Node"] = dataclasses.field(default_factory=dict)

    def by_cost(self) -> list["Node"]:
        return sorted(self.children.values(), key=lambda node: (-node.ticks, node.words))


def costs(shown: Timeline, vm: int, places: Places) -> Node:
    """The tree of the causes of a VM's exits."""
    root = Node((), "")
    kicks = trace_tracks.kicks(shown)
    for where, track in shown.tracks.items():
        for s in track.slices if where[0] == vm else ():
            if s.record.name != "exit":
                continue
            group, *words = trace_causes.cause(s, places.device, kicks.get(id(s.record)))
            here = root
            for depth in range(len(words) + 1):
                if depth and not words[depth - 1]:
                    break
                if depth:
                    below = Node((*here.words, words[depth - 1]), group)
                    here = here.children.setdefault(words[depth - 1], below)
                here.ticks += s.end - s.begin
                here.count += 1
    return root


def boxes(node: Node, x: float, width: float) -> Iterator[tuple[Node, float, float]]:
    """Each cause that is wide enough, with its place."""
    yield node, x, width
    for below in node.by_cost():
        part = width * below.ticks / node.ticks if node.ticks else 0
        if part >= 1:
            yield from boxes(below, x, part)
        x += part


def fitting(words: str, share: float, width: float) -> str:
    """As much as there is room for."""
    letters = int((width - 10) / LETTER)
    for text in (f"{words} {share:.0f} %", words):
        if len(text) <= letters:
            return text
    return words[: letters - 1] + "…" if letters > 4 else ""


def draw(name: str, root: Node) -> str:
    title = f"What the exits of {name} cost, by cause"
    body = []
    for node, x, width in boxes(root, 4, WIDTH - 8):
        depth, share = len(node.words), 100 * node.ticks / root.ticks
        y = 4 + depth * LEVEL
        kind = f"k{trace_causes.GROUPS.index(node.group)}" if depth else "root"
        body.append(
            f'<rect class="{kind} d{depth}" x="{x:.1f}" y="{y:g}" width="{width:.1f}" '
            f'height="{LEVEL:g}" rx="3" data-share="{share:.1f}" '
            f'data-each="{node.ticks / node.count:.0f}" data-count="{node.count}"><title>'
            f"{escape(' › '.join(node.words) or 'all exits')}</title></rect>"
        )
        said = fitting(node.words[-1] if depth else f"all exits of {name}", share, width)
        if said:
            kind = f"on{trace_causes.GROUPS.index(node.group)}" if depth == 1 else "ink"
            at = f'x="{x + 6:.1f}" y="{y + 16:g}"'
            body.append(f'<text class="{kind}" {at}>{escape(said)}</text>')
    height = 8 + 4 * LEVEL
    size = f"0 0 {WIDTH:g} {height:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><style>{style()}</style>'
        f'<rect class="paper" width="{WIDTH:g}" height="{height:g}" rx="6"/>{"".join(body)}</svg>\n'
    )


def style() -> str:
    pairs = page.SURFACES | trace_causes.variables()
    return page.variables(pairs) + trace_causes.RULES + SHAPES


SHAPES = """
rect { stroke: var(--card); stroke-width: 1.5; }
.paper { fill: var(--card); stroke: var(--line); stroke-width: 1; }
.root { fill: var(--page); } .ink { fill: var(--ink); }
.d2 { fill-opacity: 0.5; } .d3 { fill-opacity: 0.3; }
text { font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
"""


@dataclasses.dataclass(frozen=True)
class Cost:
    share: float  # percentage of the time of all exits
    each: int  # ticks of one exit
    count: int


def said(svg: str) -> dict[str, Cost]:
    """What a picture says, by cause."""
    pattern = r'data-share="([^"]+)" data-each="(\d+)" data-count="(\d+)"><title>([^<]+)<'
    found = re.findall(pattern, svg)
    return {cause: Cost(float(share), int(each), int(n)) for share, each, n, cause in found}


def picture(recording: Recording, places: Places, name: str) -> str:
    """Of the VM with this name."""
    vm = next(number for number, called in recording.vms.items() if called == name)
    return draw(name, costs(trace_tracks.timeline(recording), vm, places))
