# SPDX-License-Identifier: MIT
"""The pictures of VMs' memory: what a guest sees is what its pictures show, and what the tool makes
of them (docs/MAP.md)."""

import html.parser
import json
import re
import sys
import xml.etree.ElementTree as ET

import pytest
from conftest import BUILD, CODES, HELLO, ROOT
from harness import frames
from harness.boot import Guest

sys.path.insert(0, str(ROOT / "tools"))

import map as map_tool  # noqa: E402
import map_draw  # noqa: E402
import map_read  # noqa: E402
import map_story  # noqa: E402

MAP = BUILD / "guest" / "map.elf"
GUESTS = (Guest(MAP, ("testctl",)),
          Guest(MAP, ("testctl", "shared=39", "execute_only=38"), "", "roots"))  # fmt: skip
DRAWN = {"cmdline": "export=e9 map=1", "guests": GUESTS}
DEVICE = 0xFE000
AREA = 0xD0000
REGION = 0x1000


def drawn(boot) -> list[map_read.Picture]:
    result = boot(**DRAWN)
    assert result.status == 0, result
    assert all(result.passed(guest.name) for guest in GUESTS), result
    return map_read.read((result.run.boot.folder / "emulator.txt").read_bytes())


def kind_at(picture: map_read.Picture, gfn: int, root: int = 0, level: int = 1) -> str:
    found = map_read.entry_at(picture, root, gfn, level)
    return picture.classes[found[0].kind].name if found else "empty"


# ---- The whole way -------------------------------------------------------------------------------


def test_a_device_page_becomes_ram(boot) -> None:
    """The entry stays as it is, and only the generation of the slots says that it is stale."""
    story, _ = map_tool.vms_of(drawn(boot))
    seen = [(kind_at(p, DEVICE), p.generation) for p in story[:7]]
    start = seen[0][1]
    assert [kind for kind, _ in seen] == [
        "empty", "MMIO, current", "MMIO, stale", "MMIO, current", "MMIO, stale", "RAM",
        "MMIO, stale"]  # fmt: skip
    assert [g - start for _, g in seen[:6]] == [0, 0, 1, 1, 2, 2]
    words = [map_read.entry_at(p, 0, DEVICE, 1)[1] for p in story[1:5]]
    assert words[0] == words[1] != words[2] == words[3]
    assert [p.missing for p in story] == [0] * len(story)
    assert [p.ended for p in story] == [False] * (len(story) - 1) + [True]


def test_what_the_slots_say_is_shown(boot) -> None:
    story, _ = map_tool.vms_of(drawn(boot))
    at = {p.label: p for p in story}
    marks = at["writes to it are logged"].marks
    dirty = next(n for n, text in marks.items() if "dirty log" in text)

    def is_dirty(label: str, page: int) -> bool:
        return bool(map_read.entry_at(at[label], 0, AREA + page, 1)[0].marks >> dirty & 1)

    written = [is_dirty("every seventh page is written", 7 * i) for i in range(100)]
    assert all(written)
    assert not is_dirty("every seventh page is written", 9)
    assert not is_dirty("writes to it are logged", 0)
    assert kind_at(at["writes to one page are tracked"], AREA + 5) == "write-tracked RAM"
    levels = [kind_at(at["the slot is read-only"], AREA, level=n) for n in (1, 2)]
    assert "read-only slot" in levels


def test_each_root_is_drawn(boot) -> None:
    _, roots = map_tool.vms_of(drawn(boot))
    last = roots[-2]  # before the end
    assert [r.name for r in last.roots] == [
        "private", "shared", "execute-only", "shared execute-only"]  # fmt: skip
    assert kind_at(last, REGION + 4, 1) == "RAM, no execute"
    assert kind_at(last, REGION + 4, 0) == "empty"  # converted, and not touched by this address
    assert kind_at(last, REGION + 8, 0).startswith("RAM")
    assert kind_at(last, REGION + 8, 2) == "RAM, execute only"


# Addresses of the host's memory and numbers of generations may differ from build to build.
def structure(svg: str) -> list[tuple[str, str]]:
    elements = [(e.tag.rpartition("}")[2], e) for e in ET.fromstring(svg).iter()]
    return [(tag, e.get("class") if tag == "rect" else (e.text or "").strip())
            for tag, e in elements if tag in ("text", "rect", "g")]  # fmt: skip


@pytest.mark.parametrize("name", ["map-story.svg", "map-roots.svg"])
def test_the_pictures_of_the_readme_are_true(boot, name: str) -> None:
    now = map_story.readme_pictures(map_tool.vms_of(drawn(boot)))[name]
    kept = (ROOT / "docs" / name).read_text()
    assert structure(now) == structure(kept), "make map-pictures draws them anew"


