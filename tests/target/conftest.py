# SPDX-License-Identifier: MIT
"""Shared by the tests that boot the image. They run as `make target`, from the root."""

import contextlib
import os
import pathlib
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from harness import emulator, session, terminal  # noqa: E402
from harness.boot import BUILD, Boot, Guest, parse_guests  # noqa: E402

BOOTINFO = BUILD / "bootinfo.elf"
HELLO = BUILD / "guest" / "hello.elf"
ECHO = BUILD / "guest" / "echo.elf"
ECHO_WORDS = ("pc", "live", "budget=3600000")
ALL_GUESTS = 300.0  # seconds that a boot may take: all guests, on a busy computer
LONG = 60.0  # seconds in which something has to be printed for somebody at the console

# Bochs: the version that runs the whole matrix, and the one that runs its most important parts.
OWN = emulator.find(os.environ.get("BOCHS", "")).version
OTHER = "3.0" if OWN == "2.7" else "2.7"
NEW = OWN if OWN != "2.7" else OTHER  # has CPU models that Bochs 2.7 lacks


class Codes:
    """The codes of lib/exit_codes.h by name, so that the tests do not repeat the numbers."""

    def __init__(self) -> None:
        header = (ROOT / "lib/exit_codes.h").read_text()
        for name, code, text in re.findall(r'X\((\w+), (\d+),[\s\\]+"([\w-]+)"\)', header):
            setattr(self, name, (int(code), text))

    def __getattr__(self, name: str) -> tuple[int, str]:
        raise AttributeError(f"lib/exit_codes.h has no code {name}")


CODES = Codes()


class Result:
    """The result of one boot: status, EXIT line and parsed lines. If a test fails, its text is
    shown."""

    def __init__(self, run: session.Run) -> None:
        self.run = run
        self.status, self.reason, self.seconds = run.status, run.reason, run.seconds
        self.output = run.output
        self.lines = run.output.lines
        self.exit = (run.output.exit_code, run.output.exit_name)

    def __repr__(self) -> str:
        text = "\n".join(self.lines + self.run.complaints[-8:])
        return f"<boot {self.run.boot.folder}: {self.status} {self.reason}>\n{text}"

    def has(self, pattern: str) -> bool:
        """Returns whether a line matches, ignoring case."""
        return any(re.search(pattern, line, re.IGNORECASE) for line in self.lines)

    def passed(self, name: str) -> bool:
        """Returns whether there are results with this name, or below it, and all are ok."""
        found = [
            case for case in self.output.cases
            if case.path == name or case.path.startswith(f"{name}/") or case.name == name
        ]  # fmt: skip
        return bool(found) and all(case.passed for case in found)

    def cpus(self) -> dict[str, int]:
        """Returns the numbers in the line about the host's CPUs, by the last word of the phrase
        that follows each."""
        (line,) = [line for line in self.lines if re.match(r"# \d+ CPUs: ", line)]
        return {words.split()[-1]: int(n) for n, words in re.findall(r"(\d+)([^\d,:]+)", line)}

    def counters(self, vm: str) -> dict[str, int]:
        """Returns the counters that `counters=1` prints for a VM."""
        text = " ".join(line for line in self.lines if line.startswith(f"# {vm}:"))
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", text)}


BootFixture = Callable[..., Result]


def listed(target: str) -> tuple[Guest, ...]:
    """Returns the list that a target of the Makefile prints."""
    env = {key: value for key, value in os.environ.items() if key != "GUESTS"}
    text = subprocess.check_output(["make", "-s", target], cwd=ROOT, text=True, env=env)
    return parse_guests(text)


def our_guests(cmdline: str = "") -> tuple[Guest, ...]:
    """Returns the guests that `make run` runs, without those that contradict the command line:
    without MMIO SPTEs there is no #VE (test_sides.py tests the message), and guests that count each
    fault fail if the generation wraps."""
    items = os.environ.get("GUESTS")
    guests = parse_guests(items) if items else listed("tested")
    if "mmio_caching=0" in cmdline.split():
        guests = tuple(guest for guest in guests if "ve" not in guest.words)
    if "slot_generation_start" in cmdline:
        count = ("counters", "trace", "delivery", "mmu")
        guests = tuple(guest for guest in guests if guest.name not in count)
    return guests


