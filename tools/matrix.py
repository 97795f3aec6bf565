#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Boots Debian's kernels in VMs, each in every way, and prints a table: `make linux-matrix`.

Each boot runs the checks of tools/linux/check. The environment contains the options:

KERNELS=  which kernels, of those in KERNELS below   ENTRIES=  of bzimage, pvh, 64
VCPUS=    numbers of vCPUs, of 1, 2 and 4            CMDLINE=  the kernel's command line
MACHINE=  bochs, or nested, which has one CPU        TIMEOUT=  seconds of CPU time (900)
BOCHS=    the version of the emulator

"M to the shell" is the TSC in millions when the first program runs. With one CPU the emulator's TSC
counts the instructions since power-on, which include the firmware's and the hypervisor's start.
"exits" are those of the whole VM until it turns its machine off.

A boot that has passed is not repeated until the image, the kernel, the initrd or the command line
changes, so that a matrix that was interrupted goes on where it was.
"""

import os
import subprocess

from harness import debian, session
from harness.boot import BUILD, ROOT, Boot, variable
from harness.errors import HarnessError, Status, run_tool

# The release and metapackage that name a kernel.
KERNELS = {
    f"{release}-{flavour}": (release, f"linux-image-{middle}amd64")
    for release in ("bookworm", "bookworm-backports", "trixie")
    for flavour, middle in (("cloud", "cloud-"), ("generic", ""))
}
# What is booted, and the words that choose the entry point.
ENTRIES = {"bzimage": ("vmlinuz", ()), "pvh": ("vmlinux", ("entry=pvh",)),
           "64": ("vmlinux", ("entry=64",))}  # fmt: skip
METHODS = {"bochs": "optrom", "nested": "kernel"}
# The most that a boot may take in the machine's own time, in seconds: three times what the slowest
# kernel takes, which decompresses itself for two minutes.
MACHINE_TIME = 360
# Further parameters of the kernel. QEMU hides from its guests that the TSC is invariant, so that
# they could be moved to another computer, and Linux then prefers the PM timer.
WORDS = {"bochs": "", "nested": " wanted_clock=acpi_pm"}
ROW = "row"  # the file in a boot's folder that has its row of the table, if it passed

env = os.environ.get


def chosen(name: str, among: list[str]) -> list[str]:
    words = (env(name) or " ".join(among)).split()
    for word in words:
        if word not in among:
            raise HarnessError(f"{name}={word}: choose from {' '.join(among)}")
    return words


def fetch(kernel: str) -> str:
    """Downloads a kernel unless it is there. Returns its version."""
    folder = BUILD / "linux/kernels" / kernel
    if not folder.is_dir():
        if env("NO_DEPS"):
            raise HarnessError(f"{folder} is not there, and NO_DEPS forbids to download it")
        command = [ROOT / "tools/linux/fetch.sh", folder, *KERNELS[kernel]]
        if subprocess.run(command, check=False).returncode:
            raise HarnessError(f"{kernel}: the kernel cannot be downloaded")
    return (folder / "package").read_text().split("Version: ")[1].strip()


def boot(kernel: str, entry: str, vcpus: int, machine: str) -> Boot:
    file, words = ENTRIES[entry]
    path = BUILD / "linux/kernels" / kernel / file
    cmdline = (env("CMDLINE") or debian.CMDLINE) + WORDS[machine]
    guests = debian.checked(vcpus, cmdline, kernel=path, words=words)
    nested = machine == "nested"
    return Boot(
        name=f"matrix/{machine}{env('BOCHS', '')}-{kernel}-{entry}-{vcpus}", machine=machine,
        method=METHODS[machine], guests=guests, mem=debian.machine_memory(debian.MEM, guests),
        smp=1 if nested else vcpus, ips=0 if nested else debian.IPS,
        machine_time=0 if nested else MACHINE_TIME, timeout=variable("TIMEOUT", 900),
    )  # fmt: skip


def row(run: session.Run) -> tuple[str, str, str]:
    """The result, millions of ticks to the shell, and exits."""
    counters = run.output.counters
    passed = [case for case in run.output.cases if case.leaf and case.passed]
    failed = run.output.failures
    result = f"{len(passed)} checks passed"
    if run.status != Status.OK:
        why = "; ".join(case.path for case in failed) or run.reason or run.output.exit_name
        result = f"FAILED ({run.status}): {why}"
    (vm,) = [case for case in run.output.cases if case.name == "linux"] or [None]
    exits = str(vm.counters.get("exits", "")) if vm else ""
    return result, str(counters.get("shell_at_M", "")), exits


def strings(boot: Boot) -> str:
    return "".join(f"{guest.string}\n" for guest in boot.guests)


def kept(boot: Boot) -> str:
    """The row of an earlier run that passed with the same files and strings, or nothing."""
    path = boot.folder / ROW
    files = [boot.image, boot.image32, *(guest.path for guest in boot.guests)]
    if not path.is_file() or path.stat().st_mtime <= max(f.stat().st_mtime for f in files):
        return ""
    text, same = path.read_text(), strings(boot)
    return text.removeprefix(same) if text.startswith(same) else ""


def ran(boot: Boot) -> tuple[str, int]:
    """Returns the end of the boot's row, and its status. Runs it unless it has passed before."""
    if text := kept(boot):
        return text, Status.OK
    run = session.run(boot)
    text = f"{' | '.join(row(run))} | {run.seconds:.0f} |"
    if run.status == Status.OK:
        (boot.folder / ROW).write_text(strings(boot) + text)
    return text, run.status


def main() -> int:
    machine = env("MACHINE") or "bochs"
    if machine not in METHODS:
        raise HarnessError(f"MACHINE={machine}: choose from {' '.join(METHODS)}")
    kernels = chosen("KERNELS", list(KERNELS))
    entries = chosen("ENTRIES", list(ENTRIES))
    numbers = chosen("VCPUS", ["1", "2", "4"])
    versions = {kernel: fetch(kernel) for kernel in kernels}
    print("| kernel | entry | vCPUs | result | M to the shell | exits | s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    status = Status.OK
    for kernel in kernels:
        for entry in entries:
            for vcpus in numbers:
                text, ended = ran(boot(kernel, entry, int(vcpus), machine))
                print(f"| {kernel} {versions[kernel]} | {entry} | {vcpus} | {text}", flush=True)
                status = status or ended
    return status


if __name__ == "__main__":
    run_tool("linux-matrix", main)
