# SPDX-License-Identifier: MIT
"""Reads what an image printed: KTAP results, counters, the summary and the EXIT line; judges it."""

import dataclasses
import itertools
import re

from .errors import Status

# Firmware and GRUB paint their screens on the serial line too.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\r\0]")
EXIT = re.compile(r"^EXIT (\d+) ([a-z0-9-]+)$")
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
CASE = re.compile(r"^( *)(not ok|ok) (\d+)(?: -)?(?: ([^#]*?))?(?: *# *(.*))?$")
SUBTEST = re.compile(r"^ *# Subtest: (.*)$")
PLAN = re.compile(r"^( *)1\.\.(\d+)$")
COUNTER = re.compile(r"\b([A-Za-z_][\w.-]*)=(-?(?:0x[0-9a-fA-F]+|\d+))(?=[\s,;]|$)")
# A guest's lines are indented by four spaces and the hypervisor's are not, so neither can be
# forged.
BENCH = re.compile(r"^ {4}BENCH (\S+) (-?[\d.]+) (\S+)$")
# Nor are those of an earlier boot's log (lib/kept_log.h) the hypervisor's of this boot.
WARN = re.compile(r"^(?! {4}|before\| ).*\bWARN\b")
INDENT = 4


@dataclasses.dataclass
class Case:
    """One `ok` or `not ok` line. `path` is its name below those of the tests that hold it."""

    depth: int
    passed: bool
    name: str
    comment: str
    path: str = ""
    leaf: bool = True

    @property
    def skipped(self) -> bool:
        return self.comment.upper().startswith("SKIP")

    @property
    def counters(self) -> dict[str, int]:
        return {key: int(value, 0) for key, value in COUNTER.findall(self.comment)}


@dataclasses.dataclass
class Output:
    lines: list[str]
    cases: list[Case] = dataclasses.field(default_factory=list)
    counters: dict[str, int] = dataclasses.field(default_factory=dict)  # of `# key=value` lines
    bench: dict[str, tuple[float, str]] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    broken_plans: list[str] = dataclasses.field(default_factory=list)
    summary: tuple[int, int, int] | None = None
    exit_code: int | None = None
    exit_name: str = ""
    after_exit: list[str] = dataclasses.field(default_factory=list)

    @property
    def failures(self) -> list[Case]:
        return [case for case in self.cases if not case.passed]

    @property
    def last_test(self) -> str:
        """The last test that began or ended, for the message about a time-out."""
        for line in reversed(self.lines):
            if match := SUBTEST.match(line):
                return f"in {match[1]}"
            if match := CASE.match(line):
                return f"after {match[4] or match[3]}"
        return "before the first test" if any(self.lines) else "before anything was printed"


def clean(text: str) -> list[str]:
    return ESCAPES.sub("", text).split("\n")


def parse(text: str) -> Output:
    """Understands any prefix of a run's output, so that a time-out can be explained as well."""
    out = Output([line.rstrip() for line in clean(text)])
    plans: dict[int, int] = {}  # depth: cases announced
    for line in out.lines:
        if out.exit_code is not None:
            if line.strip():
                out.after_exit.append(line)
        elif match := EXIT.match(line):
            out.exit_code, out.exit_name = int(match[1]), match[2]
        elif match := SUMMARY.match(line):
            out.summary = (int(match[1]), int(match[2]), int(match[3]))
        elif match := CASE.match(line):
            depth = len(match[1]) // INDENT
            case = Case(depth, match[2] == "ok", match[4] or "", match[5] or "")
            _adopt(out, case, plans)
        elif match := PLAN.match(line):
            depth = len(match[1]) // INDENT
            plans[depth] = int(match[2]) + (_results(out, depth) if depth in plans else 0)
        elif match := BENCH.match(line):
            out.bench[match[1]] = (float(match[2]), match[3])
        elif line.lstrip().startswith("#"):
            out.counters |= {key: int(value, 0) for key, value in COUNTER.findall(line)}
        if WARN.search(line):
            out.warnings.append(line)
    _close(out, plans, 0, "the run")
    return out


def _results(out: Output, depth: int) -> int:
    """The results so far of a VM that now announces tests again, because it was reset."""
    lives = itertools.takewhile(lambda case: case.depth >= depth, reversed(out.cases))
    return sum(case.depth == depth for case in lives)


def _adopt(out: Output, case: Case, plans: dict[int, int]) -> None:
    """A KTAP test follows the tests that it holds: they become its children."""
    case.path = case.name
    children = []
    for earlier in reversed(out.cases):
        if earlier.depth <= case.depth:
            break
        earlier.path = f"{case.name}/{earlier.path}"
        children.append(earlier)
    case.leaf = not children
    _close(out, plans, case.depth + 1, case.name, children)
    out.cases.append(case)


def _close(
    out: Output, plans: dict[int, int], depth: int, name: str, cases: list[Case] | None = None
) -> None:
    plan = plans.pop(depth, None)
    seen = sum(case.depth == depth for case in (out.cases if cases is None else cases))
    if plan is not None and plan != seen:
        out.broken_plans.append(f"{name}: {plan} tests announced, {seen} results printed")


def contradictions(out: Output) -> list[str]:
    """Messages about output that contradicts `EXIT 0`. Empty if there is no `EXIT 0`."""
    found = [f"text after the EXIT line: {out.after_exit[0]}"] if out.after_exit else []
    if out.exit_code != 0:
        return found
    found += [f"EXIT 0, but a warning was printed: {line.strip()}" for line in out.warnings[:1]]
    found += [f"EXIT 0, but a test failed: {case.path}" for case in out.failures[:1]]
    found += out.broken_plans
    if out.summary is None:
        return found + ["EXIT 0, but no line `N passed, N failed, N skipped` was printed"]
    if out.summary[1]:
        found.append(f"EXIT 0, but the summary says {out.summary[1]} failed")
    leaves = [case for case in out.cases if case.leaf]
    skipped = sum(case.skipped for case in leaves)
    counted = (sum(case.passed for case in leaves) - skipped, skipped)
    if counted != (out.summary[0], out.summary[2]):
        found.append(
            f"the summary says {out.summary[0]} passed and {out.summary[2]} skipped, "
            f"but the result lines say {counted[0]} and {counted[1]}"
        )
    return found


def verdict(out: Output) -> int:
    """The status of a run that reached its EXIT line."""
    if contradictions(out):
        return Status.DISAGREES
    return out.exit_code if out.exit_code is not None else Status.DIED
