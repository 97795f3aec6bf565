# SPDX-License-Identifier: MIT
"""Somebody at the serial console: whom the keys reach, and what is shown. The guest is
guest/programs/echo.c."""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import pty
import select
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import linux
import pytest
from conftest import CODES, ROOT, Person
from harness import terminal
from harness.boot import Guest


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
        who.wait_for_vm(b"vm-bob")
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
        who.wait_for_vm(b"vm-bob")
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
        who.wait_for_vm(b"vm-bob")
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
    screen.write(b"EXIT 0 ok\r\r\n")  # as the Linux of MACHINE=nested passes it on
    assert screen.end() == (0, "ok")
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


TALK = """
import socket, sys
sys.path.insert(0, "tools")
from harness import terminal
server = socket.socket(fileno=int(sys.argv[1]))
terminal.talk(server, lambda: True, lambda: "", bytes.fromhex(sys.argv[2]))
"""
BEFORE = b"eptvisor: a hypervisor\r\nKTAP version 1\r\n1..1\r\n# li"
BEGINS = b"nux: 256 MiB\r\n"
SOON, QUIET = 30.0, 1.0  # seconds; the terminal looks at its size several times in QUIET


@dataclasses.dataclass
class Desk:
    """A person's side and the machine's side of a terminal.talk() that runs in a terminal."""

    keys: int  # the master of the terminal
    machine: socket.socket

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.keys, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.keys, keys)

    def gets(self, expected: bytes) -> None:
        """The machine gets these bytes, and then none for a while."""
        got = b""
        seconds = SOON if expected else QUIET
        while select.select([self.machine], [], [], seconds)[0]:
            data = self.machine.recv(256)
            assert data, got
            got += data
            seconds = SOON if len(got) < len(expected) else QUIET
        assert got == expected

    def shows(self, expected: bytes) -> None:
        """The person sees these bytes, and then none for a while."""
        shown = b""
        while select.select([self.keys], [], [], SOON if shown != expected else QUIET)[0]:
            shown += os.read(self.keys, 4096)
        assert shown == expected


@contextlib.contextmanager
def desk(key: bytes, to_file: bool = False) -> Iterator[Desk]:
    master, slave = pty.openpty()
    with terminal.listen() as server:
        server.settimeout(None)
        number = server.fileno()
        process = subprocess.Popen(
            [sys.executable, "-c", TALK, str(number), key.hex()], cwd=ROOT, pass_fds=[number],
            stdin=slave, stdout=subprocess.DEVNULL if to_file else slave,
        )  # fmt: skip
        with socket.create_connection(server.getsockname()) as machine:
            here = Desk(master, machine)
            here.resize(132, 45)
            yield here
        assert process.wait(SOON) == 0
    os.close(slave)
    os.close(master)


def test_the_terminal_tells_its_size() -> None:
    """When the first VM has begun, and after each change. Nothing of it is shown."""
    with desk(b"\x01") as here:
        here.machine.sendall(BEFORE)
        here.shows(BEFORE)
        here.gets(b"")
        here.machine.sendall(BEGINS)
        here.gets(b"\x01w132x45\r")
        here.resize(100, 30)
        here.gets(b"\x01w100x30\r")
        here.resize(0, 0)  # the terminal does not know it
        here.gets(b"")
        here.resize(20000, 10)
        here.gets(b"\x01w9999x10\r")
        here.resize(30000, 10)
        here.gets(b"")
        here.machine.sendall(b"/ # ")
        here.shows(BEGINS + b"/ # ")


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"\x01", b"2"),
        (b"\x01", b"\x01"),  # ^A for the guest
        (b"ls\x01w", b"80x24\r"),
        (b"\x01w0123", b"4x1\r"),
        (b"\x01w00", b"80x24\r"),
        (b"\x01w80x2", b"\x01"),  # which ends the command
        (b"\x01\x01\x01", b"?"),
        (b"", b"\x01\x01w"),
        (b"", b"\x01w12345"),
        (b"", b"\x01w80x24x"),
        (b"", b"\x1b["),  # of a cursor key, which is the guest's
    ],
)
def test_the_size_waits_for_a_command(first: bytes, rest: bytes) -> None:
    """A size is not sent after `first`, but after `rest`."""
    with desk(b"\x01") as here:
        here.machine.sendall(BEFORE + BEGINS)
        here.gets(b"\x01w132x45\r")
        here.type(first)
        here.gets(first)
        if first:
            here.resize(80, 25)
            here.gets(b"")
        here.type(rest)
        if not first:
            here.gets(rest)
            here.resize(80, 25)
        here.gets(rest * bool(first) + b"\x01w80x25\r")


@pytest.mark.parametrize(("key", "to_file"), [(b"", False), (b"\x01", True)])
def test_no_size_is_told(key: bytes, to_file: bool) -> None:
    """Without an escape key, or if the output goes elsewhere."""
    with desk(key, to_file) as here:
        here.machine.sendall(BEFORE + BEGINS)
        here.gets(b"")
        here.resize(80, 25)
        here.gets(b"")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"PCI": "1"}, b"\x01"),
        ({"PCI": "1", "ESCAPE": "b"}, b"\x02"),
        ({"PCI": "1", "ESCAPE": "off"}, b""),
        ({"PCI": "1", "ESCAPE": "1"}, b""),
        ({"ESCAPE": "b"}, b""),
        ({"WORDS": "console=virtio"}, b"\x01"),
    ],
)
def test_who_is_told_the_size(options: dict[str, str], key: bytes, monkeypatch) -> None:
    monkeypatch.setitem(linux.MAKERS, "linux", lambda words, **_: (Guest(ROOT, words),))
    monkeypatch.setattr(linux.debian, "machine_memory", lambda *_: 1)
    for name in ("PCI", "ESCAPE", "WORDS", "DISK"):
        monkeypatch.setenv(name, options.get(name, ""))
    assert linux.window_key(linux.machine("linux", 1, 1, 256)) == key
