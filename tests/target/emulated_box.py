#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A machine on a console server, as MACHINE=serial knows it, of which both are emulated: Bochs
boots an image of `make image`, and its COM1 is at a TCP port. The machine restarts by itself when
it is told to, and the server stays as it is then; SIGUSR1 switches it off and on.

    tests/target/emulated_box.py 7003 &
    make test MACHINE=serial PORT=telnet:127.0.0.1:7003 POWER="kill -USR1 $!"

Nobody reads the console between two connections, so what comes then is lost, as it is there.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import select
import signal
import socket
import sys
from collections.abc import Iterator

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

from harness import session, terminal
from harness.boot import BUILD, Boot

OPTION = b"\xff\xfb\x01"  # WILL ECHO: a console server speaks telnet
HELD = 1 << 20  # bytes for the machine that may wait until its port is connected


@dataclasses.dataclass
class Server:
    """Passes bytes between the machine's port and whoever is connected."""

    outside: socket.socket  # listens for the harness
    inside: socket.socket  # listens for the emulator
    wakeup: int  # readable when a signal has come
    client: socket.socket | None = None
    machine: socket.socket | None = None

    def _accept(self, listening: socket.socket, before: socket.socket | None) -> socket.socket:
        if before:
            before.close()
        connection, _ = listening.accept()
        return connection

    def _pass(self, source: socket.socket, target: socket.socket | None) -> bool:
        """Returns whether the source is still there."""
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(4096)
        if data and target:
            with contextlib.suppress(OSError):
                target.sendall(data)
        return bool(data)

    def serve(self) -> None:
        """Until a signal comes."""
        while True:
            if self.machine:
                terminal.acknowledge(self.machine)
            places = [self.wakeup, self.outside, self.inside, self.client, self.machine]
            ready, _, _ = select.select([place for place in places if place], [], [])
            if self.wakeup in ready:
                os.read(self.wakeup, 100)
                return
            if self.outside in ready:
                self.client = self._accept(self.outside, self.client)
                self.client.sendall(OPTION)
            elif self.inside in ready:
                self.machine = self._accept(self.inside, self.machine)
            elif self.client in ready and not self._pass(self.client, self.machine):
                self.client.close()
                self.client = None
            elif self.machine in ready and not self._pass(self.machine, self.client):
                self.machine.close()
                self.machine = None


@contextlib.contextmanager
def switched_on(boot: Boot) -> Iterator[None]:
    with session.started(session.prepare(boot), boot):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int, help="of the console server, on the loopback address")
    parser.add_argument("--image", type=pathlib.Path, default=BUILD / "eptvisor.iso")
    parser.add_argument("--smp", type=int, default=1)
    parser.add_argument("--name", default="emulated-box")
    parser.add_argument("--off", action="store_true", help="the machine is off at first")
    opt = parser.parse_args()
    last: list[int] = []
    wakeup, ours = os.pipe()
    os.set_blocking(ours, False)
    signal.set_wakeup_fd(ours)
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: last.append(number))
    with socket.create_server(("127.0.0.1", opt.port)) as outside, terminal.listen() as inside:
        # A machine with `exits` is reset by a triple fault, as PCs are.
        boot = Boot(name=opt.name, method="grub-bios", medium=opt.image, smp=opt.smp, exits=2,
                    serial_port=inside.getsockname()[1])  # fmt: skip
        server = Server(outside, inside, wakeup)
        print(f"the console is at port {outside.getsockname()[1]}", flush=True)
        if opt.off:
            server.serve()
        while not last or last[-1] == signal.SIGUSR1:
            with switched_on(boot):
                server.serve()


if __name__ == "__main__":
    main()
