#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes what a real machine boots: `image.py image` writes build/eptvisor.iso, a file for a stick
or a disc, which BIOS and UEFI boot; `image.py netboot` writes build/netboot/, a folder for a server
of TFTP or HTTP, with that file in it. The menu of both is that of tools/harness/menu.py. With
NAME=x they are eptvisor-x.iso and netboot-x/.

The environment names what the menu offers, as `make image` does: CHECKS, STRESS, TEST and BENCH
are guests as in GUESTS of `make run`, DEFAULT is the entry that is chosen when nobody chooses, and
WAIT the seconds until then. KERNEL and INITRD are those of `make linux`.
"""

import os
import pathlib
import shutil
import subprocess
import sys

from harness import debian, host, menu
from harness.boot import BUILD, parse_guests
from harness.errors import HarnessError, run_tool

SUFFIX = f"-{os.environ['NAME']}" if os.environ.get("NAME") else ""
ISO = BUILD / f"eptvisor{SUFFIX}.iso"
NETBOOT = BUILD / f"netboot{SUFFIX}"
TREE = BUILD / "image" / ISO.stem
GRUB = "boot/grub"
PLATFORMS = ("i386-pc", "x86_64-efi")
# A fixed date, so that equal contents make equal files.
ENVIRONMENT = os.environ | {"SOURCE_DATE_EPOCH": "1000000000"}


def fill(folder: pathlib.Path) -> None:
    """Writes the menu and its files."""
    lists = ("CHECKS", "STRESS", "TEST", "BENCH")
    guests = {name.lower(): parse_guests(os.environ.get(name, "")) for name in lists}
    files = {key.lower(): pathlib.Path(value).resolve()
             for key in ("KERNEL", "INITRD") if (value := os.environ.get(key))}  # fmt: skip
    guests["linux"] = debian.checked(vcpus=2, **files)
    guests["shell"] = debian.guests(vcpus=2, words=("live",), name="shell", **files)
    offered = menu.entries(guests)
    wait = os.environ.get("WAIT") or str(menu.TIMEOUT)
    if not wait.isdigit():
        raise HarnessError(f"WAIT={wait} is not a number of seconds")
    text = menu.config(offered, os.environ.get("DEFAULT", ""), int(wait))
    menu.write_files(folder, offered, text)


def run(command: list[str], log: str) -> None:
    """Runs a program in build/, by whose relative paths xorriso cannot be confused."""
    made = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT,
                          cwd=BUILD)  # fmt: skip
    (BUILD / "image").mkdir(exist_ok=True)
    (BUILD / log).write_text(made.stdout + made.stderr)
    if made.returncode:
        complaint = (made.stderr.strip(" .\n").splitlines() or ["nothing said"])[-1]
        raise HarnessError(f"{command[0]} failed: {complaint}; build/{log} has all it said")


def image() -> None:
    shutil.rmtree(TREE, ignore_errors=True)
    fill(TREE / GRUB)
    # All of GRUB's modules, because a person at GRUB's prompt may need any of them.
    run(["grub-mkrescue", "--fonts=", "--locales=", "--themes=", "-o", ISO.name,
         f"image/{TREE.name}"], f"image/{TREE.name}.log")  # fmt: skip
    print(f"image: {ISO} has {ISO.stat().st_size >> 20} MiB; docs/BARE_METAL.md says what to do "
          "with it")  # fmt: skip


def netboot() -> None:
    shutil.rmtree(NETBOOT, ignore_errors=True)
    fill(NETBOOT / GRUB)
    # GRUB that UEFI has loaded by HTTP does not find its server, but UEFI takes a whole disc.
    image()
    os.link(ISO, NETBOOT / "eptvisor.iso")
    folders = [f"--net-directory={NETBOOT.name}", f"--subdir={GRUB}"]
    run(["grub-mknetdir", "--fonts=", "--locales=", "--themes=", *folders],
        f"image/{NETBOOT.name}.log")  # fmt: skip
    print(f"netboot: {NETBOOT}/ is complete; docs/BARE_METAL.md says what to tell the servers")


def main() -> int:
    (what,) = sys.argv[1:]
    folders = [f"/usr/lib/grub/{platform}" for platform in PLATFORMS]
    host.require(["grub-mkrescue", "xorriso", "mformat", *folders])
    {"image": image, "netboot": netboot}[what]()
    return 0


if __name__ == "__main__":
    run_tool("image", main)
