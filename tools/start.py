# SPDX-License-Identifier: MIT
"""What a start costs: instructions from the loader to a guest, host memory, and the image.

The emulator's debugger measures it, without any code in the product. This is the set `start` of
tools/bench.py.
"""

import bisect
import pathlib
import re
import struct
import subprocess
from collections.abc import Iterator

from harness import bochs, session, trace
from harness.boot import BUILD, Boot, Guest
from harness.errors import HarnessError, Status

IMAGE = BUILD / "eptvisor.elf"
GUEST = BUILD / "guest/bench.elf"  # the first guest that tools/compare.py starts under KVM
SMALL_GUEST = BUILD / "guest/hello.elf"
# The parts of the way from the loader's jump to the first instruction of the guest, each with the
# function that ends it.
PARTS = {
    "start_long_mode": "boot_main",
    "start_memory": "tsc_calibrate",
    "start_tsc": "smp_start",
    "start_vmx": "vm_make_piece",
    "start_vm": "",
}
RAM = "backing_populate"  # the function that allocates the guest's RAM
STOPS = 1000  # more than the number of allocations
REGISTER = re.compile(r"^(rdi|rsi): (\w+)_(\w+)", re.M)
RETURN = re.compile(r"STACK 0x\w+ \[0x(\w+):0x(\w+)\]")


def entry_of(program: pathlib.Path) -> int:
    """The entry point of an ELF file of either class."""
    head = program.read_bytes()[:32]
    return struct.unpack_from("<Q" if head[4] == 2 else "<I", head, 24)[0]


def commands_until(addresses: list[int]) -> list[str]:
    """Debugger commands that stop once at each address, in this order. The last address may be in
    a guest, where the first stop is the instruction fetch that faults."""
    commands = []
    for i, address in enumerate(addresses, 1):
        commands += [f"lb {address:#x}", "c", f"d {i}"]
    return [*commands[:-1], "c", commands[-1]]


def _stops(folder: str, guest: pathlib.Path, commands: list[str]) -> list[bochs.Stop]:
    boot = Boot(name=folder, cmdline="mitigations=off", guests=(Guest(guest),),
                debugger=tuple(commands))  # fmt: skip
    run = session.run(boot)
    if run.status != Status.OK:
        raise HarnessError(f"{folder}: {run.reason or 'a test failed'}; see {boot.folder}/")
    return bochs.stops(boot.folder)


def _instructions(folder: str, symbols: dict[str, int]) -> dict[str, int]:
    addresses = [symbols[name] for name in PARTS.values() if name]
    addresses = [entry_of(IMAGE), *addresses, entry_of(GUEST)]
    stops = _stops(folder, GUEST, commands_until(addresses))
    found = {stop.address: stop.instructions for stop in stops}
    if missing := [address for address in addresses if address not in found]:
        raise HarnessError(f"{folder}: the debugger never stopped at {missing[0]:#x}")
    times = [found[address] for address in addresses]
    return {part: b - a for part, a, b in zip(PARTS, times[:-1], times[1:], strict=True)}


def _allocations(folder: str, symbols: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Allocations from before the VM to its end: the caller, and the bytes, negative if freed."""
    alloc, free, end = (symbols[name] for name in ("page_alloc", "page_free", "vm_destroy_piece"))
    begin = [f"lb {symbols['run_guests']:#x}", "c"]
    commands = [*begin, *(f"lb {at:#x}" for at in (alloc, free, end))]
    commands += ["c", "reg", "print-stack 1"] * STOPS
    names = sorted((address, name) for name, address in symbols.items())
    for stop in _stops(folder, SMALL_GUEST, commands)[1:]:
        if stop.address == end:
            return
        registers = {m[1]: int(m[2] + m[3], 16) for m in REGISTER.finditer(stop.answers)}
        back = RETURN.search(stop.answers)
        caller = names[bisect.bisect(names, (int(back[1] + back[2], 16),)) - 1][1]
        if stop.address == alloc:
            yield caller, 4096 << registers["rdi"]
        else:
            yield caller, -4096 << registers["rsi"]
    raise HarnessError(f"{folder}: the VM did not end within {STOPS} stops of the debugger")


def image() -> dict[str, int]:
    lines = subprocess.run(["size", IMAGE], capture_output=True, text=True, check=True).stdout
    head, sizes = (line.split()[:3] for line in lines.splitlines())
    return {f"image_{name}": int(size) for name, size in zip(head, sizes, strict=True)}


def measure(folder: str) -> list[tuple[str, int, str]]:
    """The rows of the set: name, value, unit."""
    symbols = {name: address for address, name in trace.symbols(IMAGE)}
    parts = _instructions(f"{folder}-start", symbols)
    rows = [(name, value, "instructions") for name, value in parts.items()]
    rows.append(("boot_to_guest", sum(parts.values()), "instructions"))
    memory = list(_allocations(f"{folder}-memory", symbols))
    if RAM not in dict(memory):
        raise HarnessError(f"{folder}: {RAM} allocated nothing, but it should "
                           "allocate the guest's RAM")
    rows.append(("vm_bytes", sum(size for name, size in memory if name != RAM), "bytes"))
    return rows + [(name, value, "bytes") for name, value in image().items()]
