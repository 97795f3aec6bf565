# SPDX-License-Identifier: MIT
"""Somebody at the serial console: whom the keys reach, and what is shown. The guest is
guest/programs/echo.c."""

import dataclasses
import pathlib

import pytest
from conftest import CODES, Person
from harness import terminal


def ended(who: Person, code: tuple[int, str]) -> None:
    who.wait_for(f"EXIT {code[0]} {code[1]}".encode())


@pytest.mark.parametrize("smp", [1, 2])
def test_two_vms_share_the_console(person, smp: int) -> None:
    """^A and a number switches to a VM. The output of the other VM waits until that one is
    chosen."""
    with person("ada", "bob", smp=smp) as who:
        who.wait_for(b"ada> ")
        who.type(b"one\n")
        who.wait_for(b"ada read 'one'")
        who.wait_for(b"ada> ")
        who.type(b"\x012")
        assert who.wait_for(b"# console: VM 2 vm-bob\r\n").strip() == b""
        who.wait_for(b"bob> ")
        who.type(b"two\n")
        who.wait_for(b"bob read 'two'")
        who.wait_for(b"bob> ")
        who.type(b"\x01?")
        who.wait_for(b"# console: VM 1 vm-ada\r\n# console: VM 2 vm-bob, which has the input\r\n")
        who.type(b"\x01nthree\n")
        who.wait_for(b"# console: VM 1 vm-ada\r\n")
        who.wait_for(b"ada read 'three'")
        who.type(b"\x012quit\n")
        who.wait_for(b"ok 2 vm-bob")
        who.wait_for(b"# console: VM 1 vm-ada\r\n")
        who.type(b"quit\n")
        who.wait_for(b"ok 1 vm-ada")
        ended(who, CODES.OK)


def test_a_busy_vm_waits_unseen(person) -> None:
    """The output of a VM that prints all the time is not shown while another VM has the console. It
    neither hides the other's output nor takes its input."""
    with person("ada busy", "bob") as who:
        for _ in range(3):
            who.wait_for(b"ada is busy")
        who.type(b"\x012")
        who.wait_for(b"# console: VM 2 vm-bob")
        who.wait_for(b"bob> ")
        assert b"busy" not in who.seen
        who.type(b"hello\n")
        assert b"busy" not in who.wait_for(b"bob read 'hello'")
        who.type(b"\x011")
        who.wait_for(b"# console: VM 1 vm-ada")
        who.wait_for(b"ada is busy")
        who.type(b"\x01x")
        ended(who, CODES.STOPPED)


def test_a_deaf_vm(person) -> None:
    """Input for a VM that does not read is dropped, but the escape key still works."""
    with person("ada deaf", "bob") as who:
        who.wait_for(b"# vm-ada: ")
        who.type(b"x" * 3000 + b"\x012")
        who.wait_for(b"# console: VM 1 does not read its input, so further keys for it are dropped")
        who.wait_for(b"# console: VM 2 vm-bob")
        who.type(b"hello\n")
        who.wait_for(b"bob read 'hello'")
        who.type(b"\x01x")
        ended(who, CODES.STOPPED)


@pytest.mark.parametrize(
    ("cmdline", "keys", "read"),
    [
        ("", b"a\x01\x01b\x02", b"a\x01b\x02"),
        ("escape=b", b"a\x02\x02b\x01", b"a\x02b\x01"),
        ("escape=off", b"\x01x\x02x", b"\x01x\x02x"),
    ],
)
def test_the_escape_key(person, cmdline: str, keys: bytes, read: bytes) -> None:
    with person("ada", cmdline=cmdline) as who:
        who.wait_for(b"ada> ")
        who.type(keys + b"\n")
        who.wait_for(b"ada read '" + read + b"'")


def test_lines_are_marked_without_live(person) -> None:
    """A VM without the word `live` also gets input, and cannot print a line that looks like one of
    the hypervisor's."""
    with person("ada forge", words=("pc", "budget=3600000")) as who:
        who.wait_for(b"\n    EXIT 0 ok\r\n    # console: VM 2 forged\r\n")
        who.type(b"hello\n")
        who.wait_for(b"    ada> ada read 'hello'\r\n")
        who.type(b"\x01?")
        who.wait_for(b"\n# console: VM 1 vm-ada, which has the input\r\n")
        who.type(b"quit\n")
        ended(who, CODES.OK)


def test_a_forged_end() -> None:
    """The terminal of `make linux` accepts an EXIT line only as the machine's last line."""
    out = (pathlib.Path("/dev/null")).open("wb")
    screen = terminal.Screen(out, False, None)
    screen.write(b"EXIT 0 ok\r\n$ ")
    assert screen.end() == (125, "")
    screen.write(b"\r\nEXIT 24 guest-too-large\r\n")
    assert screen.end() == (24, "guest-too-large")
    screen.write(b"EXIT 0 ok x\n")
    assert screen.end() == (125, "")


@dataclasses.dataclass
class Written:
    """A file that keeps what was written."""

    data: bytes = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def flush(self) -> None:
        pass


def test_the_progress_line(monkeypatch) -> None:
    """The progress line appears where a line begins, after a while without output, and disappears
    with the next output."""
    now = 100.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    out, said = Written(), "[9 s]"
    screen = terminal.Screen(out, True, lambda: said)
    screen.write(b"one\n")
    now += terminal.QUIET - 0.1
    screen.tick()
    assert out.data == b"one\r\n"
    now += 0.2
    screen.tick()
    assert out.data == b"one\r\n\r[9 s]\x1b[K"
    screen.write(b"$ ")
    assert out.data == b"one\r\n\r[9 s]\x1b[K\r\x1b[K$ "
    now += 100
    screen.tick()  # behind a prompt
    assert out.data.endswith(b"$ ")
    said = ""  # the emulator rests
    screen.write(b"\n")
    now += 100
    screen.tick()
    assert out.data.endswith(b"$ \r\n")