def test_nothing_is_drawn_without_the_word(boot) -> None:
    result = boot(cmdline="export=e9", guests=(Guest(MAP, ("testctl",)),))
    assert result.status == 0, result
    assert not map_read.read((result.run.boot.folder / "emulator.txt").read_bytes())


def test_the_word_needs_a_channel(boot) -> None:
    result = boot(cmdline="map=1", guests=(Guest(HELLO, ("testctl",)),))
    assert result.exit == CODES.BAD_COMMAND_LINE, result
    assert result.has("map=1 needs export=, by which pictures leave the machine"), result


# ---- The tool ------------------------------------------------------------------------------------


def leb(*values: int | str) -> bytes:
    out = b""
    for value in values:
        if isinstance(value, str):
            out += leb(len(value)) + value.encode()
            continue
        while value > 0x7F:
            out += bytes([value & 0x7F | 0x80])
            value >>= 7
        out += bytes([value])
    return out


def stream(*runs: tuple[int, ...], number: int = 0, generation: int = 5, label: str = "now",
           leave_out: int = -1) -> bytes:  # fmt: skip
    """A picture of a VM with one slot from 0x200000 on, and with these runs of entries."""
    blocks = [
        (1, 1, 7, "vm<7>", label, 0, 1000, generation, 4, 1 << 28),
        (2, 0, 0, "empty", "-", 1, 1, "table", "-", 2, 2, "RAM", "is RAM", 3, 4, "MMIO", "-"),
        (3, 0, "is <tracked>"),
        (4, 1, 3, "may be read", 0x700, 4, "generation, bits 7:0", 0x100, 2, "accessed"),
        (5, 0, 0, "ordinary", 1),
        (6, 1, 0x200, 1024, "read-only "),
        (7, 0xFEE00000, 0xFEE00FFF, "local </script>APIC"),
        (8, "exits", 3),
        (9, *(value for run in runs for value in run)),
        (10, generation),
    ]  # fmt: skip
    return b"".join(
        frames.encode(frames.MAP, i, leb(kind, number, i, *rest))
        for i, (kind, *rest) in enumerate(blocks) if i != leave_out)  # fmt: skip


TABLES = ((0, 4, 1, 0, 0, 1, 0x1007), (0, 3, 1, 0, 0, 1, 0x2007), (0, 2, 1, 0, 0x200, 1, 0x3007))
RAM = (0, 1, 2, 0, 0x220, 40, 0x100107)


def test_numbers_and_texts_of_any_length() -> None:
    for value in (0, 1, 127, 128, 300, 2**36, 2**64 - 1):
        block = map_read.Block(leb(value, "x" * (value % 200), value))
        assert (block.number(), len(block.text()), block.number()) == (value, value % 200, value)
        assert not block.more()
    for damaged in (b"", b"\x80", b"\x80" * 12, b"\x05abcd"):
        with pytest.raises(map_read.Damaged):
            map_read.Block(damaged).text()


def test_a_lost_block_is_noticed() -> None:
    (whole,) = map_read.read(stream(*TABLES, RAM))
    assert whole.missing == 0
    (part,) = map_read.read(stream(*TABLES, RAM, leave_out=5))
    assert part.missing == 1
    assert "is incomplete" in map_tool.page([part])
    (endless,) = map_read.read(stream(*TABLES, RAM, leave_out=9))
    assert "is incomplete" in map_tool.page([endless])


def test_cells_cover_each_entry_once() -> None:
    """The path of a run, filled by hand."""
    for first, count in ((0, 512), (0, 1), (31, 2), (5, 100), (64, 32), (500, 12), (33, 31)):
        covered = []
        path = map_draw.cells(first, count)
        for found in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-\d+z", path):
            x, y, w, h = (int(n) for n in found)
            covered += [(y + j) * 32 + x + i for i in range(w) for j in range(h)]
        assert sorted(covered) == list(range(first, first + count))


def test_changes_are_found_and_put_together() -> None:
    """Pages that change in the same way are one change; what the CPU marks is none."""
    before, now = map_read.read(
        stream(*TABLES, RAM)
        + stream(*TABLES, (0, 1, 2, 0, 0x220, 10, 0x100007), (0, 1, 2, 1, 0x22A, 30, 0x10A107),
                 (0, 1, 3, 0, 0x2FF, 1, 6), number=1))  # fmt: skip
    found = map_draw.changes(before, now)
    assert [(c.gfn, c.count, c.before, c.after) for c in found] == [
        (0x22A, 30, 2, 2), (0x2FF, 1, 0, 3)]  # fmt: skip
    assert map_draw.changes(None, now) == []


