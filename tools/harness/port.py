# SPDX-License-Identifier: MIT
"""The console of a machine that somebody else starts: a serial port of this computer, a console
server, or a program that shows it."""

import contextlib
import errno
import fcntl
import os
import pty
import re
import select
import socket
import subprocess
import termios
import tty
from collections.abc import Iterator
from typing import Protocol

from .errors import HarnessError

KINDS = ("a device such as PORT=/dev/ttyUSB0, PORT=telnet:HOST:PORT, or PORT=cmd:COMMAND, whose "
         "output is the console")  # fmt: skip
CONNECTING = 10.0  # seconds


class Port(Protocol):
    def read(self, timeout: float) -> bytes | None:
        """What has come within so many seconds; None: nothing can come any more."""

    def write(self, data: bytes) -> None: ...

    def why(self) -> str:
        """Why nothing can come any more."""


class _File:
    """A terminal of this computer: a serial port, or that of a program."""

    def __init__(self, fd: int, name: str, program: subprocess.Popen[bytes] | None = None) -> None:
        self.fd, self.name, self.program = fd, name, program

    def read(self, timeout: float) -> bytes | None:
        ready, _, _ = select.select([self.fd], [], [], timeout)
        if not ready:
            return b""
        try:
            return os.read(self.fd, 65536) or None
        except BlockingIOError:
            return b""
        except OSError:  # unplugged, or the program has ended
            return None

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self.fd, data)

    def why(self) -> str:
        if not self.program:
            return f"{self.name} has gone: was it unplugged?"
        with contextlib.suppress(subprocess.TimeoutExpired):
            return f"the command of PORT= ended with status {self.program.wait(1)}"
        return "the command of PORT= has closed its output"


class Telnet:
    """Takes the commands of telnet out of what a console server sends (RFC 854), and refuses all
    options, so that bytes stay as they are."""

    IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240

    def __init__(self) -> None:
        self.command = b""  # incomplete, from IAC on

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Returns the console's bytes, and what to answer."""
        text, answer = bytearray(), bytearray()
        for byte in data:
            if not self.command and byte != self.IAC:
                text.append(byte)
                continue
            self.command += bytes([byte])
            if self._complete():
                if self.command == bytes([self.IAC, self.IAC]):
                    text.append(self.IAC)
                answer += self._answer()
                self.command = b""
        return bytes(text), bytes(answer)

    def _complete(self) -> bool:
        if len(self.command) < 2:
            return False
        kind = self.command[1]
        if kind == self.SB:
            return self.command.endswith(bytes([self.IAC, self.SE]))
        return kind not in (self.DO, self.DONT, self.WILL, self.WONT) or len(self.command) == 3

    def _answer(self) -> bytes:
        refusals = {self.DO: self.WONT, self.WILL: self.DONT}
        if self.command[1] not in refusals:
            return b""
        return bytes([self.IAC, refusals[self.command[1]], self.command[2]])


class _Server:
    def __init__(self, connection: socket.socket, name: str) -> None:
        self.connection, self.name, self.telnet = connection, name, Telnet()

    def read(self, timeout: float) -> bytes | None:
        ready, _, _ = select.select([self.connection], [], [], timeout)
        if not ready:
            return b""
        with contextlib.suppress(OSError):
            if data := self.connection.recv(65536):
                text, answer = self.telnet.feed(data)
                self.connection.sendall(answer)
                return text
        return None

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(data.replace(b"\xff", b"\xff\xff"))

    def why(self) -> str:
        return f"{self.name} has closed the connection"


def _open_device(path: str, baud: int) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        advice = {
            errno.ENOENT: f"; choose {KINDS}",
            errno.EACCES: "; a member of the group dialout may use it",
            errno.EBUSY: "; another program uses it",
        }.get(error.errno or 0, "")
        raise HarnessError(f"PORT={path}: {error.strerror}{advice}") from error
    speed = getattr(termios, f"B{baud}", None)
    try:
        if speed is None:
            raise HarnessError(f"BAUD={baud}: no serial port has this speed; 115200 is eptvisor's")
        tty.setraw(fd)
        settings = termios.tcgetattr(fd)
        settings[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
        settings[4] = settings[5] = speed
        termios.tcsetattr(fd, termios.TCSANOW, settings)
        fcntl.ioctl(fd, termios.TIOCEXCL)  # a second reader would take every other character
    except termios.error as error:
        os.close(fd)
        raise HarnessError(f"PORT={path}: {error.args[1]}; it is no serial port") from error
    except HarnessError:
        os.close(fd)
        raise
    return fd


@contextlib.contextmanager
def _program(command: str) -> Iterator[Port]:
    """Programs such as `ipmitool sol activate` want a terminal of their own."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    with subprocess.Popen(command, shell=True, stdin=theirs, stdout=theirs, stderr=theirs,
                          start_new_session=True) as process:  # fmt: skip
        os.close(theirs)
        try:
            yield _File(ours, command, process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            os.close(ours)


@contextlib.contextmanager
def opened(name: str, baud: int) -> Iterator[Port]:
    """Opens what PORT= names."""
    kind, _, rest = name.partition(":")
    if not name:
        raise HarnessError(f"MACHINE=serial needs PORT=: {KINDS}")
    if kind == "cmd":
        with _program(rest) as port:
            yield port
    elif kind == "telnet":
        host, _, number = rest.rpartition(":")
        if not host or not re.fullmatch(r"\d{1,5}", number):
            raise HarnessError(f"PORT={name}: choose {KINDS}")
        try:
            connection = socket.create_connection((host.strip("[]"), int(number)), CONNECTING)
        except (OSError, OverflowError) as error:
            raise HarnessError(f"PORT={name}: {error}") from error
        with connection:
            yield _Server(connection, name)
    else:
        fd = _open_device(name, baud)
        try:
            yield _File(fd, name)
        finally:
            with contextlib.suppress(OSError):
                fcntl.ioctl(fd, termios.TIOCNXCL)
            os.close(fd)
