# SPDX-License-Identifier: MIT
"""Connects the user's terminal to the serial port of a machine, which is a TCP connection."""

import contextlib
import os
import re
import select
import socket
import sys
import termios
import time
import tty
from collections.abc import Iterator

from .errors import Status

ESCAPE = b"\x01"  # ^A: then x ends the machine, and ^A sends one
EXIT = re.compile(rb"(?:^|\n)EXIT (\d+) [a-z0-9-]+\r?\n")
TAIL = 200  # bytes of earlier output in which an EXIT line may begin
POLL = 0.2
# ^D, which ends a shell. It is sent again, because a byte that arrives before the guest has set up
# its UART is lost.
END_OF_INPUT = b"\x04"
END_AGAIN = 2.0


class Keys:
    """Interprets the escape key in what the user types."""

    def __init__(self) -> None:
        self.escaped = False

    def feed(self, data: bytes) -> bytes | None:
        """Returns the bytes to send to the machine, or None if the user wants to end it."""
        out = b""
        for byte in (data[i : i + 1] for i in range(len(data))):
            if self.escaped and byte in b"xX":
                return None
            if not self.escaped and byte == ESCAPE:
                self.escaped = True
                continue
            out += byte
            self.escaped = False
        return out


def listen() -> socket.socket:
    """Returns a listening socket on the loopback address, to which the emulator connects."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    return server


@contextlib.contextmanager
def _raw() -> Iterator[bool]:
    """Puts the terminal into raw mode, in which every key is read at once, including ^C. Yields
    False if standard input is not a terminal."""
    if not sys.stdin.isatty():
        yield False
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield True
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _show(data: bytes, raw: bool) -> None:
    """Prints output of the machine. A raw terminal needs a CR before each LF."""
    sys.stdout.buffer.write(re.sub(rb"(?<!\r)\n", b"\r\n", data) if raw else data)
    sys.stdout.buffer.flush()


def talk(server: socket.socket, alive) -> int:
    """Passes bytes between the terminal and the machine until the session ends. Returns the code of
    the machine's EXIT line, Status.DIED if the machine has ended without one, or Status.INTERRUPTED
    if the user ended the machine with the escape key. The end of standard input ends the guest's
    shell."""
    keys, tail, inputs, ends = Keys(), b"", [0], 0.0
    server.settimeout(POLL)
    with _raw() as raw:
        connection = None
        while connection is None:
            if not alive():
                return Status.DIED
            with contextlib.suppress(TimeoutError):
                connection, _ = server.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                ready, _, _ = select.select([connection, *inputs], [], [], POLL)
                if connection in ready:
                    data = connection.recv(4096)
                    if not data:
                        return Status.DIED
                    _show(data, raw)
                    tail = tail[-TAIL:] + data
                    if found := EXIT.search(tail):
                        return int(found[1])
                if 0 in ready:
                    typed = os.read(0, 256)
                    if not typed:
                        inputs.clear()
                        ends = time.monotonic()
                    sent = keys.feed(typed)
                    if sent is None:
                        return Status.INTERRUPTED
                    connection.sendall(sent)
                if not inputs and time.monotonic() >= ends:
                    connection.sendall(END_OF_INPUT)
                    ends += END_AGAIN
                if not ready and not alive():
                    return Status.DIED
