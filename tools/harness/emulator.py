# SPDX-License-Identifier: MIT
"""Selects a Bochs: the installed one, or that of another Debian release, unpacked below build/."""

import dataclasses
import functools
import pathlib
import re
import subprocess

from . import host
from .boot import BOCHS_RELEASES, BUILD, ROOT
from .errors import HarnessError

# Bochs, the display that drags in the fewest libraries, and the firmware of the same release.
PACKAGES = ("bochs", "bochs-term", "bochsbios", "vgabios", "seabios", "ovmf")
PLUGINS = "usr/lib/x86_64-linux-gnu/bochs/plugins"
BANNER = re.compile(r"Bochs x86 Emulator ([\d.]+)")
MODEL = re.compile(r"^\w+$", re.M)


@dataclasses.dataclass(frozen=True)
class Emulator:
    command: tuple[str, ...]
    version: str  # "2.7"
    models: tuple[str, ...]  # of CPUs
    root: pathlib.Path  # above the firmware of its release

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def firmware(self, path: pathlib.Path) -> pathlib.Path:
        """A file of its own release, named by the path at which it would be installed."""
        return self.root / path.relative_to("/")

    def require_model(self, model: str) -> None:
        if model not in self.models:
            newer = [version for version in BOCHS_RELEASES if version > self.version]
            more = f"; BOCHS={' and BOCHS='.join(newer)} have more" if newer else ""
            raise HarnessError(f"CPU={model}: Bochs {self.version} has no such model; `bochs-bin "
                               f"--help cpu` lists them{more}")  # fmt: skip


def _ask(command: list[str], root: pathlib.Path) -> Emulator:
    """Asks Bochs for its version and its CPU models, which it prints on standard error."""
    said = subprocess.run([*command, "--help", "cpu"], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, check=False, errors="replace")  # fmt: skip
    text = said.stdout + said.stderr
    if not (banner := BANNER.search(text)):
        last = (text.strip().splitlines() or ["nothing"])[-1]
        raise HarnessError(f"{command[-1]} does not print its version, but: {last}")
    # From 3.0 on the debugger is there only if asked for. With it CPUs take turns of five
    # instructions on each version, so that they count the same.
    found = Emulator(tuple(command), banner[1], tuple(MODEL.findall(text)), root)
    debugger = ("-debugger",) if found.major >= 3 else ()
    return dataclasses.replace(found, command=found.command + debugger)


@functools.cache
def installed() -> Emulator:
    host.require(["bochs-bin"])
    return _ask(["bochs-bin"], pathlib.Path("/"))


@functools.cache
def _unpacked(version: str) -> Emulator:
    release, folder = BOCHS_RELEASES[version], BUILD / "bochs" / version
    done = subprocess.run([ROOT / "tools/unpack.sh", release, folder, "bochs-bin", *PACKAGES],
                          capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1]
        raise HarnessError(f"BOCHS={version} cannot be unpacked: {why}")
    command = ["env", f"LTDL_LIBRARY_PATH={folder / PLUGINS}", *done.stdout.split()]
    found = _ask(command, folder)
    if found.version != version:
        raise HarnessError(f"BOCHS={version}: Debian {release} has Bochs {found.version} by now")
    return found


def find(version: str) -> Emulator:
    """The emulator of this version, or the installed one if the version is empty."""
    if not version or host.present("bochs-bin") and installed().version == version:
        return installed()
    return _unpacked(version)
