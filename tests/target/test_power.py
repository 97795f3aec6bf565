# SPDX-License-Identifier: MIT
"""How PCs restart and switch themselves off (rule N115): QEMU says what has happened to its
machine, and without the device that ends it at once, only the machine's own ways are left."""

import contextlib
import json
import pathlib
import socket
import subprocess
import time

import pytest

from harness import session
from harness.boot import Boot

TIMEOUT = 60.0


def press_a_key(qemu: subprocess.Popen[bytes]) -> None:
    """The machine waits for one, so that its screen can be read. What comes earlier is no key."""
    deadline = time.monotonic() + TIMEOUT
    while qemu.poll() is None:
        assert time.monotonic() < deadline
        assert qemu.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended meanwhile
            qemu.stdin.write(b" ")
        time.sleep(0.05)


def ended(name: str, **fields) -> tuple[str, str]:
    """Returns why QEMU's machine has ended, and what QEMU logs of resets."""
    boot = Boot(name=f"power-{name}", machine="qemu-tcg", method="kernel", display="", **fields)
    command = session.prepare(boot)
    at = command.index(next(word for word in command if word.startswith("isa-debug-exit")))
    command[at - 1 : at + 1] = ["-qmp", "unix:qmp", "-d", "cpu_reset", "-D", "resets.txt"]
    command[command.index("file:serial.txt")] = "stdio"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(pathlib.Path(boot.folder, "qmp").relative_to(pathlib.Path.cwd())))
        server.listen()
        server.settimeout(TIMEOUT)
        with subprocess.Popen(command, cwd=boot.folder, bufsize=0, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as qemu:  # fmt: skip
            try:
                connection, _ = server.accept()
                with connection, connection.makefile("rb") as events:
                    connection.sendall(b'{"execute": "qmp_capabilities"}\n')
                    press_a_key(qemu)
                    said = [json.loads(line) for line in events]
                assert qemu.stdout
                console = qemu.stdout.read().decode()
            finally:
                qemu.kill()
    assert "EXIT 10 no-vmx" in console
    (end,) = [event["data"]["reason"] for event in said if event.get("event") == "SHUTDOWN"]
    return end, (boot.folder / "resets.txt").read_text()


MICROVM = {"machine_type": "microvm"}
WITHOUT_ACPI = MICROVM | {"machine_words": ("acpi=off",)}


@pytest.mark.parametrize(
    ("name", "fields", "end", "by_fault"),
    [
        ("microvm", MICROVM, "guest-shutdown", False),  # the sleep control register
        ("q35", {"machine_type": "q35"}, "guest-shutdown", False),  # PM1, in ACPI mode
        ("microvm-again", MICROVM, "guest-reset", False),  # the reset register, in memory
        ("bare-again", WITHOUT_ACPI, "guest-reset", True),  # nothing else is there
    ],
)
def test_the_machine_ends_by_its_own_means(name: str, fields, end: str, by_fault: bool) -> None:
    word = "on_exit=reboot" if end == "guest-reset" else ""
    how, resets = ended(name, cmdline=word, **fields)
    assert how == end
    assert ("Triple fault" in resets) == by_fault, resets
