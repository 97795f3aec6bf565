#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Packs what a machine printed into one text file, which can be sent: `make report`.

    report.py                   boots the machine as tools/run.py does, with the word `report`
    report.py --log FILE        the console of such a boot, as a terminal program has kept it

The file build/report/NAME.txt has the facts about the machine, the results and the whole log, and
says what is missing. The row of docs/MACHINES.md is printed. The status is 1 if anything is
missing, or what the boot returned.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import sys

import run
from harness import bochs, emulator, serial, sums
from harness.boot import BUILD, Boot
from harness.errors import HarnessError, run_tool

FORMAT = 1  # of the lines `report:` (main/report.h)
LINE = re.compile(r"^report: ([^:]+): (.*)$")
# What a row says of VMX: the words of the report, and those of the row.
NOTABLE = {
    "5 levels": "5 levels",
    "1 GiB pages": "1 GiB pages",
    "accessed and dirty bits": "A/D",
    "enable VPID": "VPID",
    "unrestricted guest": "unrestricted guest",
    "enable PML": "PML",
    "EPT-violation #VE": "#VE",
    "virtual-interrupt delivery": "virtual interrupts",
    "process posted interrupts": "posted interrupts",
    "VMCS shadowing": "VMCS shadowing",
    "mode-based execute control for EPT": "MBE",
    "sub-page write permissions for EPT": "SPP",
    "use TSC scaling": "TSC scaling",
    "enable HLAT": "HLAT",
    "IPI virtualization": "IPI virtualization",
    "load FRED": "FRED",
}
OF_VMX = ("IA32_VMX_EPT_VPID_CAP", "controls that may be 1")  # the keys that have these words


@dataclasses.dataclass
class Report:
    lines: list[str]  # of the boot
    facts: dict[str, list[str]]  # by key; the parts of a long value, or several values
    output: serial.Output
    missing: list[str]  # messages

    def fact(self, key: str) -> str:
        return " ".join(self.facts.get(key, [])) or "?"


def _facts(got: list[bytes], missing: list[str]) -> dict[str, list[str]]:
    """The lines of the report, if they are complete; `missing` takes what they lack."""
    begin = next((i for i, line in enumerate(got) if sums.REPORT_BEGIN.match(line)), None)
    end = next((i for i, line in enumerate(got) if sums.REPORT_END.match(line)), None)
    found = [line for line in got[begin or 0 : end] if line.startswith(sums.REPORT)]
    if begin is None and end is None and not found:
        missing.append("no line `report: begin`: boot with the word `report` on the command line")
    elif begin is None:
        missing.append("the beginning of the report, `report: begin`, was not captured")
    elif int(sums.REPORT_BEGIN.match(got[begin])[1]) != FORMAT:
        missing.append(f"`{got[begin].decode()}`: this tool reads version {FORMAT} of the report")
    if end is None and found:
        missing.append(f"the report ends early, after `{_text(found[-1])}`")
    if begin is not None and end is not None:
        count, value = sums.REPORT_END.match(got[end]).groups()
        ours = sums.fnv(b"".join(line.removeprefix(sums.REPORT) + b"\n" for line in found))
        if len(found) != int(count):
            missing.append(f"{len(found)} of the report's {int(count)} lines were captured")
        elif ours != int(value, 16):
            missing.append("a line of the report has lost or changed characters: its sum is "
                           f"{ours:#x}, not {int(value, 16):#x}")  # fmt: skip
    facts: dict[str, list[str]] = {}
    for line in found:
        if match := LINE.match(_text(line)):
            facts.setdefault(match[1], []).append(match[2])
    return facts


def _text(line: bytes) -> str:
    return serial.ESCAPES.sub("", line.decode(errors="replace")).rstrip()


def read(data: bytes) -> Report:
    got = sums.lines(data)
    start = sums.last_boot(got)
    missing = []
    if not got[start].startswith(sums.BANNER):
        missing.append("the first line of a boot, `eptvisor: …`, was not captured")
    got = got[start:]
    facts = _facts(got, missing)
    lines = [_text(line) for line in got]
    while lines and not lines[-1]:
        lines.pop()
    output = serial.parse("\n".join(lines))
    console = sums.check_console(got)
    if output.exit_code is None:
        last = f"; the last one is `{lines[-1]}`" if lines else ""
        missing.append(f"the last line of a boot, `EXIT code name`, was not captured{last}")
    elif console.known and not console.complete:
        missing.append(str(console))
    return Report(lines, facts, output, missing)


