#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Extracts the kernel of a bzImage, an ELF64 file: tools/vmlinux.py BZIMAGE VMLINUX.

A bzImage contains a decompressor and the compressed kernel, whose offset is in the setup header
(Documentation/arch/x86/boot.rst: payload_offset and payload_length). In the payload, the
relocations for KASLR follow the ELF file; they are kept, and loaders do not read them.
"""

import bz2
import gzip
import lzma
import pathlib
import struct
import subprocess
import sys

# A payload begins with its compressor's magic number, and ends with the size of the kernel. In
# gzip's format the size is a part of the format.
SIZE = 4
COMPRESSORS = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"\x5d\0\0": lzma.decompress,
    b"\x02\x21\x4c\x18": lambda data: _pipe(["lz4", "-dc"], data),
    b"\x28\xb5\x2f\xfd": lambda data: _pipe(["zstd", "-dc"], data),
}


def _pipe(command: list[str], data: bytes) -> bytes:
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def payload(image: bytes) -> bytes:
    if image[0x202:0x206] != b"HdrS":
        raise ValueError("not a bzImage")
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<2I", image, 0x248)
    begin = (sectors + 1) * 512 + offset
    if not length or begin + length > len(image):
        raise ValueError(f"the payload, {length} bytes from {begin:#x} on, is not in the file")
    return image[begin : begin + length]


def extract(image: bytes) -> bytes:
    data = payload(image)
    found = [unpack for magic, unpack in COMPRESSORS.items() if data.startswith(magic)]
    if not found:
        raise ValueError(f"no known compressor: the payload begins with {data[:6].hex()}")
    (size,) = struct.unpack("<I", data[-SIZE:])
    kernel = found[0](data if found[0] is gzip.decompress else data[:-SIZE])
    if len(kernel) != size:
        raise ValueError(f"the kernel has {len(kernel)} bytes; the bzImage says {size}")
    if not kernel.startswith(b"\x7fELF\x02"):
        raise ValueError(f"the kernel is no ELF64 file: it begins with {kernel[:5].hex()}")
    return kernel


def main() -> int:
    source, target = map(pathlib.Path, sys.argv[1:])
    try:
        target.write_bytes(extract(source.read_bytes()))
    except (ValueError, OSError, EOFError, lzma.LZMAError, subprocess.CalledProcessError) as error:
        print(f"vmlinux: {source}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
