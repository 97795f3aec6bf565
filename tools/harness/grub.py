# SPDX-License-Identifier: MIT
"""Makes a CD with GRUB that starts the image, by BIOS and by UEFI."""

import os
import pathlib
import shutil
import subprocess

from .boot import Boot
from .errors import HarnessError

# What our grub.cfg and the one in grub-mkrescue's EFI image ask for: fewer make a quicker CD.
MODULES = (
    "normal multiboot multiboot2 serial terminal echo test halt iso9660 fat part_gpt part_msdos "
    "part_acorn part_amiga part_apple part_bsd part_dfly part_dvh part_plan part_sun part_sunpc"
)
CYLINDER = 16 * 63 * 512  # bytes


def quote(text: str) -> str:
    """One word of GRUB's script language."""
    return "'" + text.replace("'", "'\\''") + "'"


def load(words: list[str], otherwise: str) -> str:
    """A command that loads a file, and commands for the case that this fails."""
    return f"if ! {' '.join(words)}; then\n    {otherwise}\nfi\n"


def _load_or_halt(words: list[str]) -> str:
    return load(words, f"echo 'GRUB could not load {words[1]}'\n    halt")


def config(boot: Boot) -> str:
    lines = "serial --unit=0 --speed=115200\nterminal_output console serial\n"
    if boot.method == "grub-efi":
        lines += "insmod efi_gop\n"  # as distributions do: without a driver it passes no screen
    if boot.initrd:
        lines += _load_or_halt(["linux", "/boot/eptvisor.elf", *map(quote, boot.cmdline.split())])
        lines += _load_or_halt(["initrd", "/boot/initrd"])
        return lines + "boot\n"
    version = "2" if boot.multiboot == 2 else ""
    start = [f"multiboot{version}", "/boot/eptvisor.elf"]
    lines += _load_or_halt([*start, *map(quote, boot.cmdline.split())])
    for guest in boot.guests:
        words = map(quote, guest.string.split())
        lines += _load_or_halt([f"module{version}", f"/boot/modules/{guest.name}", *words])
    if boot.graphics:  # the command `multiboot2` makes its own choice
        lines += f"set gfxpayload={boot.graphics}\n"
    return lines + "terminal_output console\nboot\n"


def _copy_image(boot: Boot, to: pathlib.Path) -> None:
    """The image without its debug information, which GRUB takes seconds to read by the BIOS. A file
    that is not ELF remains as it is; objcopy would take a Linux kernel for a program of EFI."""
    with boot.image.open("rb") as file:
        elf = file.read(4) == b"\x7fELF"
    if not elf or subprocess.run(["objcopy", "-g", boot.image, to], check=False).returncode:
        shutil.copy(boot.image, to)


def make_cd(boot: Boot) -> pathlib.Path:
    tree = boot.folder / "cd"
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "boot/grub").mkdir(parents=True)
    (tree / "boot/modules").mkdir()
    (tree / "boot/grub/grub.cfg").write_text(config(boot))
    if not boot.image.is_file():
        raise HarnessError(f"{boot.image} does not exist; `make` builds it")
    _copy_image(boot, tree / "boot/eptvisor.elf")
    if boot.initrd:
        shutil.copy(boot.initrd, tree / "boot/initrd")
    for guest in boot.guests:
        shutil.copy(guest.path, tree / "boot/modules" / guest.name)
    cd = boot.folder / "boot.iso"
    efi = boot.method == "grub-efi"
    platform = "x86_64-efi" if efi else "i386-pc"
    modules = f"{MODULES} efi_gop" if efi else MODULES
    modules += " linux" if boot.initrd else ""
    # By relative paths, because xorriso takes `=` in a path for something else.
    made = subprocess.run(
        ["grub-mkrescue", "-d", f"/usr/lib/grub/{platform}", "--fonts=", "--locales=", "--themes=",
         "--compress=no", f"--install-modules={modules}", "-o", cd.name, tree.name],
        capture_output=True, text=True, check=False, cwd=boot.folder,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1000000000"},
    )  # fmt: skip
    (boot.folder / "grub-mkrescue.log").write_text(made.stdout + made.stderr)
    if made.returncode != 0 or not cd.is_file():
        complaint = (made.stderr.strip(" .\n").splitlines() or ["nothing said"])[-1]
        raise HarnessError(f"grub-mkrescue failed: {complaint}; `make doctor` says what it needs")
    return cd


def make_stick(boot: Boot) -> pathlib.Path:
    """Copies the disk of a boot as `dd` copies it to a stick, which is larger than the image, and
    consists of whole cylinders of 16 heads and 63 sectors."""
    assert boot.medium
    stick = boot.folder / "stick.img"
    shutil.copy(boot.medium, stick)
    os.truncate(stick, (stick.stat().st_size // CYLINDER + 1) * CYLINDER)
    return stick
