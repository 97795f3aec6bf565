# SPDX-License-Identifier: MIT
"""The log survives a warm reset: the next boot finds it in RAM and prints it (rule N95)."""

import pytest
from conftest import CODES, Result, hello

from harness import serial

START = "eptvisor: a hypervisor "
LAST = "kept log: this was the log of boot 1; this is boot 2 since the machine was switched on"
# The debugger of Bochs stops at the triple fault.
MACHINES = {"bochs": {"guests": (hello(),), "debugger": ("c",)},
            "qemu-tcg": {"method": "kernel", "guests": ()}}  # fmt: skip


def boots(result: Result) -> list[list[str]]:
    """What each boot of the machine has printed, from the image's first line on."""
    lines = [line.rstrip() for line in serial.clean(result.run.log.read_text(errors="replace"))]
    starts = [i for i, line in enumerate(lines) if line.startswith(START)]
    return [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]


@pytest.mark.parametrize("machine", MACHINES)
def test_two_resets(boot, machine: str) -> None:
    """A triple fault resets the machine before its EXIT line; the next boot prints the whole log of
    that one, and resets the machine as on_exit= demands; the third boot says how the second one
    ended."""
    result = boot(machine=machine, cmdline="provoke=triple on_exit=reboot", exits=2,
                  **MACHINES[machine])  # fmt: skip
    first, second, third = boots(result)[:3]
    assert any(line.startswith("boot: ") for line in first), first
    assert not any(serial.EXIT.match(line) for line in first), first

    found = [line.removeprefix("before| ") for line in second if line.startswith("before| ")]
    assert found == [line for line in first if line in found], second
    assert [line for line in first if line and line not in found] == [], second
    assert second[1].startswith("kept log: boot 1 did not end: "), second
    assert second[2 + len(found)] == LAST, second

    (ended,) = [line for line in second if serial.EXIT.match(line)]
    assert third[1] == "kept log: boot 2 ended with " + ended, third
    assert not any(line.startswith("before| ") for line in third), third
    assert result.exit == (CODES.OK if machine == "bochs" else CODES.NO_VMX), result