def test_tables_that_are_missing_are_dashed() -> None:
    """All pictures have one layout, in which a table that is not there yet has its place."""
    early, late = map_read.read(stream() + stream(*TABLES, RAM, number=1))
    layout = map_draw.lay_out([early, late])
    drawn = [map_draw.draw(p, p.roots[0], layout, []) for p in (early, late)]
    assert [text.count("(no table)") for text in drawn] == [2, 0]
    assert sorted(layout.blocks) == [1, 2]
    drawing = ET.fromstring(f"<svg>{drawn[1]}</svg>")
    (path,) = drawing.findall(".//path[@class='k k2']")
    assert path.get("d") == map_draw.cells(0x20, 40)
    for box in layout.boxes[1:]:  # each area lies in the one around it
        assert 0 <= box.x and box.x + box.width <= layout.width, box
        assert 0 <= box.y and box.y + box.height <= layout.height, box
    for x, y in layout.blocks.values():
        assert any(b.level == 2 and b.x <= x and x + 32 <= b.x + b.width and b.y <= y
                   and y + 16 <= b.y + b.height for b in layout.boxes)  # fmt: skip


def test_large_memory_has_a_large_map() -> None:
    """4 GiB of large pages, and a page of 1 GiB."""
    runs = [(0, 4, 1, 0, 0, 1, 0x1007)]
    for gib in range(4):
        runs += [(0, 3, 1, 0, gib << 18, 1, 0x2007), (0, 2, 2, 0, gib << 18, 512, 0x87)]
    (picture,) = map_read.read(stream(*runs, (0, 3, 2, 0, 4 << 18, 1, 0x87)))
    layout = map_draw.lay_out([picture])
    assert len(layout.blocks) == 4 * 512 + 1
    assert len(set(layout.blocks.values())) == len(layout.blocks)
    assert 0.2 < layout.height / layout.width < 5


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_is_self_contained_and_names_everything() -> None:
    page = map_tool.page(map_read.read(stream(*TABLES) + stream(*TABLES, RAM, number=1)))
    assert not re.search(r"(?:src|href)=[\"'](?!#)|url\((?!#)|@import|https?://", page)
    tags = Tags()
    tags.feed(page)
    ids = [a["id"] for _, a in tags.found if "id" in a]
    assert len(ids) == len(set(ids))
    labels = {a["for"] for tag, a in tags.found if tag == "label" and "for" in a}
    assert "search" in labels
    maps = [a for tag, a in tags.found if tag == "svg" and a.get("class") == "map"]
    assert [a["tabindex"] for a in maps] == ["0"]
    assert all(a["aria-label"] for a in maps)
    assert sum(a.get("class") == "picture" for _, a in tags.found) == 2
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    (vm,) = data["vms"]
    assert vm["pictures"][0]["regions"][0]["name"] == "local </script>APIC"
    assert [c["count"] for c in vm["pictures"][1]["changes"]] == [40]
    assert "<tracked>" not in page.replace(json.dumps("is <tracked>"), "")


@pytest.mark.parametrize("label", ["<!-- SCRIPT -->", "<!--<script>", "</script><b>", "&lt;\"'"])
def test_a_label_is_only_text(label: str) -> None:
    """A guest chooses its labels; none may change the page around it."""
    plain, page = (
        map_tool.page(map_read.read(stream(RAM, label=text) + stream(number=1, label=text)))
        for text in ("now", label)
    )
    pattern = r'id="data">([^<]*)</script>'
    data = json.loads(re.search(pattern, page)[1])
    assert [p["label"] for p in data["vms"][0]["pictures"]] == [label, label]
    assert re.sub(pattern, "", page) == re.sub(pattern, "", plain)


def test_another_version_of_the_format_is_refused(tmp_path, capsys) -> None:
    output = tmp_path / "output"
    output.write_bytes(frames.encode(frames.MAP, 0, leb(map_read.BEGIN, 0, 0, 2)))
    assert map_tool.main([str(output), str(tmp_path / "page.html")]) == 1
    assert "version 2 of the format; this tool reads version 1" in capsys.readouterr().err


def test_facts_say_what_happened_to_the_slots() -> None:
    before, now = map_read.read(stream() + stream(number=1, generation=6))
    now.slots = [map_read.Slot(2, 0x300, 1, "")]
    assert map_tool.facts(before, now) == [
        "The generation of the slots went from 5 to 6.",
        "Slot 2 was added: 1 page from 0x300000.",
        "Slot 1 was deleted.",
    ]
