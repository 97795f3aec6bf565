#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes a C file of 8x16 glyphs for ASCII from GRUB's own font: tools/font.py FONT.pf2 > font.c

The font is read from the build machine, so that none has to be in the tree. PF2 is a list of
sections (four letters, a big-endian length, the content). CHIX says where each character's glyph
lies, ASCE how far the baseline is below the top. A glyph has its size, its place relative to the
baseline, and its bits row by row without padding, the highest bit first.
"""

import pathlib
import struct
import sys

FIRST, LAST = 0x20, 0x7E
WIDTH, HEIGHT = 8, 16

Glyph = tuple[int, ...]  # a byte for each row; the highest bit is the leftmost pixel


def _sections(data: bytes) -> dict[bytes, bytes]:
    found = {}
    at = 0
    while at + 8 <= len(data) and b"DATA" not in found:
        name, size = struct.unpack_from(">4sI", data, at)
        found[name] = data[at + 8 : at + 8 + size]
        at += 8 + size
    return found


def _glyph(data: bytes, at: int, ascent: int) -> Glyph:
    width, height, left, bottom, _ = struct.unpack_from(">HHhhh", data, at)
    top = ascent - bottom - height
    if left < 0 or top < 0 or left + width > WIDTH or top + height > HEIGHT:
        raise ValueError(f"is {width}x{height} and does not fit into {WIDTH}x{HEIGHT}")
    rows = [0] * HEIGHT
    for bit in range(width * height):
        if data[at + 10 + bit // 8] << bit % 8 & 0x80:
            rows[top + bit // width] |= 0x80 >> left + bit % width
    return tuple(rows)


def glyphs(data: bytes) -> dict[str, Glyph]:
    """Raises ValueError with a message if a character is absent or does not fit."""
    sections = _sections(data)
    if sections.get(b"FILE") != b"PFF2" or not {b"CHIX", b"ASCE"} <= sections.keys():
        raise ValueError("the file is no PF2 font")
    (ascent,) = struct.unpack(">H", sections[b"ASCE"])
    found = {}
    for code, packing, at in struct.iter_unpack(">IBI", sections[b"CHIX"]):
        if FIRST <= code <= LAST:
            try:
                if packing:
                    raise ValueError("is compressed")
                found[chr(code)] = _glyph(data, at, ascent)
            except ValueError as error:
                raise ValueError(f"the glyph of {chr(code)!r} {error}") from None
    absent = [chr(code) for code in range(FIRST, LAST + 1) if chr(code) not in found]
    if absent:
        raise ValueError(f"the font has no glyph for {absent[0]!r}")
    return found


def main() -> int:
    try:
        font = glyphs(pathlib.Path(sys.argv[1]).read_bytes())
    except (OSError, ValueError) as error:
        print(f"font: {sys.argv[1]}: {error}", file=sys.stderr)
        return 1
    print('/* Made by tools/font.py. */\n#include "arch/x86/font.h"\n')
    print("const uint8_t font_glyphs[FONT_LAST - FONT_FIRST + 1][FONT_HEIGHT] = {")
    for code in range(FIRST, LAST + 1):
        print(f"    {{{', '.join(map(hex, font[chr(code)]))}}},")
    print("};")
    return 0


if __name__ == "__main__":
    sys.exit(main())
