# SPDX-License-Identifier: MIT
"""Runs a machine that somebody else starts, and that is known only by its console: MACHINE=serial.

What a serial line does to a console does not happen in an emulator: characters get lost or come
wrong, firmware and a boot loader write on the same line, and a machine restarts by itself. None of
this may be taken for a result.
"""

import dataclasses
import functools
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from . import port, serial, session, sums
from .boot import ROOT, Boot
from .errors import HarnessError, Status

TEST, BENCH = "t", "b"  # the keys of the menu's entries for tools/box.py
QUIET = 2.0  # seconds without output after which a damaged EXIT line is taken for one
POLL = 0.1
POWER_TIMEOUT = 120.0
LOST = 3  # characters that a line may lack and is still known
CODE = re.compile(r'X\(\w+, (\d+),[\s\\]+"([\w-]+)"\)')  # of lib/exit_codes.h
COMMAND_LINE = re.compile(r'^boot: .* command line "(.*)"$')
TEXT = re.compile(rb"[\t\x1b\x20-\x7e]")

# GRUB: what it paints, and how the words and the entry are typed. It reads a character at a time,
# and those that come while it paints wait in a short buffer.
MENU, PROMPT = b"GNU GRUB", b"grub> "
TYPING = 0.03  # seconds between two keys
SETTLE = 0.5  # seconds for the menu to be complete


@functools.cache
def exit_lines() -> list[str]:
    """All that can be a last line, from lib/exit_codes.h."""
    return [f"EXIT {code} {name}" for code, name in
            CODE.findall((ROOT / "lib/exit_codes.h").read_text())]  # fmt: skip


def lacks(text: str, whole: str) -> int | None:
    """How many characters of `whole` are missing in `text`; None if it has others, too."""
    rest = iter(whole)
    if not all(char in rest for char in text):
        return None
    return len(whole) - len(text)


def damaged_exit(text: str) -> str:
    """The EXIT line of which a few characters are lost in `text`, or an empty text if none is, or
    several can be."""
    if text in exit_lines():
        return ""
    found = [line for line in exit_lines()
             if (lost := lacks(text, line)) is not None and 0 < lost <= LOST]  # fmt: skip
    return found[0] if len(found) == 1 and len(text) > LOST else ""


def no_text(line: bytes) -> int:
    """How many bytes of a line are no text. UTF-8 is none: neither the hypervisor nor a boot loader
    writes it."""
    return len(TEXT.sub(b"", line))


def keys(boot: Boot) -> list[tuple[bytes, bytes]]:
    """What to type at GRUB's menu, each after a text: the words of the command line, which the
    menu's entries take from the variables `words` and `on_exit`, and the key of the entry."""
    steps = []
    if boot.cmdline:
        words = boot.cmdline.split()
        exits = [word for word in words if word.startswith("on_exit=")]
        others = " ".join(word for word in words if word not in exits)
        sets = [f"set {word}\r" for word in exits] + [f"set words='{others}'\r"] * bool(others)
        steps = [(MENU, b"c"), *((PROMPT, text.encode()) for text in sets), (PROMPT, b"\x1b")]
    if boot.cmdline or boot.entry:
        steps.append((MENU, boot.entry.encode() or b"\r"))
    return steps


