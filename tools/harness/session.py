"""Runs an emulator until the image says EXIT, shows its serial console, and ends every process."""

import codecs
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator

from . import bochs, nested, qemu, serial
from .boot import Boot
from .errors import Status

POLL = 0.02
# How long an emulator may take to end by itself after the EXIT line. An image told
# `on_exit=halt` never ends; that is no failure.
LINGER = 1.0
MONITOR_TIMEOUT = 10.0
# By what an emulator ends that makes a mistake of its own; who kills one sends others.
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


class EmulatorCrashed(UserWarning):
    """Before the image had begun, so that it says nothing about us."""


@dataclasses.dataclass
class Run:
    """A finished run. `status` is what the harness returns; `reason` explains one of its own."""

    boot: Boot
    output: serial.Output
    status: int
    reason: str
    seconds: float
    complaints: list[str]
    emulator_status: int  # its own; negative: it was killed by a signal

    @property
    def log(self) -> pathlib.Path:
        return self.boot.folder / "serial.txt"


class Console:
    """The serial console while it grows in a file."""

    def __init__(self, path: pathlib.Path, show: Callable[[str], None]) -> None:
        self.path, self.show = path, show
        self.text, self.shown = "", 0
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.offset = 0

    def poll(self) -> bool:
        """Reads what is new, shows the complete lines. True once the EXIT line is there."""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
            self.offset += len(data)
            self.text += self.decode(data)
        end = self.text.rfind("\n") + 1
        new = serial.clean(self.text[self.shown : end])[:-1] if end > self.shown else []
        self.shown = max(self.shown, end)
        for line in new:
            self.show(line)
        return any(serial.EXIT.match(line) for line in new)


@contextlib.contextmanager
def _process(command: list[str], boot: Boot) -> Iterator[subprocess.Popen[bytes]]:
    """In a process group of its own, which is gone when this ends, also by ^C."""
    with (boot.folder / "emulator.txt").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=boot.folder, stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE if boot.monitor else subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run(boot: Boot, show: Callable[[str], None] = lambda line: None) -> Run:
    """Raises HarnessError when the boot can't be started at all. An emulator that crashes before
    anything was printed is started a second time, with a warning; never one in which we ran."""
    first = _run(boot, show)
    if -first.emulator_status not in CRASHES or any(first.output.lines):
        return first
    warnings.warn(f"{boot.folder}: {first.reason}; it was started once more", EmulatorCrashed,
                  stacklevel=2)  # fmt: skip
    return _run(boot, show)


def _run(boot: Boot, show: Callable[[str], None]) -> Run:
    shutil.rmtree(boot.folder, ignore_errors=True)
    boot.folder.mkdir(parents=True)
    prepare = {"bochs": bochs.prepare, "nested": nested.prepare}.get(boot.machine, qemu.prepare)
    command = prepare(boot)
    console = Console(boot.folder / "serial.txt", show)
    begin = time.monotonic()
    with _process(command, boot) as process:
        ended = _wait(process, console, begin + boot.timeout)
        if ended == "exit" and boot.monitor:
            _ask_monitor(process, boot.monitor)
        seconds = time.monotonic() - begin
    output = serial.parse(console.text)
    status, reason = _judge(output, ended, boot, process.returncode)
    emulator = qemu if boot.machine.startswith("qemu") else bochs
    complaints = emulator.complaints(boot.folder)
    return Run(boot, output, status, reason, seconds, complaints, process.returncode)


def _wait(process: subprocess.Popen[bytes], console: Console, deadline: float) -> str:
    """How it ended: "exit" (the EXIT line came), "died" or "timeout"."""
    while True:
        dead = process.poll() is not None
        if console.poll():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LINGER)
            console.poll()
            return "exit"
        if dead:
            return "died"
        if time.monotonic() > deadline:
            return "timeout"
        time.sleep(POLL)


def _ask_monitor(process: subprocess.Popen[bytes], commands: tuple[str, ...]) -> None:
    """The monitor takes one command after the other, and at last ends the emulator."""
    with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError):
        process.communicate("\n".join([*commands, "quit", ""]).encode(), MONITOR_TIMEOUT)


def _judge(output: serial.Output, ended: str, boot: Boot, code: int) -> tuple[int, str]:
    if ended == "timeout":
        return Status.TIMED_OUT, f"no EXIT line after {boot.timeout:g} s, {output.last_test}"
    if ended == "died":
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return Status.DIED, f"the emulator ended ({how}) without an EXIT line, {output.last_test}"
    return serial.verdict(output), "; ".join(serial.contradictions(output))
