# SPDX-License-Identifier: MIT
"""QR codes, read back by zbarimg (rules N96 and N97)."""

import pathlib
import random
import re
import subprocess
from collections.abc import Iterable

from conftest import BUILD, need_made
from test_screen import said

SAVE_PICTURE = "screendump screen.ppm"


def read(*options: str) -> bytes:
    """What zbarimg reads in the last of its arguments, a file."""
    return subprocess.run(["zbarimg", "--nodbus", "-q", "--raw", "-Sdisable", "-Sqrcode.enable",
                           *options], capture_output=True, check=True).stdout  # fmt: skip


def draw(folder: pathlib.Path, data: bytes, versions: Iterable[int]) -> None:
    need_made("build/tools/qr")
    subprocess.run([BUILD / "tools/qr", *map(str, versions)], cwd=folder, input=data, check=True)


def test_all_versions(tmp_path: pathlib.Path) -> None:
    """Random bytes in symbols of each version, as many as fit."""
    data = random.Random(1).randbytes(4096)
    sizes = []
    draw(tmp_path, data, range(1, 41))
    for version in range(1, 41):
        found = read("--oneshot", "-Sbinary", str(tmp_path / f"{version}.pgm"))
        assert found == data[: len(found)], version
        sizes.append(len(found))
    assert (sizes[0], sizes[24], sizes[39]) == (17, 1273, 2953)
    assert sorted(set(sizes)) == sizes


def test_padding(tmp_path: pathlib.Path) -> None:
    draw(tmp_path, b"A short text.", versions := (1, 9, 10, 40))
    for version in versions:
        assert read("--oneshot", str(tmp_path / f"{version}.pgm")) == b"A short text.", version


def test_the_log_on_a_screen(boot) -> None:
    """The symbols on the screen of a machine that has stopped hold its log. All are on one page."""
    result = boot(machine="qemu-tcg", method="grub-efi", guests=(), cmdline="qr=1 on_exit=halt",
                  display="bochs-display,xres=2560,yres=1440", monitor=(SAVE_PICTURE,))  # fmt: skip
    text = read(str(result.run.boot.folder / "screen.ppm")).decode()
    header = r"eptvisor (\d+)/(\d+)\n"
    symbols = re.findall(rf"{header}(.*?)\n(?={header}|\Z)", text, re.DOTALL)
    assert len(symbols) > 1, text
    assert {count for _, count, *_ in symbols} == {str(len(symbols))}, text
    pieces = {int(number): piece for number, _, piece, *_ in symbols}
    log = "".join(pieces[number] for number in range(1, len(symbols) + 1))
    assert log == "\n".join([*said(result), ""])


def test_a_machine_without_a_framebuffer(boot) -> None:
    result = boot(machine="qemu-tcg", method="kernel", guests=(), cmdline="qr=1")
    assert ("qr=1: the log will not be shown as QR codes: the boot loader has passed no "
            "framebuffer, or one of fewer than 125 lines; boot this machine by UEFI"
            ) in result.lines, result  # fmt: skip
