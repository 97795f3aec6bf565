#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Boots kernels that were written for other machines: `make foreign XV6=DIR MACH=FILE …`.

Each variable names a checkout that its user has built, or a file, and each kernel passes if a text
appears on its console. Nothing is fetched, and nothing is built. docs/FOREIGN.md says where the
kernels come from, and what each of them needs.
"""

import gzip
import os
import pathlib
from dataclasses import dataclass

from harness import session
from harness.boot import BUILD, Boot, Guest
from harness.errors import HarnessError, run_tool

FOLDER = BUILD / "foreign"
TIMEOUT = 900.0  # seconds of the emulator's CPU time


@dataclass(frozen=True)
class Kernel:
    """A kernel: its variable, the file in a checkout, the VM's words, and what must appear."""

    variable: str
    file: str
    words: tuple[str, ...]
    text: str
    args: str = ""
    cpus: tuple[int, ...] = (1,)


KERNELS = (
    Kernel("XV6", "kernelmemfs", ("legacy", "mem=232M", "budget=30000"), "$ ", cpus=(1, 2, 4)),
    Kernel("MACH", "", ("vga", "mem=64M", "budget=4000"), "No bootstrap code loaded"),
    Kernel("XEN", "", ("legacy", "mem=128M", "budget=20000"), "dom0 kernel not specified",
           "console=com1 com1=115200"),
    Kernel("LK", "build-pc-x86-64-test/lk.elf", ("legacy", "mem=64M", "budget=8000"),
           "welcome to lk"),
    Kernel("TBOOT", "", ("legacy", "mem=128M", "budget=8000"), "TB_SHUTDOWN_HALT",
           "logging=serial"),
)  # fmt: skip


def file_of(kernel: Kernel, given: str) -> pathlib.Path:
    """The file to boot. A boot loader unpacks what gzip has packed, and so does this."""
    path = pathlib.Path(given).expanduser()
    if path.is_dir():
        if not kernel.file:
            raise HarnessError(f"{kernel.variable}={given} is a folder; name the kernel's file")
        path /= kernel.file
        if not path.is_file():
            raise HarnessError(f"{path} is not there; build it first: docs/FOREIGN.md says how")
    if not path.is_file():
        raise HarnessError(f"{kernel.variable}={given}: there is no such file")
    data = path.read_bytes()
    if data[:2] != b"\x1f\x8b":
        return path
    FOLDER.mkdir(parents=True, exist_ok=True)
    unpacked = FOLDER / kernel.variable.lower()
    unpacked.write_bytes(gzip.decompress(data))
    return unpacked


def boot_of(kernel: Kernel, path: pathlib.Path, cpus: int) -> Boot:
    """What ends the VM is of no interest, since some of these kernels never end."""
    name = kernel.variable.lower()
    words = (*kernel.words, f"vcpus={cpus}", "expect=any")
    return Boot(name=f"foreign-{name}-{cpus}", mem=512, smp=min(cpus, 2), timeout=TIMEOUT,
                guests=(Guest(path, words, kernel.args, name),))  # fmt: skip


def passes(kernel: Kernel, path: pathlib.Path, cpus: int) -> bool:
    """Boots the kernel, and says whether its text has appeared."""
    result = session.run(boot_of(kernel, path, cpus), lambda text: None)
    found = any(kernel.text in line for line in result.log.read_text(errors="replace").splitlines())
    print(f"{'PASS' if found else 'FAIL'} {kernel.variable}, CPUs: {cpus}:"
          f"{'' if found else ' no'} {kernel.text!r}; {result.log}", flush=True)  # fmt: skip
    return found


def main() -> int:
    given = {kernel: os.environ.get(kernel.variable, "") for kernel in KERNELS}
    if not any(given.values()):
        names = " ".join(f"{kernel.variable}=…" for kernel in KERNELS)
        raise HarnessError(f"name at least one kernel: make foreign {names}; see docs/FOREIGN.md")
    results = []
    for kernel, where in given.items():
        if not where:
            print(f"not given: {kernel.variable}")
            continue
        path = file_of(kernel, where)
        results += [passes(kernel, path, cpus) for cpus in kernel.cpus]
    print(f"{sum(results)} of {len(results)} pass")
    return 0 if all(results) else 1


if __name__ == "__main__":
    run_tool("foreign", main)