@dataclasses.dataclass
class Console:
    """The lines of the boot, as they come."""

    show: Callable[[str], None]
    steps: list[tuple[bytes, bytes]]
    typed: bytes = b""  # what is to be typed now
    type_at: float = 0.0
    lines: list[bytes] = dataclasses.field(default_factory=list)  # complete ones
    rest: bytes = b""  # the incomplete line
    tail: bytes = b""  # the last output, in which a step's text is sought
    begun: bool = False
    command_line: str | None = None  # as the boot has said it
    count: int = 0  # bytes, from the beginning
    noise: int = 0  # of them, those that are no text
    noise_line: int = 0
    last_change: float = 0.0
    ended: str = ""  # "exit", "restarted"

    def take(self, data: bytes, now: float) -> None:
        self.count += len(data)
        self.last_change = now
        self._steps(data, now)
        *complete, self.rest = (self.rest + data.replace(b"\r", b"").replace(b"\0", b"")).split(
            b"\n")  # fmt: skip
        for line in complete:
            if not self.ended:
                self._line(line)

    def _line(self, line: bytes) -> None:
        at = sums.banner_at(line)
        if at >= 0 or self._damaged_banner(line):
            if self.begun:
                self.ended = "restarted"
                return
            self.begun, self.lines, self.noise = True, [], 0
            line = line[max(at, 0) :]
        self.lines.append(line)
        text = serial.clean(line.decode(errors="replace"))[0].rstrip()
        self.show(text)
        if noise := no_text(line):
            self.noise_line = self.noise_line if self.noise else len(self.lines)
            self.noise += noise
        if match := COMMAND_LINE.match(text):
            self.command_line = match[1]
        if serial.EXIT.match(text) and not damaged_exit(text):
            self.ended = "exit"

    @staticmethod
    def _damaged_banner(line: bytes) -> bool:
        """The first line, of which a few characters are lost."""
        whole = sums.BANNER.decode()
        text = line.decode(errors="replace")
        return any(lacks(text[: len(whole) - lost], whole) == lost for lost in range(1, LOST + 1))

    def _steps(self, data: bytes, now: float) -> None:
        """Looks for the text that the next step waits for."""
        if not self.steps or self.typed or self.begun:
            return
        self.tail = (self.tail + data)[-4096:]
        text, reply = self.steps[0]
        if text in self.tail:
            self.steps.pop(0)
            self.tail = b""
            self.typed, self.type_at = reply, now + SETTLE

    def key(self, now: float) -> bytes:
        """The key to be typed now."""
        if not self.typed or now < self.type_at:
            return b""
        self.type_at = now + TYPING
        key, self.typed = self.typed[:1], self.typed[1:]
        return key

    @property
    def texts(self) -> list[str]:
        return [serial.clean(line.decode(errors="replace"))[0].rstrip()
                for line in [*self.lines, self.rest]]  # fmt: skip

    @property
    def where(self) -> str:
        """The last test that began or ended, of which the line is complete."""
        return serial.parse("\n".join(self.texts[:-1])).last_test

    @property
    def last(self) -> str:
        """The last line that is neither empty nor painted by a menu."""
        for line, text in zip(reversed([*self.lines, self.rest]), reversed(self.texts),
                              strict=True):  # fmt: skip
            if text and b"\x1b" not in line:
                return text
        return ""

    def missing_words(self, cmdline: str) -> list[str]:
        """The words that were typed, and did not arrive, if the boot has said which did."""
        if self.command_line is None:
            return []
        return [word for word in cmdline.split() if word not in self.command_line.split()]


def _power(boot: Boot) -> None:
    """Starts the machine."""
    try:
        done = subprocess.run(boot.power, shell=True, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=POWER_TIMEOUT, check=False)  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"POWER={boot.power}: not done after {POWER_TIMEOUT:g} s") from error
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines() or ["it said nothing"]
        raise HarnessError(f"POWER={boot.power}: status {done.returncode}: {said[-1]}")


def _wait(place: port.Port, console: Console, boot: Boot, log) -> str:
    """How the run ended: "exit", "restarted", "timeout", "gone", or "damaged" (a damaged EXIT line
    was the last one)."""
    begin = console.last_change = time.monotonic()
    while True:
        data = place.read(TYPING if console.typed else POLL)
        now = time.monotonic()
        if data:
            log.write(data)
            log.flush()
            console.take(data, now)
        if boot.cmdline and (words := console.missing_words(boot.cmdline)):
            raise HarnessError(f"the machine has booted without {' '.join(words)}: GRUB takes "
                               "words only if its menu appears on this console (`make image`), "
                               "and somebody else types nothing there")  # fmt: skip
        if console.ended:
            return console.ended
        if key := console.key(now):
            place.write(key)
        if data is None or now - console.last_change > QUIET:
            if damaged_exit(console.texts[-1] or console.texts[-2:][0]):
                return "damaged"
        if data is None:
            return "gone"
        if now - begin > boot.timeout:
            return "timeout"


