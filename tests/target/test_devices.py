# SPDX-License-Identifier: MIT
"""The devices of a PC, used from several CPUs and by hostile drivers."""

import re

import pytest
from conftest import BUILD, Guest

DISK = BUILD / "guest" / "disk.elf"


def test_work_survives_an_init(boot) -> None:
    """The vCPU that has notified the disk is stopped by an INIT, and another one, which is halted,
    does the rest of the work."""
    image = Guest(BUILD / "guest" / "mmio.elf", ("disk",), "", "+image")
    result = boot(guests=(Guest(DISK, ("pc", "vcpus=2")), image), smp=2)
    assert result.status == 0, result
    (case,) = [case for case in result.output.cases if case.name == "init_leaves_work"]
    assert case.counters["left"] > 8, "the disk was faster than the INIT"


def test_pci(boot) -> None:
    """A driver and a hostile one on three vCPUs, which move BARs all the time, and a driver of a
    virtio disk on the bus, beside a VM that keeps its results and its time."""
    neighbour = Guest(NEIGHBOUR, ("testctl", "mem=4M", "budget=60000"), "rounds=160 late=700000")
    pci = Guest(BUILD / "guest" / "pci.elf", ("testctl", "pci", "vcpus=3", "budget=60000"))
    virtio = Guest(BUILD / "guest" / "virtio_pci.elf", ("pci", "mem=4M", "budget=60000"))
    image = Guest(IMAGE, ("disk",), "", "+virtio_pci")
    guests = (neighbour, pci, virtio, image)
    result = boot(guests=guests, smp=2, cmdline="parallel=2")
    assert result.status == 0, result
    (case,) = [case for case in result.output.cases if case.name == "storm"]
    assert case.counters["hits"] > 0, "nobody saw a BAR in its place"
    assert result.has("^# pci: error: pci 0:1f.0 .test function.: BAR . is at 0x"), result


HOSTILE = BUILD / "guest" / "hostile_devices.elf"
NEIGHBOUR = BUILD / "guest" / "neighbour.elf"
IMAGE = BUILD / "guest" / "mmio.elf"
REASONS = (
    r"queue \d: its size is \d+, but must be a power of two up to 64",
    r"queue \d: its parts at 0x\w+, 0x\w+ and 0x\w+ must be multiples of 16, 2 and 4",
    r"queue \d: the (descriptor table|available ring|used ring) at 0x\w+ is not in its RAM",
    r"queue \d: a buffer of \d+ bytes at 0x\w+ is not in its RAM",
    r"queue \d: \d+ chains are available in a queue of \d+",
    r"queue \d: descriptor \d+ of a table of \d+",
    r"queue \d: an indirect (descriptor|table) ",
    r"its driver takes the features 0x\w+ of 0x\w+, but must take 0x\w+",
)


@pytest.mark.parametrize(
    ("smp", "vcpus", "words"), [(1, 1, ""), (2, 2, "shared=39"), (1, 3, "")]
)
def test_hostile_drivers(boot, smp: int, vcpus: int, words: str) -> None:
    """The disk refuses invalid requests of its driver, says why, and works after a reset. An
    innocent VM on the same machine keeps its results and its time."""
    guests = [Guest(NEIGHBOUR, ("testctl", "mem=4M", "budget=60000"), "rounds=160 late=700000")]
    for seed in range(8):
        name = f"t{seed}"
        own = ("testctl", "pc", f"vcpus={vcpus}", "mem=4M", "budget=20000", *filter(None, [words]))
        word = "disk=ro" if seed == 7 else "disk"
        guests += [Guest(HOSTILE, own, f"seed={100 * smp + seed} steps=300 tame", name),
                   Guest(IMAGE, (word,), "", f"+{name}")]  # fmt: skip
    result = boot(guests=tuple(guests), smp=smp, cmdline=f"parallel={2 * smp}")
    failed = [case.name for case in result.output.failures]
    assert failed == ["t7"], result  # its disk is read-only, so it refuses the write at the end
    said = [line for line in result.lines if re.match(r"# t\d: error: virtio disk: ", line)]
    for reason in REASONS:
        assert any(re.search(reason, line) for line in said), reason
    assert result.has("all memory was returned"), result
