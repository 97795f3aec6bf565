#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What of `make test` and `make bench` a machine on a serial port can do: MACHINE=serial.

    box.py test     all guests, once with each set of switches
    box.py bench    what the rows of the budget take there, in ticks of its TSC
    box.py guests   the guests that `bench` needs, for the menu's entry

The machine boots the image for a stick. Its menu, which has to appear on the serial port, has an
entry for each of the first two. The machine is started by POWER=, or by somebody; then it restarts
by itself after each boot but the last.
"""

import argparse
import dataclasses
import datetime
import re
import sys

import bench
import report
import run
from harness import box, serial, session
from harness.boot import BUILD, Boot
from harness.errors import HarnessError, Status, run_tool

# Words with which all guests have to pass, on any CPU.
SWITCHES = (
    "",
    "gva_cache=off",
    "gva_cache=exits",
    "huge=0 ept_ad=0",
    "vpid=0",
    "pml=0",
    "ve=inject",
    "apicv=0",
    "x2apic=0",
    "mitigations=force",
    "cpus=1",
)
# The sets of the budget that need no command line and no model of their own.
SETS = {
    re.sub(r"\W+", "_", name): name
    for name, (program, cmdline, _) in bench.SETS.items()
    if not cmdline and not bench.model(name) and program not in ("scale", "hello")
}  # by the name of the guest
STAYS = (Status.TIMED_OUT, Status.DIED)  # after these the machine does not restart by itself


def boots(boot: Boot) -> list[Boot]:
    """A boot for each of the SWITCHES. If nobody else can start the machine again, it restarts by
    itself after each but the last."""
    found = []
    for words in SWITCHES:
        again = not boot.power and words != SWITCHES[-1]
        found.append(dataclasses.replace(
            boot, name="-".join([boot.name, *re.findall(r"\w+", words)]), entry=box.TEST,
            cmdline=f"{words} on_exit=reboot".strip() if again else words,
        ))  # fmt: skip
    return found


def line(number: int, words: str, done: session.Run) -> str:
    """The result of a boot."""
    head = f"{'ok' if done.status == Status.OK else 'not ok'} {number} {words or 'no switches'}"
    passed, failed, skipped = done.output.summary or (0, 0, 0)
    return f"{head} # {passed} passed, {failed} failed, {skipped} skipped, {done.seconds:.0f} s"


def test(boot: Boot) -> int:
    """Prints the results of all boots, and of those that failed what went wrong."""
    planned, failed = boots(boot), 0
    print(f"1..{len(planned)}")
    for number, (one, words) in enumerate(zip(planned, SWITCHES, strict=True), 1):
        done = box.run(one, ask=number == 1)
        print(line(number, words, done), flush=True)
        if done.status != Status.OK or done.complaints:
            run.explain(done)
        failed += done.status != Status.OK
        if done.status in STAYS and not boot.power:
            skipped = len(planned) - number
            print(f"box: the machine does not restart by itself, so {skipped} boots are left out; "
                  "POWER= could start it again", file=sys.stderr)  # fmt: skip
            break
    else:
        skipped = 0
    print(f"{number - failed} passed, {failed} failed, {skipped} skipped")
    return Status.OK if not failed else 1


# ---- bench ------------------------------------------------------------------------------------


def rows(lines: list[str]) -> dict[str, dict[str, tuple[float, str]]]:
    """The rows that each guest has printed: value and unit."""
    found: dict[str, dict[str, tuple[float, str]]] = {}
    since: dict[str, tuple[float, str]] = {}
    for text in lines:
        if match := serial.BENCH.match(text):
            since[match[1]] = (float(match[2]), match[3])
        elif (match := serial.CASE.match(text)) and not match[1]:
            found[match[4] or ""] = since
            since = {}
    return found


def table(measured: dict[str, dict[str, tuple[float, str]]]) -> list[str]:
    """The rows beside their instructions, which the budget has from the emulator."""
    budget = bench.read_budget()
    lines = [f"{'set':16} {'row':28} {'instructions':>12} {'here':>10}"]
    for guest, name in SETS.items():
        for row, (value, unit) in measured.get(guest, {}).items():
            cells = budget.get(name, {}).get(row)
            before = cells[0] if cells else "?"
            lines.append(f"{name:16} {row:28} {before:>12} {value:10.0f} {unit}")
    return lines


def head(found: report.Report) -> list[str]:
    """What the machine is."""
    clock = next((text for text in found.lines if text.startswith("TSC: ")), "TSC: ?")
    return [
        f"# CPU: {found.fact('CPU')}",
        f"# {found.fact('CPU signature')}",
        f"# below it: {found.fact('below us')}",
        f"# {clock}",
        f"# {datetime.date.today()}: instructions are those of the budget, in Bochs "
        f"{bench.BOCHS}; ticks are the TSC's, here",
    ]


def guests() -> str:
    """The guests of the entry, as GUESTS= has them."""
    found = []
    for guest, name in SETS.items():
        program, _, words = bench.SETS[name]
        words = ",".join(("testctl", "budget=120000", *words))
        found.append(f"{guest}=build/guest/{program}.elf:{words}")
    return " ".join(found)


def measure(boot: Boot) -> int:
    done = run.watched(dataclasses.replace(boot, entry=box.BENCH))
    measured = rows(done.output.lines)
    if not any(measured.values()):
        if done.status != Status.OK:
            return done.status
        raise HarnessError("no guest has measured anything: the menu's entry "
                           f"{box.BENCH} has not been booted")  # fmt: skip
    path = BUILD / "bench" / f"{boot.name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([*head(report.read(done.log.read_bytes())), "", *table(measured)]) + "\n"
    path.write_text(text)
    print(f"{text}bench: {path} has this table")
    return done.status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("test", "bench", "guests"))
    run.add_options(parser)
    opt = parser.parse_args()
    if opt.what == "guests":
        print(guests())
        return 0
    if opt.machine != "serial":
        raise HarnessError("tools/box.py is for MACHINE=serial")
    if opt.cmdline or opt.entry:
        raise HarnessError("CMDLINE= and ENTRY= are for `make run MACHINE=serial`: here the tool "
                           "chooses them")  # fmt: skip
    boot = run.boot_of(opt)
    return test(boot) if opt.what == "test" else measure(boot)


if __name__ == "__main__":
    run_tool("box", main)
