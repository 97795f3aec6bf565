# SPDX-License-Identifier: MIT
"""The screen shows the text of the serial console, in text mode and in graphics modes."""

import pathlib
import re
import struct
import textwrap

import font
import pytest
from conftest import CODES, ROOT, Result, hello

from harness import payload

GRUB_FONT = pathlib.Path("/usr/share/grub/unicode.pf2")
COLUMNS, ROWS = 80, 25
SAVE_TEXT = "pmemsave 0xb8000 0x1000 text.bin"
SAVE_PICTURE = "screendump screen.ppm"
PLAIN, ERROR, BAND = b"\xdd\xdd\xdd", b"\xff\x70\x66", b"\xb3\x26\x1e"  # colours, and the verdict's
BAND_ROWS, BLOCK_ROWS = 1 + 8, 1 + 7  # of the verdict, in pixels and in text mode
NEXT = "Power goes off in 30 seconds or at a key; on_exit=halt keeps it on."


def text_mode(path: pathlib.Path) -> list[str]:
    """The text in VGA memory in mode 80 x 25, which has a character and an attribute for each
    cell."""
    memory = path.read_bytes()
    text = memory[: 2 * COLUMNS * ROWS : 2].decode("cp437")
    return [text[at : at + COLUMNS].rstrip() for at in range(0, len(text), COLUMNS)]


class Picture:
    """A picture of the screen (PPM), whose text is read by comparing it with the font."""

    names = {glyph: c for c, glyph in font.glyphs(GRUB_FONT.read_bytes()).items()}

    def __init__(self, path: pathlib.Path) -> None:
        magic, size, depth, self.pixels = path.read_bytes().split(b"\n", 3)
        assert (magic, depth) == (b"P6", b"255")
        self.width, self.height = map(int, size.split())
        assert len(self.pixels) == 3 * self.width * self.height
        self.known: dict[tuple[bytes, int], tuple[int, set[bytes]]] = {}

    def line(self, x: int, y: int, scale: int) -> tuple[int, set[bytes]]:
        """Returns the bits of a glyph's line, a bit for each `scale` equal pixels that are bright,
        and the colours of these bits. If pixels differ within a bit, the result is -1."""
        start = 3 * (y * self.width + x)
        piece = self.pixels[start : start + 3 * font.WIDTH * scale]
        key = (piece, scale)
        if key not in self.known:
            dots = [piece[i : i + 3 * scale] for i in range(0, len(piece), 3 * scale)]
            squares = all(dot == dot[:3] * scale for dot in dots)
            bright = [dot[1] + dot[2] > 180 for dot in dots]  # all text, and no background
            bits = int("".join("01"[b] for b in bright), 2)
            ink = {dot[:3] for dot, b in zip(dots, bright, strict=True) if b}
            self.known[key] = (bits if squares else -1, ink)
        return self.known[key]

    def cell(self, x: int, y: int, scale: int) -> tuple[str, set[bytes]]:
        """Returns the character at this place, or `\\0`, and its one colour."""
        lines = [self.line(x, y + i, scale) for i in range(font.HEIGHT * scale)]
        rows = [bits for bits, _ in lines]
        thin = rows[::scale]
        whole = rows == [row for row in thin for _ in range(scale)]
        ink = set[bytes]().union(*(ink for _, ink in lines))
        return self.names.get(tuple(thin), "\0") if whole and len(ink) < 2 else "\0", ink

    def text(self, x: int, y: int, scale: int) -> str:
        """Returns the text that begins at this place and fills the line."""
        step = font.WIDTH * scale
        return "".join(
            self.cell(at, y, scale)[0] for at in range(x, self.width - step + 1, step)
        ).rstrip()


def wrapped(lines: list[str], columns: int) -> list[str]:
    return [
        line[at : at + columns].rstrip()
        for line in lines for at in range(0, len(line) or 1, columns)
    ]  # fmt: skip


def said(result: Result) -> list[str]:
    """The output of the image on the serial console, from its first line to its last one."""
    first = next(i for i, line in enumerate(result.lines) if line.startswith("eptvisor: "))
    last = next(i for i, line in enumerate(result.lines) if line.startswith("EXIT "))
    return result.lines[first : last + 1]


def assert_refused(result: Result) -> None:
    assert result.exit == CODES.NO_VMX, result
    assert any("VMX" in line for line in said(result)), result


def assert_in_text_mode(result: Result, rows: int = ROWS) -> list[str]:
    """The first rows show the log; returns the others."""
    shown = text_mode(result.run.boot.folder / "text.bin")
    expected = wrapped(said(result), COLUMNS)
    assert shown[:rows] == expected + [""] * (rows - len(expected))
    return shown[rows:]


def last_error(result: Result) -> str:
    return next(line for line in reversed(said(result)) if line.startswith("error: "))[7:]