def need_made(*targets: str) -> None:
    """Makes a target that apt has to download, such as a kernel. If that fails, the test is
    skipped."""
    made = subprocess.run(["make", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no {targets[0]}: {made.stderr.strip().splitlines()[-1]}")


def hello() -> Guest:
    return Guest(HELLO, ("testctl",))


def scenarios() -> Guest:
    return Guest(BUILD / "guest" / "scenarios.elf", ("testctl",))


_results: dict[Boot, Result] = {}


@pytest.fixture
def boot(request: pytest.FixtureRequest) -> BootFixture:
    """boot(cpu=..., cmdline=..., guests=...) takes the fields of harness.boot.Boot. The default is
    the option ROM in Bochs with all guests, and time enough for them. Equal boots are made once for
    each process that runs tests, unless `again` is set."""
    count = 0

    def boot_once(again: bool = False, **fields: Any) -> Result:
        nonlocal count
        count += 1
        usual = {"guests": our_guests(fields.get("cmdline", "")), "timeout": ALL_GUESTS}
        key = Boot(name="", **(usual | fields))
        if key in _results and not again:
            return _results[key]
        name = re.sub(r"[^\w.-]+", "-", request.node.nodeid.removeprefix("tests/target/"))
        fields = {name: getattr(key, name) for name in key.__dataclass_fields__}
        result = Result(session.run(Boot(**(fields | {"name": f"{name}-{count}"}))))
        _results[key] = result
        return result

    return boot_once


@pytest.fixture
def bootinfo(boot: BootFixture) -> BootFixture:
    """Boots the boot-protocol checker instead of the image."""

    def boot_checker(**fields: Any) -> Result:
        return boot(**({"image": BOOTINFO, "image32": BOOTINFO, "guests": ()} | fields))

    return boot_checker


class Person:
    """A person at a console, who reads what the machine prints, and types."""

    def __init__(self, connection, process) -> None:
        self.connection, self.process = connection, process
        self.seen = b""

    def more(self, timeout: float) -> bytes:
        ready, _, _ = select.select([self.connection], [], [], timeout)
        data = b""
        with contextlib.suppress(ConnectionResetError):
            data = self.connection.recv(4096) if ready else b""
        self.seen += data
        return data

    def wait_for(self, text: bytes) -> bytes:
        """Waits for a text, and returns what was printed before it."""
        deadline = time.monotonic() + LONG
        while text not in self.seen:
            assert self.more(1) or self.process.poll() is None, self.seen
            assert time.monotonic() < deadline, self.seen
        before, _, self.seen = self.seen.partition(text)
        return before

    def sees_nothing(self, text: bytes, seconds: float = 2) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.more(0.1)
        assert text not in self.seen

    def wait_for_vm(self, name: bytes) -> None:
        """Waits until a VM is on the list of consoles: the machine creates one after the other.
        What was printed meanwhile is forgotten."""
        deadline = time.monotonic() + LONG
        while name not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self.type(b"\x01?")
            answered = time.monotonic() + 1
            while time.monotonic() < answered:
                self.more(0.1)
        self.seen = b""

    def type(self, text: bytes) -> None:
        self.connection.sendall(text)


@pytest.fixture
def person(request: pytest.FixtureRequest):
    """person(args...) is somebody at the console of a machine with a VM for each argument; `files`
    belong to the last one."""

    @contextlib.contextmanager
    def start(
        *args: str, program=ECHO, words=ECHO_WORDS, files=(), cmdline="", **fields
    ) -> Iterator[Person]:
        guests = tuple(Guest(program, words, text, f"vm-{text.split()[0]}") for text in args)
        guests += files
        name = re.sub(r"[^\w.-]+", "-", request.node.name)
        with terminal.listen() as server:
            server.settimeout(LONG)
            boot = Boot(name=f"console-{name}", guests=guests, cmdline=f"parallel=8 {cmdline}",
                        serial_port=server.getsockname()[1], **fields)  # fmt: skip
            with session.started(session.prepare(boot), boot) as process:
                connection, _ = server.accept()
                with connection:
                    yield Person(connection, process)

    return start
