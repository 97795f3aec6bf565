# SPDX-License-Identifier: MIT
"""Connects the user's terminal to the serial port of a machine, which is a TCP connection.

All bytes pass unchanged: it is the hypervisor that interprets the escape key (vm/input.h). Only the
command that tells it the size of the window, and ^D at the end, have not been typed.
"""

import contextlib
import os
import re
import select
import socket
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator

from .errors import Status

# Only the machine's last line counts, because a guest with a live console can print such lines.
# With MACHINE=nested, the terminal of the Linux below adds a CR.
EXIT = re.compile(rb"(?:^|\n)EXIT (\d+) ([a-z0-9-]+)\r*\n\Z")
TAIL = 200  # bytes of the last output, in which the EXIT line is
# The first VM begins. From then on the hypervisor reads what is typed; what was sent earlier could
# be lost when the hypervisor sets up the serial port.
BEGUN = re.compile(rb"^# \S+: \d+ MiB", re.MULTILINE)
WINDOW_MOST = 9999  # columns or rows that the hypervisor takes
POLL = 0.2
# ^D, which ends a shell. It is sent again, because a byte that arrives before the guest has set up
# its UART is lost.
END_OF_INPUT = b"\x04"
END_AGAIN = 2.0
QUIET = 3.0  # seconds without output after which the progress is shown


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


class Screen:
    """Shows the machine's output, and the progress on a line of its own while there is none.

    `progress` returns what has been done so far, or an empty text if nothing is being done. The
    line appears only where a line of the output would begin, so it never replaces a prompt."""

    def __init__(self, out, raw: bool, progress: Callable[[], str] | None) -> None:
        self.out, self.raw, self.progress = out, raw, progress
        self.tail = b""
        self.quiet_since = time.monotonic()
        self.shown = False

    def write(self, data: bytes) -> None:
        """Prints output of the machine. A raw terminal needs a CR before each LF."""
        self.clear()
        self.out.write(re.sub(rb"(?<!\r)\n", b"\r\n", data) if self.raw else data)
        self.out.flush()
        self.tail = (self.tail + data)[-TAIL:]
        self.quiet_since = time.monotonic()

    def clear(self) -> None:
        if self.shown:
            self.out.write(b"\r\x1b[K")
            self.out.flush()
            self.shown = False

    def tick(self) -> None:
        """Called several times a second."""
        begins_line = not self.tail or self.tail.endswith(b"\n")
        if not self.progress or not begins_line:
            return
        if time.monotonic() - self.quiet_since >= QUIET and (text := self.progress()):
            self.out.write(f"\r{text}\x1b[K".encode())
            self.out.flush()
            self.shown = True

    def end(self) -> tuple[int, str]:
        """Returns the code and the name of the EXIT line, or DIED if it is not the last line."""
        self.clear()
        found = EXIT.search(self.tail)
        return (int(found[1]), found[2].decode()) if found else (Status.DIED, "")


class Window:
    """Tells the hypervisor how large the window is, when the first VM begins and whenever the size
    changes. `key` is the escape key; without one nothing is told.

    While somebody types a command for the hypervisor, the size waits until that is complete. It
    need not wait for what the guest reads, such as the sequence of a cursor key, because the
    hypervisor takes the size out of it, and prints nothing."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.begun = False
        self.tail = self.typed = b""  # the last output, and the incomplete command
        self.told = (0, 0)
        # As vm/input.c reads the command: a number below 1000 can be followed by another digit.
        number = rb"0*\d{0,4}"
        self.incomplete = re.compile(
            re.escape(key) + rb"(?:w" + number + rb"(?:x" + number + rb")?)?"
        )

    def printed(self, data: bytes) -> None:
        """Called with the output of the machine."""
        self.tail += data
        self.begun = self.begun or bool(BEGUN.search(self.tail))
        self.tail = self.tail[-TAIL:]

    def pressed(self, keys: bytes) -> None:
        """Called with what a person has typed."""
        for i in range(len(keys)):
            self.typed += keys[i : i + 1]
            if not self.incomplete.fullmatch(self.typed):
                self.typed = b""

    def command(self) -> bytes:
        """Returns what to send now: nothing if the hypervisor knows the size already, or if the
        terminal does not know it, which it then gives as 0."""
        if not self.key or not self.begun or self.typed:
            return b""
        size = (0, 0)
        with contextlib.suppress(OSError):  # the terminal has been closed
            size = tuple(min(number, WINDOW_MOST) for number in os.get_terminal_size(1))
        if 0 in size or size == self.told:
            return b""
        self.told = size
        return self.key + b"w%dx%d\r" % size


def acknowledge(connection: socket.socket) -> None:
    """Makes the kernel acknowledge what arrives at once; the kernel forgets it, so it is said each
    time. The emulator sends a byte at a time, and the following ones only when the first has been
    acknowledged. Those that still wait when it ends are lost if it has not read all that was typed,
    because the connection is then reset."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def talk(
    server: socket.socket,
    alive: Callable[[], bool],
    progress: Callable[[], str],
    window_key: bytes = b"",
) -> tuple[int, str]:
    """Passes bytes between the terminal and the machine until the machine ends. Returns the code
    and the name of its EXIT line, or Status.DIED if it ended without one. The end of standard input
    ends the guest's shell. If standard input and output are a terminal, the hypervisor is told its
    size by the escape key `window_key`, unless this is empty."""
    inputs, ends = [0], 0.0
    server.settimeout(POLL)
    with _raw() as raw:
        whole = raw and sys.stdout.isatty()
        screen = Screen(sys.stdout.buffer, raw, progress if whole else None)
        window = Window(window_key if whole else b"")
        connection = None
        while connection is None:
            if not alive():
                return screen.end()
            with contextlib.suppress(TimeoutError):
                connection, _ = server.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                acknowledge(connection)
                ready, _, _ = select.select([connection, *inputs], [], [], POLL)
                if connection in ready:
                    data = b""
                    with contextlib.suppress(ConnectionResetError):
                        data = connection.recv(4096)
                    if not data:
                        return screen.end()
                    screen.write(data)
                    window.printed(data)
                sent = b""
                if 0 in ready:
                    sent = os.read(0, 256)
                    if not sent:
                        inputs.clear()
                        ends = time.monotonic()
                    window.pressed(sent)
                if not inputs and time.monotonic() >= ends:
                    sent = END_OF_INPUT
                    ends += END_AGAIN
                # If the machine has just ended, the next turn finds out.
                with contextlib.suppress(ConnectionError):
                    connection.sendall(sent + window.command())
                if not ready:
                    screen.tick()
                    if not alive():
                        return screen.end()
