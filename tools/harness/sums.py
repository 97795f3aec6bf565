# SPDX-License-Identifier: MIT
"""Whether all that a machine has printed has arrived: the sums of lib/log_sum.h and of the word
`report` (main/report.h)."""

import dataclasses
import re

PRIME = 4294967291
BANNER = b"eptvisor: a hypervisor "  # the first line of each boot
QUOTED = b"before| "  # begins the lines of an earlier boot's log, which a later one prints
CONSOLE = re.compile(rb"^report: console: (\d+) lines, sums 0?x?([0-9a-f]+) 0?x?([0-9a-f]+)$")
REPORT_BEGIN = re.compile(rb"^report: begin: (\d+)$")
REPORT_END = re.compile(rb"^report: end: (\d+) lines, sum 0?x?([0-9a-f]+)$")
REPORT = b"report: "


def fnv(data: bytes) -> int:
    """FNV-1a of 32 bits."""
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def lines(data: bytes) -> list[bytes]:
    """The lines of a capture, of which the last one may be incomplete."""
    return re.sub(rb"[\r\0]", b"", data).split(b"\n")


def banner_at(line: bytes) -> int:
    """Where in a line a boot begins, or -1. What a firmware or a boot loader paints may stand
    before it."""
    at = line.find(BANNER)
    return -1 if QUOTED in line[: max(at, 0)] else at


def last_boot(got: list[bytes]) -> int:
    """The index of the line with which the last boot begins, or 0 if its beginning is missing. What
    stands before it on the line is removed."""
    for i in range(len(got) - 1, -1, -1):
        if (at := banner_at(got[i])) >= 0:
            got[i] = got[i][at:]
            return i
    return 0


@dataclasses.dataclass
class Console:
    """What the sums say of a capture. `line` is the number of the line that is wrong, from 1, if it
    is the only one; 0: it is not known which one."""

    known: bool  # the capture contains the sums
    complete: bool = False
    line: int = 0
    text: str = ""

    def __str__(self) -> str:
        if not self.known:
            return "the console printed no sums, so nobody knows whether it lost characters"
        if self.complete:
            return "the console lost nothing"
        place = f"in line {self.line}: {self.text}" if self.line else self.text
        return f"the console lost characters {place}"


def check_console(got: list[bytes]) -> Console:
    """`got` begins with the banner."""
    for at in range(len(got) - 1, -1, -1):
        if match := CONSOLE.match(got[at]):
            break
    else:
        return Console(False)
    count, first, second = int(match[1]), int(match[2], 16), int(match[3], 16)
    if at != count:
        what = "and ends of lines" if at < count else "or added some"
        return Console(True, text=f"{what}: {at} lines of {count} came before the sums")
    hashes = [fnv(line) for line in got[:at]]
    ours = sum(hashes) % PRIME
    weighted = sum(number * value for number, value in enumerate(hashes, 1)) % PRIME
    if (ours, weighted) == (first, second):
        return Console(True, True)
    # Of one wrong line, the number is the quotient of the differences.
    number = (weighted - second) * pow(ours - first, -1, PRIME) % PRIME if ours != first else 0
    if 0 < number <= count:
        return Console(True, line=number, text=got[number - 1].decode(errors="replace"))
    return Console(True, text="in more than one line")
