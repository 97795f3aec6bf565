#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes symbols for debuggers from the kernel of a distribution: tools/kallsyms.py VMLINUX SYMBOLS.

Such a kernel is stripped, and its System.map may be empty, as Debian's is. But it has the names of
all its functions and variables for its own use, in the tables that Linux' scripts/kallsyms.c makes.
SYMBOLS becomes an ELF file with these symbols, and without code, for GDB's symbol-file.

The names are compressed: each is a list of tokens, and a table has the text of each token. After
num_syms come names, markers (the offset of each 256th name), token_table and token_index, and
between some of them other tables, by the version. Before Linux 6.4 the offsets of the symbols and
the address that they are relative to precede num_syms. Since then they follow token_index; and in
Linux 7 each offset is relative to its own place.
"""

import pathlib
import struct
import sys
from collections.abc import Iterator

DIGITS = b"".join(b"%d\0" % digit for digit in range(10))  # tokens of their own in each table
KERNEL = 0xFFFFFFFF80000000
MARK = 256  # names between two markers
SYMBOLS = range(1000, 1 << 20)  # how many a kernel has
SHT_SYMTAB, SHT_STRTAB, SHT_NOBITS = 2, 3, 8
WRITE, ALLOC, EXEC = 1, 2, 4


class Tables:
    """The tables in the image of a kernel."""

    align = 8  # of each table; in Linux 7, 4

    def __init__(self, image: bytes) -> None:
        self.image = image
        at = -1
        while (at := image.find(DIGITS, at + 1)) >= 0:
            if self._find_tokens(at) and self._find_names():
                return
        raise ValueError("no names of symbols are in it (CONFIG_KALLSYMS)")

    def _words(self, form: str, at: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{count}{form}", self.image, at)

    def _find_tokens(self, digits: int) -> bool:
        """The digits are the tokens from 0x30 on; the index confirms where the table begins."""
        begin = digits
        for _ in range(ord("0")):
            begin = self.image.rfind(b"\0", 0, begin - 1) + 1
        end, offsets = begin, []
        for _ in range(256):
            offsets.append(end - begin)
            end = self.image.find(b"\0", end) + 1
        for self.align in (8, 4):
            self.token_table, self.token_index = begin, self._aligned(end)
            if self._words("H", self.token_index, 256) == tuple(offsets):
                self.tokens = [self._text(begin + offset) for offset in offsets]
                return True
        return False

    def _aligned(self, offset: int) -> int:
        return (offset + self.align - 1) & -self.align

    def _text(self, at: int) -> bytes:
        return self.image[at : self.image.index(b"\0", at)]

    def _find_names(self) -> bool:
        """The number of names is in an aligned word. What follows are the names if they lead, from
        each to the next one, to the markers, which confirm where each 256th one begins."""
        words = self._words("Q" if self.align == 8 else "I", 0, self.token_table // self.align)
        for place in range(len(words) - 1, 0, -1):
            names = self.align * (place + 1)
            if words[place] in SYMBOLS and self._lead(names, words[place]):
                self.names, self.count = names, words[place]
                return self._find_offsets()
        return False

    def _name_size(self, at: int) -> tuple[int, int]:
        """The number of tokens of the name at `at`, and where they begin."""
        size = self.image[at]
        if size & 0x80:
            return size & 0x7F | self.image[at + 1] << 7, at + 2
        return size, at + 1

    def _lead(self, names: int, count: int) -> bool:
        at, markers = names, []
        for i in range(count):
            if i % MARK == 0:
                markers.append(at - names)
            size, at = self._name_size(at)
            at += size
            if not size or at > self.token_table:
                return False
        return self._words("I", self._aligned(at), len(markers)) == tuple(markers)

    def _find_offsets(self) -> bool:
        before = self.names - 16
        after = self._aligned(self.token_index + 512)
        later = self._aligned(after + 4 * self.count)
        for base, offsets in ((before, before - self._aligned(4 * self.count)), (later, after)):
            (address,) = self._words("Q", base, 1)
            if offsets >= 0 and address >= KERNEL and not address & 0xFFF:
                words = self._words("i", offsets, self.count)
                self.addresses = list(absolute(address, words))
                return True
        here = self._address(after)
        words = self._words("i", after, self.count)
        self.addresses = [here + 4 * i + offset for i, offset in enumerate(words)]
        return self.addresses[0] >= KERNEL

    def _address(self, at: int) -> int:
        """The address of what is at this place of the file."""
        (headers,) = self._words("Q", 32, 1)
        (count,) = self._words("H", 56, 1)
        for i in range(count):
            _, begin, address, _, size = self._words("Q", headers + 56 * i, 5)
            if begin <= at < begin + size:
                return address + at - begin
        raise ValueError("its tables of symbols are in no segment")

    def symbols(self) -> list[tuple[int, str]]:
        """Address and name of each symbol that is in the kernel."""
        found, at = [], self.names
        for address in self.addresses:
            size, at = self._name_size(at)
            name = b"".join(self.tokens[token] for token in self.image[at : at + size])
            at += size
            if address is not None:
                found.append((address, name[1:].decode()))  # behind its type
        return found


def absolute(base: int, offsets: tuple[int, ...]) -> Iterator[int | None]:
    """The addresses for offsets to a base. Those of per-CPU variables are no addresses in the
    kernel, and not negative if there are any; the others are negative, less 1."""
    signed = any(offset < 0 for offset in offsets)
    for offset in offsets:
        if not signed:
            yield base + offset
        else:
            yield base - 1 - offset if offset < 0 else None


def elf(symbols: list[tuple[int, str]]) -> bytes:
    """An ELF file with the symbols in sections without contents: code, and what is not code."""
    place = {name: address for address, name in symbols}
    borders = [place[name] for name in ("_text", "_etext", "_sinittext", "_einittext", "_end")]
    if borders != sorted(borders):
        raise ValueError("the kernel's sections are in an unknown order")
    names = (".text", ".data", ".init.text", ".init.data")
    parts = [(name, *ends) for name, ends in zip(names, zip(borders, borders[1:]))]
    strings, texts = bytearray(b"\0"), {}
    for text in (*names, ".symtab", ".strtab", *(name for _, name in symbols)):
        if text not in texts:
            texts[text] = len(strings)
            strings += text.encode() + b"\0"
    table = bytearray(24)
    for address, name in symbols:
        for number, (part, begin, end) in enumerate(parts, 1):
            if begin <= address < end:
                kind = 0x12 if "text" in part else 0x11  # global function or object
                table += struct.pack("<IBBHQQ", texts[name], kind, 0, number, address, 0)
    header, count = 64, len(parts) + 3
    begin = header + len(table) + len(strings)
    sections = bytearray(64)
    for part, first, end in parts:
        flags = ALLOC | (EXEC if "text" in part else WRITE)
        sections += struct.pack("<2I4Q2I2Q", texts[part], SHT_NOBITS, flags, first, header,
                                end - first, 0, 0, 4096, 0)  # fmt: skip
    sections += struct.pack("<2I4Q2I2Q", texts[".symtab"], SHT_SYMTAB, 0, 0, header, len(table),
                            count - 1, 1, 8, 24)  # fmt: skip
    sections += struct.pack("<2I4Q2I2Q", texts[".strtab"], SHT_STRTAB, 0, 0, header + len(table),
                            len(strings), 0, 0, 1, 0)  # fmt: skip
    start = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 0, begin, 0,
                        header, 0, 0, 64, count, count - 1)  # fmt: skip
    return bytes(start + table + strings + sections)


def main() -> int:
    source, target = map(pathlib.Path, sys.argv[1:])
    try:
        symbols = Tables(source.read_bytes()).symbols()
        target.write_bytes(elf(symbols))
    except (ValueError, KeyError, IndexError, OSError, struct.error) as error:
        print(f"kallsyms: {source}: {error}", file=sys.stderr)
        return 1
    print(f"{len(symbols)} symbols")
    return 0


if __name__ == "__main__":
    sys.exit(main())