def _silence(console: Console, boot: Boot, now: float) -> str:
    """Why a run timed out."""
    after = f"after {boot.timeout:g} s"
    if not console.count:
        return (f"nothing came from {boot.port} {after}: is the machine on, the cable connected, "
                f"and its console this port, at {boot.baud} baud?")  # fmt: skip
    noise = console.noise + no_text(console.rest)
    if not console.begun and noise * 4 > console.count:
        return (f"what came from {boot.port} {after} is no text ({noise} of "
                f"{console.count} bytes): is BAUD={boot.baud} its speed?")  # fmt: skip
    last = f"the last line is `{console.last}`, {now - console.last_change:.1f} s old"
    if not console.begun:
        return f"eptvisor did not begin {after}; {last}"
    return f"no EXIT line {after}, {console.where}; {last}"


def _repaired(console: Console) -> tuple[str, str]:
    """The text with the EXIT line that has lost characters, and a message about it."""
    texts = console.texts
    while texts and not texts[-1]:
        texts.pop()
    whole = damaged_exit(texts[-1])
    message = f"the console lost characters near line {len(texts)}: `{texts[-1]}` for `{whole}`"
    return "\n".join([*texts[:-1], whole, ""]), message


def judge(console: Console, ended: str, boot: Boot, why: str, now: float) -> session.Run:
    """The verdict. Results of which characters are lost are not taken for others."""
    text, complaints = "\n".join(console.texts), []
    if ended == "damaged":
        text, message = _repaired(console)
        complaints.append(message)
    output = serial.parse(text)
    got = [*console.lines, console.rest]
    received = sums.check_console(got)
    if received.known and not received.complete:
        complaints.append(str(received))
    elif console.begun and console.noise:
        complaints.append(f"{console.noise} bytes are no text, the first in line "
                          f"{console.noise_line}")  # fmt: skip
    if ended == "timeout":
        status, reason = Status.TIMED_OUT, _silence(console, boot, now)
    elif ended == "gone":
        status, reason = Status.DIED, f"{why}; no EXIT line, {console.where}"
    elif ended == "restarted":
        status = Status.RESTARTED
        reason = (f"the machine restarted by itself, {console.where}; its last line was "
                  f"`{console.last}`")  # fmt: skip
    else:
        status, reason = serial.verdict(output), "; ".join(serial.contradictions(output))
        if status == Status.DISAGREES and complaints:
            status = Status.GARBLED
            reason = f"{complaints[0]}; so the results cannot be judged: {reason}"
    return session.Run(boot, output, status, reason, 0.0, complaints, 0)


def run(
    boot: Boot, show: Callable[[str], None] = lambda line: None, ask: bool = True
) -> session.Run:
    """Reads the console until the machine says EXIT. If there is no command that starts it, asks
    somebody to do so, unless it is known to start by itself. Raises HarnessError when the port
    can't be opened or the machine can't be started."""
    console = Console(show, keys(boot))
    begin = time.monotonic()
    with port.opened(boot.port, boot.baud) as place:
        shutil.rmtree(boot.folder, ignore_errors=True)
        boot.folder.mkdir(parents=True)
        if boot.power:
            _power(boot)
        elif ask:
            print(f"run: start the machine; {boot.port} is being read", file=sys.stderr)
        with (boot.folder / "serial.txt").open("wb") as log:
            ended = _wait(place, console, boot, log)
        why = place.why() if ended == "gone" else ""
    done = judge(console, ended, boot, why, time.monotonic())
    return dataclasses.replace(done, seconds=time.monotonic() - begin)
