# SPDX-License-Identifier: MIT
"""Writes an initramfs: a cpio archive of the form `newc`, as Linux unpacks it."""

import pathlib

FOLDER, PROGRAM, DEVICE = 0o040755, 0o100755, 0o020600


class _Archive:
    def __init__(self) -> None:
        self.data = bytearray()
        self.number = 0

    def add(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)):
        self.number += 1
        path = name.encode() + b"\0"
        fields = [self.number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0]
        self.data += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        self.data += bytes(-len(self.data) % 4) + content
        self.data += bytes(-len(self.data) % 4)


def make(files: dict[str, pathlib.Path]) -> bytes:
    """The files by their path inside, the folders above them, and what /init needs to start."""
    archive = _Archive()
    above = {str(parent) for name in files for parent in pathlib.PurePath(name).parents}
    for name in sorted({"dev", "proc", "sys"} | above - {"."}):
        archive.add(name, FOLDER)
    archive.add("dev/console", DEVICE, device=(5, 1))
    archive.add("dev/ttyS0", DEVICE, device=(4, 64))
    for name, path in files.items():
        archive.add(name, PROGRAM, path.read_bytes())
    archive.add("TRAILER!!!", 0)
    return bytes(archive.data)