def wrapped_words(text: str, columns: int) -> list[str]:
    return [*textwrap.wrap(text, columns, break_on_hyphens=False), "", ""][:2]


def assert_block(result: Result) -> None:
    """The log in text mode, with errors in red, and the verdict in a frame at the bottom."""
    block = assert_in_text_mode(result, ROWS - BLOCK_ROWS + 1)
    code, name = result.exit
    reason = wrapped_words(last_error(result), COLUMNS - 4)
    lines = [f"EXIT {code} {name}", "", *reason, NEXT]
    assert block == ["\u2554" + "\u2550" * 78 + "\u2557"] + [
        f"\u2551 {line:76} \u2551" for line in lines
    ] + ["\u255a" + "\u2550" * 78 + "\u255d"]  # fmt: skip
    colours = (result.run.boot.folder / "text.bin").read_bytes()[1 : 2 * COLUMNS * ROWS : 2]
    log = wrapped(said(result), COLUMNS)
    first = next(i for i, line in enumerate(log) if line.startswith("error: "))
    assert set(colours[: first * COLUMNS]) == {0x07}
    assert colours[first * COLUMNS] == 0x0C
    assert set(colours[(ROWS - BLOCK_ROWS + 1) * COLUMNS :]) == {0x4F}


@pytest.mark.parametrize("method", ["grub-bios", "kernel"])
def test_refusal_in_text_mode(boot, method: str) -> None:
    result = boot(machine="qemu-tcg", method=method, guests=(), monitor=(SAVE_TEXT,))
    assert_refused(result)
    assert_block(result)


def test_no_memory(boot) -> None:
    """The message appears before the final page tables exist, because the screen does not need
    them."""
    result = boot(machine="qemu-tcg", method="kernel", guests=(), mem=16, monitor=(SAVE_TEXT,))
    assert result.exit == CODES.NO_MEMORY, result
    assert_block(result)


