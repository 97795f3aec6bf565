#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs programs that test a machine in a VM with Linux: `make linux-stress`, `linux-selftests`, or
in a TDX guest, `make tdx-stress`, `tdx-selftests`.

The arguments are `linux` or `tdx`, `stress` or `selftests`, and the folder with the programs. The
environment contains the options: VCPUS is the number of vCPUs, MEM the VM's RAM in MiB,
SECONDS_EACH how long each group of stressors runs, in seconds of the guest, and CMDLINE further
parameters for the kernel.
"""

import os
import pathlib
import re
import subprocess
import sys

from harness import debian, session
from harness.boot import BUILD, ROOT, Boot, variable
from harness.errors import HarnessError, Status, run_tool

TIMEOUT = 3000.0  # seconds of the emulator's CPU time


def dynamic(command: list[str]) -> dict[str, pathlib.Path]:
    """Returns the files of a program, by their paths in the initrd. `command` is what
    tools/unpack.sh prints: the loader, the path of the libraries, and the program."""
    loader, option, path, program = command
    tree = program.removesuffix("/usr/bin/stress-ng")
    listed = subprocess.run(
        [loader, option, path, "--list", program], check=True, capture_output=True, text=True
    ).stdout
    files = {f"bin/{pathlib.Path(program).name}": pathlib.Path(program)}
    for name, where in re.findall(r"^\s*(\S+) => (\S+)", listed, re.MULTILINE):
        if not where.startswith(f"{tree}/"):
            raise HarnessError(f"{program} needs {name}, which was not unpacked")
        inside = name.lstrip("/") if "/" in name else f"lib/x86_64-linux-gnu/{name}"
        files[inside] = pathlib.Path(where)
    return files


def programs(what: str, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    files = {what: ROOT / "tools/linux" / what}
    if what == "selftests":
        return files | {f"tests/{path.name}": path for path in sorted(folder.iterdir())}
    return files | dynamic((folder / "command").read_text().split())


def main() -> int:
    kind, what, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]).resolve()
    vcpus, mem = variable("VCPUS", 4), variable("MEM", 512)
    seconds = os.environ.get("SECONDS_EACH") or "10"
    path = BUILD / "linux" / f"initrd-{kind}-{what}"
    words = debian.TDX_WORDS if kind == "tdx" else ""
    line = f"{os.environ.get('CMDLINE') or ''} {what} seconds={seconds}"
    if kind == "tdx":
        initrd = debian.make_tdx_initrd(path, programs(what, folder))
        guests = debian.tdx_guests(initrd=initrd, cmdline=f"{debian.TDX_CMDLINE} {line}",
                                   vcpus=vcpus, mem=mem)  # fmt: skip
    else:
        initrd = debian.make_initrd(path, programs(what, folder))
        guests = debian.guests(initrd=initrd, cmdline=f"{debian.CMDLINE} {line}", vcpus=vcpus,
                               mem=mem)  # fmt: skip
    boot = Boot(
        name=f"{kind}-{what}", guests=guests, cmdline=words, smp=vcpus, ips=debian.IPS,
        mem=debian.machine_memory(mem, guests), timeout=TIMEOUT,
    )  # fmt: skip
    run = session.run(boot, lambda text: print(text, flush=True))
    if run.status != Status.OK:
        print(f"{kind}-{what}: status {run.status} {run.reason}", file=sys.stderr)
    return run.status


if __name__ == "__main__":
    run_tool("linux", main)
