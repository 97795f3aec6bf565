# SPDX-License-Identifier: MIT
"""The devices of a PC, used from several CPUs and by drivers that mean harm."""

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