def assert_band(result: Result, scale: int) -> Picture:
    """The log in graphics, with errors in red, and below it the verdict in a band, its headline
    three times as large."""
    shown = Picture(result.run.boot.folder / "screen.ppm")
    row, column = font.HEIGHT * scale, font.WIDTH * scale
    rows, columns = shown.height // row, shown.width // column
    log = wrapped(said(result), columns)
    free = rows - BAND_ROWS - len(log)
    text = [shown.text(0, y * row, scale) for y in range(rows - BAND_ROWS)]
    assert text == log + [""] * free
    first = next(i for i, line in enumerate(log) if line.startswith("error: "))
    if not result.run.boot.graphics.endswith("15"):
        assert shown.cell(0, 0, scale)[1] == {PLAIN}
        assert shown.cell(0, first * row, scale)[1] == {ERROR}
    top = (rows - BAND_ROWS + 1) * row
    code, name = result.exit
    assert shown.text(2 * column, top + row // 2, 3 * scale) == f"EXIT {code} {name}"
    at = top + 4 * row
    for line in wrapped_words(last_error(result), columns - 4):
        assert shown.text(2 * column, at, scale) == line
        at += row
    assert shown.text(2 * column, at + row // 2, scale) == NEXT
    return shown


def screen_image(tmp_path: pathlib.Path) -> pathlib.Path:
    """Returns an image that asks GRUB for a graphics mode on a BIOS machine, too: its multiboot
    headers are replaced by one with a tag for the framebuffer."""
    image = (ROOT / "build/eptvisor.elf").read_bytes()
    start = image.index(struct.pack("<I", 0xE85250D6)) - 16
    header = struct.pack("<IIII", 0xE85250D6, 0, 48, -(0xE85250D6 + 48) & 0xFFFFFFFF)
    header += struct.pack("<HHIIII4x", 5, 0, 20, 0, 0, 0) + struct.pack("<HHI", 0, 0, 8)
    path = tmp_path / "image"
    path.write_bytes(image[:start] + header + image[start + len(header) :])
    return path


EFI = {  # the display, GRUB's mode, the size, the scale
    "ramfb": ("ramfb", "800x600x32", (800, 600), 1),
    "bochs-display": ("bochs-display,vgamem=64M", "3840x2160x32", (3840, 2160), 4),
}
BIOS = {
    "virtio-vga": ("virtio-vga", "1920x1080x32", (1920, 1080), 2),
    "vga-24-bits": ("VGA", "1024x768x24", (1024, 768), 1),
    "vga-15-bits": ("VGA", "1600x1200x15", (1600, 1200), 2),
}


@pytest.mark.parametrize("display", EFI)
def test_refusal_in_graphics(boot, display: str) -> None:
    device, mode, size, scale = EFI[display]
    result = boot(machine="qemu-tcg", method="grub-efi", guests=(), monitor=(SAVE_PICTURE,),
                  display=device, graphics=mode)  # fmt: skip
    assert_refused(result)
    shown = assert_band(result, scale)
    assert (shown.width, shown.height) == size


@pytest.mark.parametrize("display", BIOS)
def test_refusal_in_graphics_by_bios(boot, tmp_path: pathlib.Path, display: str) -> None:
    device, mode, size, scale = BIOS[display]
    result = boot(machine="qemu-tcg", method="grub-bios", guests=(), monitor=(SAVE_PICTURE,),
                  display=device, graphics=mode, image=screen_image(tmp_path))  # fmt: skip
    assert_refused(result)
    shown = assert_band(result, scale)
    assert (shown.width, shown.height) == size


def test_above_4_gib(boot) -> None:
    """No emulator has a framebuffer there, but the debugger of Bochs sees the stores: the last
    pixels are written, nothing behind them is, and neither they nor the first ones are read."""
    base, size = 0x4000000000, 4096 * 768
    screen = struct.pack("<QIIIBBH6B", base, 4096, 1024, 768, 32, 1, 0, 16, 8, 8, 8, 0, 8)
    last, behind = base + size - 8, base + size
    watch = [f"watch w {at:#x}" for at in (last, behind)]
    watch += [f"watch r {at:#x}" for at in (base, last)]
    result = boot(guests=(hello(),), tags=(payload.tag(8, screen),),
                  debugger=(*watch, "c", "c", "c"))  # fmt: skip
    assert result.status == 0, result
    stops = (result.run.boot.folder / "emulator.txt").read_text(errors="replace")
    caught = re.findall(r"Caught (\w+) watch point at (0x\w+)", stops)
    assert {(kind, int(at, 16)) for kind, at in caught} == {("write", last)}
    assert len(caught) == 2  # when it is cleared, and in the verdict


def test_page_by_page(boot, tmp_path: pathlib.Path) -> None:
    """A screen of 40 x 12 characters, which has no room for the log, nor for a verdict. The key
    after the last page powers the machine off."""
    key = "sendkey spc"
    pages = ("screendump 1.ppm", key, "screendump 2.ppm", "info status", key, "info status")
    result = boot(machine="qemu-tcg", method="grub-bios", guests=(), cmdline="pause=1",
                  graphics="320x200x32", image=screen_image(tmp_path), monitor=pages)  # fmt: skip
    assert_refused(result)
    shown = [Picture(result.run.boot.folder / f"{n}.ppm") for n in (1, 2)]
    text = [[page.text(0, y, 1) for y in range(0, 192, 16)] for page in shown]
    log = wrapped(said(result), 40)
    assert "-- more -- (page 1; press a key)" in text[0]
    more = text[0].index("-- more -- (page 1; press a key)")
    assert text[0][:more] == log[:more]
    assert text[1][: len(log) - more] == log[more:]
    said_by_qemu = (result.run.boot.folder / "emulator.txt").read_text()
    assert re.findall(r"VM status: (.*)", said_by_qemu) == ["running", "paused (shutdown)"]


def pf2() -> bytes:
    """Returns a font in which every character has the same glyph of 3 x 2 bits, 001 and 011."""
    head = {b"FILE": b"PFF2", b"ASCE": struct.pack(">H", 14)}
    codes = range(font.FIRST - 1, font.LAST + 2)
    sections = b"".join(struct.pack(">4sI", k, len(v)) + v for k, v in head.items())
    index_size = 9 * len(codes)
    data_at = len(sections) + 8 + index_size + 8
    glyphs = b"".join(struct.pack(">HHhhhB", 3, 2, 1, 0, 8, 0b00101100) for _ in codes)
    size = len(glyphs) // len(codes)
    index = b"".join(struct.pack(">IBI", c, 0, data_at + i * size) for i, c in enumerate(codes))
    return (sections + struct.pack(">4sI", b"CHIX", index_size) + index
            + struct.pack(">4sI", b"DATA", 0xFFFFFFFF) + glyphs)  # fmt: skip


def test_font_is_placed_on_the_baseline() -> None:
    """The glyph is one pixel from the left, and its last row is the one above the baseline."""
    glyph = font.glyphs(pf2())["A"]
    assert glyph == (0,) * 12 + (0b00010000, 0b00110000, 0, 0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"PFF2", b"PFF1", "no PF2 font"),
        (b"ASCE", b"XSCE", "no PF2 font"),
        (struct.pack(">IB", 65, 0), struct.pack(">IB", 65, 1), "the glyph of 'A' is compressed"),
        (struct.pack(">I", 65), struct.pack(">I", 1), "no glyph for 'A'"),
        (struct.pack(">H", 14), struct.pack(">H", 1), "does not fit into 8x16"),
        (struct.pack(">HH", 3, 2), struct.pack(">HH", 8, 2), "is 8x2 and does not fit"),
    ],
)
def test_bad_font_is_refused(old: bytes, new: bytes, message: str) -> None:
    assert old in pf2()
    with pytest.raises(ValueError, match=message):
        font.glyphs(pf2().replace(old, new))
