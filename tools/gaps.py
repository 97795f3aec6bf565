#!/usr/bin/python3
"""Which broken rules do the guests notice on the emulator?

Each mutant of tests/mutants/ is built into an image in a scratch copy of the tree, and that boots
with the MMU's guests, once for each command line below. `seen` names the first tests that failed,
or how the run ended (a BUG is a check of our own). `hidden` is a rule that this machine cannot show
broken, so that only the hosted tests prove it. docs/EMULATOR-GAPS.md sums this up.

    gaps.py [NAME...]      with `make all guests` done; run as `make gaps`
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import mutants  # noqa: E402

ROOT = mutants.ROOT
SCRATCH = ROOT / "build" / "gaps"
COMMAND_LINES = ["", "ept_ad=0 nx_huge=off", "pml=0"]
GUESTS = ["mmu", "flush", "wrap", "counters", "trace", "giant", "scenarios"]
COPIED = ["Makefile", "arch", "boot", "ept", "guest", "lib", "mmio", "mmu", "vmx", "tools",
          "linker.ld", "tests/unit"]  # fmt: skip


def copy_tree() -> None:
    """With its objects and their times, so that only what a mutant touches is compiled again."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    for name in [*COPIED, "build/obj", "build/guest", "build/font.c", "build/optrom.bin",
                 "build/eptvisor.elf"]:  # fmt: skip
        source, target = ROOT / name, SCRATCH / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)


def run(*command: str, stdin: str = "", **environment: str) -> str:
    result = subprocess.run(command, cwd=SCRATCH, env={**os.environ, **environment}, text=True,
                            errors="replace", input=stdin, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, check=False)  # fmt: skip
    return result.stdout if result.returncode == 0 else f"{result.stdout}\nfailed"


def boot(command_line: str) -> str:
    """What failed, or nothing."""
    guests = " ".join(f"build/guest/{name}.elf:testctl,budget=60000" for name in GUESTS)
    output = run("/usr/bin/python3", "tools/run.py", MACHINE="bochs", METHOD="optrom", NAME="gaps",
                 TIMEOUT="60", CMDLINE=command_line, GUESTS=guests)  # fmt: skip
    if not output.endswith("\nfailed"):
        return ""
    failed = re.findall(r"^run: failed: (\S+)$", output, re.M)
    end = re.search(r"^EXIT \d+ (\S+)$", output, re.M)
    return ", ".join(failed[:3]) or (f"EXIT {end[1]}" if end else "it hangs")


def judge(mutant: mutants.Mutant) -> str:
    sound = {file: (SCRATCH / file).read_bytes() for file in mutant.files}
    if run("patch", "-p1", "-s", stdin=mutant.text):
        return "the patch does not apply"
    try:
        if "Error" in run("make", "build/eptvisor.elf", "Q=@"):
            return "does not compile"
        for line in COMMAND_LINES:
            if failed := boot(line):
                return f"seen    {failed}" + (f" ({line})" if line else "")
        return "hidden"
    finally:
        for file, content in sound.items():
            (SCRATCH / file).write_bytes(content)


def main() -> int:
    copy_tree()
    if failed := boot(""):
        sys.exit(f"gaps: without any mutant these fail: {failed}")
    names, seen, hidden = sys.argv[1:], 0, 0
    for mutant in mutants.mutants():
        if names and mutant.name not in names:
            continue
        verdict = judge(mutant)
        seen += verdict.startswith("seen")
        hidden += verdict == "hidden"
        print(f"{mutant.name:45} {verdict}", flush=True)
    print(f"{seen} seen, {hidden} hidden")
    return 0


if __name__ == "__main__":
    sys.exit(main())
