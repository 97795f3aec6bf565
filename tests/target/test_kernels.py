# SPDX-License-Identifier: MIT
"""The tools that get kernels for `make linux-matrix`: tools/vmlinux.py and tools/linux/fetch.sh."""

import gzip
import lzma
import os
import pathlib
import shutil
import struct
import subprocess

import pytest
from conftest import ROOT

KERNEL = b"\x7fELF\x02" + bytes(range(256)) * 64


def packed(command: list[str]) -> bytes:
    return subprocess.run(command, input=KERNEL, stdout=subprocess.PIPE, check=True).stdout


SIZE = struct.pack("<I", len(KERNEL))
PAYLOADS = {
    "gzip": lambda: gzip.compress(KERNEL),  # it ends with the size
    "xz": lambda: lzma.compress(KERNEL, check=lzma.CHECK_CRC32) + SIZE,
    "lzma": lambda: lzma.compress(KERNEL, format=lzma.FORMAT_ALONE) + SIZE,
    "lz4": lambda: packed(["lz4", "-lc"]) + SIZE,  # -l: the format that Linux uses
    "zstd": lambda: packed(["zstd", "-c"]) + SIZE,
}


def bzimage(payload: bytes, **header: int) -> bytes:
    image = bytearray(0x400 + 0x123)
    values = {"magic": 0x53726448, "offset": 0x123, "length": len(payload)} | header
    image[0x1F1] = 1
    struct.pack_into("<I", image, 0x202, values["magic"])
    struct.pack_into("<2I", image, 0x248, values["offset"], values["length"])
    return bytes(image) + payload


def extract(folder: pathlib.Path, image: bytes) -> tuple[bytes, str]:
    (folder / "in").write_bytes(image)
    done = subprocess.run([ROOT / "tools/vmlinux.py", "in", "out"], cwd=folder, text=True,
                          capture_output=True, check=False)  # fmt: skip
    out = folder / "out"
    assert (done.returncode == 0) == out.exists()
    return out.read_bytes() if out.exists() else b"", done.stderr


@pytest.mark.parametrize("compressor", PAYLOADS)
def test_the_kernel_in_a_bzimage(tmp_path: pathlib.Path, compressor: str) -> None:
    if compressor in ("lz4", "zstd") and not shutil.which(compressor):
        pytest.skip(f"no {compressor}: apt-get install {compressor}")
    assert extract(tmp_path, bzimage(PAYLOADS[compressor]())) == (KERNEL, "")


XZ = PAYLOADS["xz"]()
BAD = {
    "not a bzImage": bzimage(XZ, magic=0),
    "the payload, 10000000 bytes from 0x523 on, is not in the file": bzimage(XZ, length=10_000_000),
    "no known compressor: the payload begins with 787878787878": bzimage(b"x" * 100),
    f"the kernel has {len(KERNEL)} bytes; the bzImage says 7": bzimage(XZ[:-4] + b"\7\0\0\0"),
    "the kernel is no ELF64 file: it begins with 7f454c4601": bzimage(
        lzma.compress(b"\x7fELF\1") + b"\5\0\0\0"
    ),
    "Compressed data ended before": bzimage(XZ[:100] + SIZE),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_no_kernel_is_named(tmp_path: pathlib.Path, message: str) -> None:
    assert f"vmlinux: in: {message}" in extract(tmp_path, BAD[message])[1]


# Replacements of apt for a release whose metapackage names a kernel.
APT = """#!/bin/sh
case $1-$2 in
-qq-update) exit ;;
depends-linux-image-cloud-amd64) echo "  Depends: linux-image-9.9-cloud-amd64"; exit ;;
depends-*) exit ;;
-qq-download) cp "$TESTDIR/$3"_*.deb .; exit ;;
esac
exit 1
"""
CONTROL = "Package: {}\nVersion: 9.9-1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"


@pytest.fixture
def fetch(tmp_path: pathlib.Path):
    """fetch(METAPACKAGE) with these replacements."""
    (tmp_path / "bin").mkdir()
    for name in ("apt-get", "apt-cache"):
        (tmp_path / "bin" / name).write_text(APT)
        (tmp_path / "bin" / name).chmod(0o755)
    name = "linux-image-9.9-cloud-amd64"
    tree = tmp_path / "tree"
    (tree / "boot").mkdir(parents=True)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(CONTROL.format(name))
    (tree / "boot/vmlinuz-9.9").write_bytes(bzimage(XZ))
    (tree / "boot/config-9.9").write_text("no")
    subprocess.run(["dpkg-deb", "-b", tree, tmp_path / f"{name}_9.9-1_all.deb"], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip

    def run(meta: str) -> subprocess.CompletedProcess[str]:
        words = [ROOT / "tools/linux/fetch.sh", tmp_path / "out", "trixie", meta]
        path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "TESTDIR": str(tmp_path)}
        return subprocess.run(words, env=path, capture_output=True, text=True, check=False)

    return run


def test_the_kernel_that_a_metapackage_names(fetch, tmp_path: pathlib.Path) -> None:
    done = fetch("linux-image-cloud-amd64")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "package", "vmlinux", "vmlinuz"
    ]  # fmt: skip
    assert (tmp_path / "out/vmlinux").read_bytes() == KERNEL
    assert "Version: 9.9-1" in (tmp_path / "out/package").read_text()
    # A metapackage that does not exist leaves nothing behind that looks like a kernel.
    done = fetch("linux-image-amd64")
    assert done.returncode == 1
    assert done.stderr == "fetch: Debian trixie has no kernel that linux-image-amd64 names\n"
    assert not (tmp_path / "out").exists()
