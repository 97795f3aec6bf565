# SPDX-License-Identifier: MIT
"""A guest resets its VM: with `reset=again` the VM starts anew, as it was at first."""

import pathlib
import re

import pytest
from conftest import BUILD, CODES, hello
from harness.boot import Guest

RESETS = BUILD / "guest/resets.elf"
WORDS = ("pc", "vcpus=2", "reset=again", "budget=60000")
WAYS = {b"c": "by port 0xcf9", b"k": "by the keyboard controller's port"}


@pytest.mark.parametrize("smp", [1, 2])
def test_a_reset_starts_the_vm_anew(person, tmp_path: pathlib.Path, smp: int) -> None:
    """Memory, devices and CPUs are in their initial state each time; the disk and the console are
    not reset."""
    image = tmp_path / "disk"
    image.write_bytes(bytes(0x10000))
    files = (Guest(image, ("disk",), "", "+disk"),)
    with person("r", program=RESETS, words=WORDS, files=files, smp=smp) as who:
        for starts, key in enumerate((b"c", b"k", b"c")):
            before = who.wait_for(b"# ready\r\n")
            assert b"not ok" not in before
            assert before.count(b"    ok ") == 4
            assert b" starts=%d" % starts in before
            who.type(key)
            who.wait_for(f"# vm-r: reset, {WAYS[key]}; it starts again\r\n".encode())
        who.wait_for(b"# ready\r\n")
        who.type(b"q")
        who.wait_for(b"ok 1 vm-r # ended=exit ")
        assert who.wait_for(b"\n").rstrip().endswith(b"resets=3")
        who.wait_for(b"17 passed, 0 failed, 0 skipped")
        who.wait_for(b"EXIT 0 ok")


def test_without_the_word_it_ends(boot) -> None:
    words = tuple(word for word in WORDS if word != "reset=again")
    result = boot(guests=(Guest(RESETS, words, "endless", "r"),))
    assert result.status == 0, result
    assert result.has(r"^ok 1 r # ended=exit exits=\d+$"), result


def test_who_resets_for_ever(boot) -> None:
    """The budget ends a VM that resets for ever, because restarts are charged to it. Its messages
    are bounded, and other VMs run during and after it."""
    endless = Guest(RESETS, ("pc", "reset=again", "budget=1000", "expect=budget"), "endless", "r")
    result = boot(guests=(endless, hello(), Guest(hello().path, ("testctl",), "", "last")),
                  cmdline="parallel=2 counters=1")  # fmt: skip
    assert result.status == 0, result
    assert result.passed("hello"), result
    assert result.passed("last"), result
    text = "\n".join(result.lines)
    resets = int(re.search(r"\nok 1 r # ended=budget exits=\d+ resets=(\d+)", text)[1])
    assert 5 <= resets <= 3000, result
    assert text.count("it starts again") <= 512
    assert int(re.search(r"the longest took (\d+) TSC ticks", text)[1]) <= 60000, result


def test_a_vm_that_cannot_reset(boot) -> None:
    result = boot(guests=(Guest(hello().path, ("reset=again",), "", "r"),))
    assert result.exit == CODES.MODULE_WORDS, result
    assert result.has("guest r: reset=again: only a PC has a register by which a guest resets its "
                      "VM; add the word pc"), result  # fmt: skip
