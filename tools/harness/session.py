# SPDX-License-Identifier: MIT
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
from .errors import HarnessError, Status

POLL = 0.02
# How long an emulator may take to end by itself after the EXIT line. An image told
# `on_exit=halt` never ends; that is no failure.
LINGER = 1.0
MONITOR_TIMEOUT = 10.0
KEY_TIME = 1.0
# The time-out of a boot is in CPU time, so that nothing fails because the computer is busy. An
# emulator that sleeps, or gets hardly any CPU time, is ended after this many times as long by the
# clock.
CLOCK = 10
TOO_LONG = ("timeout", "stuck", "late")
# The signals by which a faulty emulator ends itself; somebody who kills it sends other ones.
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


class EmulatorCrashed(UserWarning):
    """The emulator crashed before the image had begun, so the image is not at fault."""


@dataclasses.dataclass
class Run:
    """A finished run. `status` is what the harness returns; `reason` explains one of its own."""

    boot: Boot
    output: serial.Output
    status: int
    reason: str
    seconds: float
    complaints: list[str]
    emulator_status: int  # exit status of the emulator; negative: it was killed by a signal

    @property
    def log(self) -> pathlib.Path:
        return self.boot.folder / "serial.txt"


class Console:
    """The serial console while it grows in a file."""

    def __init__(self, path: pathlib.Path, show: Callable[[str], None], exits: int) -> None:
        self.path, self.show = path, show
        self.exits = exits  # EXIT lines that are still to come
        self.judged = 0  # where the text begins that is judged
        self.text, self.shown = "", 0
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.offset = 0
        self.now, self.last, self.noted = 0.0, 0.0, 0  # see note()

    def note(self, now: float) -> None:
        """Remembers at which CPU time of the emulator the last output came."""
        self.now = now
        if self.offset > self.noted:
            self.noted, self.last = self.offset, now

    def poll(self) -> bool:
        """Reads new output and shows the complete lines. True once the last EXIT line is there."""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
            self.offset += len(data)
            self.text += self.decode(data)
        while end := self.text.find("\n", self.shown) + 1:
            (line, _) = serial.clean(self.text[self.shown : end])
            self.shown = end
            self.show(line)
            self.exits -= bool(serial.EXIT.match(line))
            if serial.EXIT.match(line) and self.exits == 0:
                return True
            if serial.EXIT.match(line) and self.exits > 0:
                self.judged = end
        return False


@contextlib.contextmanager
def started(command: list[str], boot: Boot) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the emulator in a process group of its own, which is killed at the end, also after
    ^C."""
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
    anything was printed is started again, with a warning, but not if the image had begun."""
    first = _run(boot, show)
    if -first.emulator_status not in CRASHES or any(first.output.lines):
        return first
    warnings.warn(f"{boot.folder}: {first.reason}; it was started once more", EmulatorCrashed,
                  stacklevel=2)  # fmt: skip
    return _run(boot, show)


def prepare(boot: Boot) -> list[str]:
    """Empties the boot's folder and fills it; returns the command to run there."""
    if boot.machine == "serial":
        raise HarnessError("MACHINE=serial is for make run, test, bench and report: nothing else "
                           "runs on a machine that somebody else starts")  # fmt: skip
    shutil.rmtree(boot.folder, ignore_errors=True)
    boot.folder.mkdir(parents=True)
    prepares = {"bochs": bochs.prepare, "nested": nested.prepare}
    return prepares.get(boot.machine, qemu.prepare)(boot)


def _run(boot: Boot, show: Callable[[str], None]) -> Run:
    command = prepare(boot)
    console = Console(boot.folder / "serial.txt", show, boot.exits)
    begin = time.monotonic()
    with started(command, boot) as process:
        ended = _wait(process, console, boot.timeout)
        if ended == "died" and bochs.time_is_up(boot):
            ended = "late"
        reached = _reached(boot, process, console) if ended in TOO_LONG else ""
        if ended == "exit" and boot.monitor:
            _ask_monitor(process, boot.monitor)
        seconds = time.monotonic() - begin
    output = serial.parse(console.text[console.judged :])
    status, reason = _judge(output, ended, boot, process.returncode, reached)
    emulator = qemu if boot.machine.startswith("qemu") else bochs
    complaints = emulator.complaints(boot.folder)
    return Run(boot, output, status, reason, seconds, complaints, process.returncode)


def cpu_time(pid: int) -> float:
    """CPU seconds of all threads since the process was started."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait(process: subprocess.Popen[bytes], console: Console, timeout: float) -> str:
    """How the run ended: "exit" (the EXIT line came), "died", "timeout", "stuck" (by the clock)."""
    deadline = time.monotonic() + CLOCK * timeout
    while True:
        dead = process.poll() is not None
        if console.poll():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LINGER)
            console.poll()
            return "exit"
        if dead:
            return "died"
        console.note(cpu_time(process.pid))
        if console.now > timeout:
            return "timeout"
        if time.monotonic() > deadline:
            return "stuck"
        time.sleep(POLL)


def _ask_monitor(process: subprocess.Popen[bytes], commands: tuple[str, ...]) -> None:
    """The monitor takes one command after the other, and at last ends the emulator. The machine
    gets some time after each key."""
    assert process.stdin
    with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError):
        for command in commands:
            process.stdin.write(f"{command}\n".encode())
            process.stdin.flush()
            if command.startswith("sendkey"):
                time.sleep(KEY_TIME)
        process.communicate(b"quit\n", MONITOR_TIMEOUT)


def _reached(boot: Boot, process: subprocess.Popen[bytes], console: Console) -> str:
    """How far a run that took too long has come. A guest that works, but more slowly than the
    time-out expects, has printed something lately; one that hangs has not."""
    silent = console.now - console.last
    said = f"its last output is {silent:.1f} s of CPU time old" if console.offset else ""
    where = "" if boot.machine.startswith("qemu") else bochs.stopped_at(boot, process)
    return "".join(f"; {text}" for text in (where, said) if text)


def _judge(
    output: serial.Output, ended: str, boot: Boot, code: int, reached: str
) -> tuple[int, str]:
    if ended in TOO_LONG:
        long = f"{boot.timeout:g} s of CPU time"
        if ended == "stuck":
            long = f"{CLOCK * boot.timeout:g} s, and less than {long}"
        if ended == "late":
            long = f"{boot.machine_time:g} s of the machine's own time"
        return Status.TIMED_OUT, f"no EXIT line after {long}, {output.last_test}{reached}"
    if ended == "died":
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return Status.DIED, f"the emulator ended ({how}) without an EXIT line, {output.last_test}"
    return serial.verdict(output), "; ".join(serial.contradictions(output))
