# SPDX-License-Identifier: MIT
"""GDB for a VM: its connection to the second serial port of the machine.

The emulator is a client of the one port, and GDB of the other; what arrives at one goes out at the
other. GDB may come later than the emulator, and again after it has left. Once the emulator has
left, GDB has nobody to wait for, and its connection is closed.
"""

import contextlib
import select
import socket
import threading
from types import TracebackType
from typing import Self

from . import terminal

POLL = 0.2


class Relay:
    """Passes bytes between the emulator and GDB, in a thread, until it is closed."""

    def __init__(self) -> None:
        self.machine, self.gdb = terminal.listen(), terminal.listen()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._pass, daemon=True)

    @property
    def machine_port(self) -> int:
        return int(self.machine.getsockname()[1])

    @property
    def gdb_port(self) -> int:
        return int(self.gdb.getsockname()[1])

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self.thread.join()
        self.machine.close()
        self.gdb.close()

    def _pass(self) -> None:
        ends: dict[str, socket.socket] = {}
        left = False
        with contextlib.ExitStack() as stack:
            while not self.stopping.is_set():
                if "machine" in ends:
                    terminal.acknowledge(ends["machine"])
                waiting = [self.machine, self.gdb, *ends.values()]
                ready, _, _ = select.select(waiting, [], [], POLL)
                for name, server in (("machine", self.machine), ("gdb", self.gdb)):
                    if server in ready:
                        ends[name] = stack.enter_context(server.accept()[0])
                        ends[name].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for name, other in (("machine", "gdb"), ("gdb", "machine")):
                    end = ends.get(name)
                    if end is None or end not in ready:
                        continue
                    data = b""
                    with contextlib.suppress(OSError):
                        data = end.recv(4096)
                    if not data:
                        ends.pop(name).close()
                        left = left or name == "machine"
                    elif other in ends:
                        with contextlib.suppress(OSError):
                            ends[other].sendall(data)
                left = left and "machine" not in ends
                if left and "gdb" in ends:
                    ends.pop("gdb").close()
