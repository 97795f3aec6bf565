# SPDX-License-Identifier: MIT
"""The screen shows the text of the serial console, in text mode and in graphics modes."""

import pathlib
import struct

import font
import pytest
from conftest import CODES, Result

GRUB_FONT = pathlib.Path("/usr/share/grub/unicode.pf2")
COLUMNS, ROWS = 80, 25
SAVE_TEXT = "pmemsave 0xb8000 0x1000 text.bin"
SAVE_PICTURE = "screendump screen.ppm"


def text_mode(path: pathlib.Path) -> list[str]:
    """The text in VGA memory in mode 80 x 25, which has a character and an attribute for each
    cell."""
    memory = path.read_bytes()
    text = memory[: 2 * COLUMNS * ROWS : 2].decode("cp437")
    return [text[at : at + COLUMNS].rstrip() for at in range(0, len(text), COLUMNS)]


def picture(path: pathlib.Path) -> list[str]:
    """Reads a picture (PPM) by comparing each of its cells with the font. A cell that is no
    character of it, in white on black, becomes a `\\0`."""
    magic, size, depth, pixels = path.read_bytes().split(b"\n", 3)
    assert (magic, depth) == (b"P6", b"255")
    width, height = map(int, size.split())
    assert len(pixels) == 3 * width * height
    bits = {b"\0\0\0" * font.WIDTH: 0}
    names = {glyph: c for c, glyph in font.glyphs(GRUB_FONT.read_bytes()).items()}

    def line(x: int, y: int) -> int:
        start = 3 * (y * width + x)
        piece = pixels[start : start + 3 * font.WIDTH]
        if piece not in bits:
            colours = [piece[i : i + 3] for i in range(0, len(piece), 3)]
            known = set(colours) <= {b"\0\0\0", b"\xff\xff\xff"}
            bits[piece] = int("".join("01"[c != b"\0\0\0"] for c in colours), 2) if known else -1
        return bits[piece]

    def cell(x: int, y: int) -> str:
        return names.get(tuple(line(x, y + i) for i in range(font.HEIGHT)), "\0")

    return [
        "".join(cell(x, y) for x in range(0, width - font.WIDTH + 1, font.WIDTH)).rstrip()
        for y in range(0, height - font.HEIGHT + 1, font.HEIGHT)
    ]


def wrapped(lines: list[str], columns: int) -> list[str]:
    return [line[at : at + columns] for line in lines for at in range(0, len(line) or 1, columns)]


def said(result: Result) -> list[str]:
    """The output of the image on the serial console, from its first line to its last one."""
    first = next(i for i, line in enumerate(result.lines) if line.startswith("eptvisor: "))
    last = next(i for i, line in enumerate(result.lines) if line.startswith("EXIT "))
    return result.lines[first : last + 1]


def assert_refused(result: Result) -> None:
    assert result.exit == CODES.NO_VMX, result
    assert any("VMX" in line for line in said(result)), result


def assert_in_text_mode(result: Result) -> None:
    shown = text_mode(result.run.boot.folder / "text.bin")
    expected = wrapped(said(result), COLUMNS)
    assert shown == expected + [""] * (ROWS - len(expected))


@pytest.mark.parametrize("method", ["grub-bios", "kernel"])
def test_refusal_in_text_mode(boot, method: str) -> None:
    result = boot(machine="qemu-tcg", method=method, guests=(), monitor=(SAVE_TEXT,))
    assert_refused(result)
    assert_in_text_mode(result)


def test_no_memory(boot) -> None:
    """The message appears before the final page tables exist, because the screen does not need
    them."""
    result = boot(machine="qemu-tcg", method="kernel", guests=(), mem=16, monitor=(SAVE_TEXT,))
    assert result.exit == CODES.NO_MEMORY, result
    assert_in_text_mode(result)


def test_refusal_in_graphics(boot) -> None:
    result = boot(machine="qemu-tcg", method="grub-efi", guests=(), monitor=(SAVE_PICTURE,))
    assert_refused(result)
    shown = picture(result.run.boot.folder / "screen.ppm")
    assert len(shown) >= ROWS
    expected = said(result)
    assert shown == expected + [""] * (len(shown) - len(expected))


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