# ---- What is written --------------------------------------------------------------------------


def vmx(report: Report) -> str:
    """The notable features of VMX, in the words of a row."""
    if "VMX" in report.facts:
        return report.fact("VMX")
    said = [report.fact(key) for key in report.facts if any(word in key for word in OF_VMX)]
    if "IA32_VMX_BASIC" in report.facts and "IA32_VMX_EPT_VPID_CAP" not in report.facts:
        return "no EPT"
    words = set(re.split(r", |: ", ", ".join(said)))
    return ", ".join(short for word, short in NOTABLE.items() if word in words) or "?"


def cpus(report: Report) -> str:
    found = [match for line in report.lines if (match := re.match(r"cpus: (\d+) in use", line))]
    return found[0][1] if found else "?"


def result(report: Report) -> str:
    out = report.output
    if out.exit_code is None:
        return "no EXIT line"
    said = f"EXIT {out.exit_code} {out.exit_name}"
    return f"{out.summary[0]} passed, {out.summary[1]} failed; {said}" if out.summary else said


def row(report: Report, title: str) -> str:
    """The row of docs/MACHINES.md."""
    signature = report.fact("CPU signature").partition(": ")[2] or "?"
    cells = [title, report.fact("CPU"), signature, vmx(report), cpus(report), result(report)]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def title_of(report: Report, boot: Boot | None) -> str:
    """What the machine is, as far as is known. A log says only what is below."""
    if boot and boot.machine == "bochs":
        return f"Bochs {emulator.find(boot.bochs).version}, `{boot.cpu or bochs.DEFAULT_CPU}`"
    if boot and boot.machine == "nested":
        return f"KVM of Linux in Bochs {emulator.find(boot.bochs).version}"
    if "machine" in report.facts:
        return report.fact("machine")
    below = report.fact("below us")
    return below if below != "?" and "nothing" not in below else "a PC"


def pack(report: Report, title: str) -> str:
    """The text of the file."""
    out = report.output
    tests = [f"{'ok' if case.passed else 'not ok'} {case.path}"
             + (f" # {case.comment}" if case.comment else "") for case in out.cases]  # fmt: skip
    facts = [f"{key}: {value}" for key, values in report.facts.items() for value in values
             if key not in ("begin", "end", "console")]  # fmt: skip
    state = [f"MISSING: {text}" for text in report.missing] or ["complete"]
    sections = {
        f"A report of eptvisor on {title}": [*state, result(report)],
        "The row of docs/MACHINES.md": [row(report, title)],
        "The machine": facts,
        "The results": tests + [f"warning: {line.strip()}" for line in out.warnings],
        "All that it printed": report.lines,
    }
    return "\n".join(f"== {head}\n\n" + "\n".join(body or ["nothing"]) + "\n"
                     for head, body in sections.items())  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    run.add_options(parser)
    parser.add_argument("--log", type=pathlib.Path, default=os.environ.get("LOG") or None)
    parser.add_argument("--title", default=os.environ.get("TITLE", ""), help="what the machine is")
    opt = parser.parse_args()
    boot, log, status = None, opt.log, 0
    if not log:
        boot = run.boot_of(opt)
        # On a serial port the entry of the menu has the word.
        if boot.machine != "serial":
            boot = dataclasses.replace(boot, cmdline=f"report {boot.cmdline}".strip())
        done = run.watched(boot)
        log, status = done.log, done.status
    try:
        report = read(log.read_bytes())
    except OSError as error:
        raise HarnessError(f"LOG={log}: {error.strerror}") from error
    title = opt.title or title_of(report, boot)
    path = BUILD / "report" / f"{opt.name if boot else log.stem}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(pack(report, title))
    for text in report.missing:
        print(f"report: missing: {text}", file=sys.stderr)
    print(row(report, title))
    print(f"report: {path} has all of it; docs/MACHINES.md says where to send it")
    return status or bool(report.missing)


if __name__ == "__main__":
    run_tool("report", main)
