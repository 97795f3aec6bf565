#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Mutants: does a test fail for each rule that is broken?

Each entry in tests/mutants/ breaks one rule in a scratch copy of the sources. All files that depend
on the changed ones are compiled again and linked with the objects of `make unit`; then the unit
tests run, the one that the entry names first, until one fails. A mutant has survived if all tests
pass. A mutant that no longer matches the sources or does not compile also counts as a survivor,
because it proves nothing. If an entry names proofs, CBMC has to refute them as well; if it names
target tests, each has to fail with an image that has the mutant. A boot takes ten times as long as
a unit test, so the image of a mutant that a unit test kills is booted only with --boot.

    mutants.py [--sample N] [--jobs N] [--boot] [--record] [NAME...]     called by `make mutants`
    mutants.py --lint       checks the entries and the rules that README.md excuses

A sample boots nothing, and changes each day, so that all hosted mutants get their turn. --record
writes into each entry which test kills it. mutation.py reads the entries; tests/mutants/README.md
describes their format.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import mutation
from mutant_image import Image

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "mutants"
BUILD = ROOT / "build"
SCRATCH = BUILD / "mutants"
# Fast tests come first. The adversary finds what these miss, and the threads find races.
TESTS = """spte ept_format mmu_patches mmu_rules mmu_trace mmu_pml mmu_fault mmu_tlb mmu_nomem
           mmu_slots mmu_huge mmu_roots mmu_sides ghci ve_rules mmu_stores mmu_memory
           mmu_stores_random mmu_adversary mmu_threads""".split()
# These tests are linked from these folders alone, which is quicker; others from the whole library.
NARROW = ("spte", "ept_", "mmu_")
PARTS = ("lib", "ept", "mmu")
ENVIRONMENT = {**os.environ, "ADVERSARY_STEPS": "99000"}
FLAGS = [f for f in shlex.split(os.environ.get("HOSTFLAGS", "")) if not f.startswith("-g")]
LINKER = shlex.split(os.environ.get("UNIT_LD", ""))
GCC = os.environ.get("HOSTCC", "gcc")
# The rules of the catalogue that are the MMU's own.
RULES = [f"{letter}{n}" for letter, last in (("S", 15), ("P", 24), ("F", 10), ("W", 9), ("T", 6),
                                             ("X", 16))
         for n in range(1, last + 1)] + [f"N{n}" for n in (1, 2, 3, 4, 5, 6, 10)]  # fmt: skip


def run(tree, *command):
    nothing = subprocess.DEVNULL
    return subprocess.run(command, cwd=tree, env=ENVIRONMENT, stdin=nothing, stdout=nothing,
                          stderr=nothing).returncode  # fmt: skip


def run_test(tree, program, limit):
    """Returns the exit code, 0 if all passed, or None after a timeout. The first failure ends the
    program, because a mutant may leave locks behind on which the next test would hang."""
    with subprocess.Popen([program], cwd=tree, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as test:  # fmt: skip
        hung = threading.Event()
        alarm = threading.Timer(limit, lambda: (hung.set(), test.kill()))
        alarm.start()
        for line in test.stderr:
            if line.startswith(b"[  ERROR   ]"):  # cmocka writes FAILED to the standard output
                test.kill()
        alarm.cancel()
    return None if hung.is_set() else test.returncode


# ---- Building and running -----------------------------------------------------------------------


def unit_source(test):
    """The file of a unit test, or "" if there is none."""
    found = next(ROOT.glob(f"tests/unit/**/test_{test}.c"), None)
    return found.relative_to(ROOT).as_posix() if found else ""


class Baseline:
    """The objects and tests without any mutant, and how long each test takes."""

    def __init__(self):
        self.lock = threading.Lock()
        self.seconds = {}
        self.depends = {}
        for file in (BUILD / "host").glob("**/*.d"):
            rule = file.read_text().split("\n\n")[0].replace("\\\n", " ").split("\n")[0]
            _, _, rest = rule.partition(":")
            source, *headers = rest.split()
            if (ROOT / source).exists():  # and was not moved or deleted since it was compiled
                self.depends[source] = {source, *headers}

    def object(self, source):
        return BUILD / "host" / Path(source.removeprefix("build/")).with_suffix(".o")

    def limit(self, test, anew=False):
        """Returns the time limit of a test, which must pass without a mutant: eight times what it
        takes then. `anew` measures again, because the machine may be busier by now."""
        with self.lock:
            if anew or test not in self.seconds:
                start = time.monotonic()
                sound = run_test(ROOT, f"build/unit/test_{test}", 900) == 0
                self.seconds[test] = time.monotonic() - start if sound else None
            if self.seconds[test] is None:
                raise mutation.MutantError(f"test_{test} fails without any mutant; mend it first")
            return 5 + 8 * self.seconds[test]

    def check_target(self, test, image):
        """Checks that a test of the image passes without a mutant."""
        with self.lock:
            if test not in self.seconds:
                self.seconds[test] = 0 if image.builds() and image.passes(test) else None
            if self.seconds[test] is None:
                raise mutation.MutantError(f"{test} fails without any mutant; mend it first")


class Tree:
    """A scratch copy of the sources, and of the image if one of the mutants is booted."""

    def __init__(self, number, baseline):
        self.path, self.baseline, self.image = SCRATCH / str(number), baseline, None
        shutil.rmtree(self.path, ignore_errors=True)
        for source in {s for deps in baseline.depends.values() for s in deps}:
            if Path(source).parts[0] != "build":
                target = self.path / source
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / source, target)
        for extra in ("tests/proofs", "tests/unit", "tools"):  # with programs that tests call
            shutil.copytree(ROOT / extra, self.path / extra, dirs_exist_ok=True)

    def compile(self, source):
        target = self.path / "objects" / Path(source).with_suffix(".o")
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = [*FLAGS, "-O0"] if target.name.startswith("test_") else FLAGS  # as in the Makefile
        return target if run(self.path, GCC, *flags, "-c", source, "-o", target) == 0 else None

    def link(self, test, changed, done):
        """Returns the test program with the mutant in it, or None. `done` keeps compiled
        objects."""
        main = unit_source(test)
        parts = (*PARTS, "tests") if test.startswith(NARROW) else None
        members = []
        for source, deps in self.baseline.depends.items():
            if parts and not source.startswith(parts):
                continue
            if Path(source).name.startswith("test_") and source != main:
                continue
            if deps & changed:
                if source not in done:
                    done[source] = self.compile(source)
                members.append((source, done[source]))
            else:
                members.append((source, self.baseline.object(source)))
        if not all(file for _, file in members):
            return None
        library, program = self.path / "objects/lib.a", self.path / f"objects/test_{test}"
        library.parent.mkdir(exist_ok=True)  # it does not exist if no file depends on the mutant
        library.unlink(missing_ok=True)
        first = [file for source, file in members if source == main]
        members.sort(key=lambda member: not member[0].startswith("tests/"))  # as in the Makefile
        if run(self.path, "ar", "rcsT", library, *(f for s, f in members if s != main)) != 0:
            return None
        libraries = [library, "-lcmocka", "-lpthread"]
        if run(self.path, GCC, *FLAGS, *LINKER, *first, *libraries, "-o", program):
            return None
        return program

    def tests(self, mutant, order):
        """Returns the test that kills a mutant, or None, and what happened."""
        done = {}
        for test in order:
            limit = self.baseline.limit(test)
            program = self.link(test, mutant.files, done)
            if not program:
                return None, "does not compile"
            status = run_test(self.path, program, limit)
            if status is None and (longer := self.baseline.limit(test, anew=True)) > limit:
                status = run_test(self.path, program, longer)
            if status != 0:
                return test, f"test_{test}" + (" (hangs)" if status is None else "")
        return None, "all tests pass"

    def survived_boots(self, mutant):
        """The reason why the mutant counts as a survivor of its target tests, or an empty text."""
        self.image = self.image or Image(SCRATCH / f"image{self.path.name}")
        for test in mutant.targets:
            self.baseline.check_target(test, self.image)
        with self.image.broken_by(mutant) as fault:
            for test in mutant.targets:
                if not fault and self.image.passes(test):
                    fault = f"{test} passes"
            return fault

    def judge(self, mutant, cbmc, boot):
        """Returns what tests() returns. Its proofs and its boots also have to fail with the
        mutant."""
        boots = mutant.targets if boot or not mutant.test else []
        try:
            if boots and (passing := self.survived_boots(mutant)):
                return None, passing
            if boots and not mutant.test:
                return boots[0], " ".join(boots)
            mutant.apply(self.path)
            shutil.rmtree(self.path / "objects", ignore_errors=True)
            first = [mutant.test] if mutant.test else []
            killer, how = self.tests(mutant, first + [t for t in TESTS if t not in first])
            for proof in mutant.proofs if killer and cbmc else []:
                if run(self.path, "tools/prove.sh", cbmc, proof) == 0:
                    return None, f"{proof} is still proved"
                how += f", {proof}"
            return killer, ", ".join([how, *boots])
        except mutation.MutantError as error:
            return None, str(error)
        finally:
            for file in mutant.files:
                if (self.path / file).exists():  # no hosted test compiles some files
                    shutil.copy2(ROOT / file, self.path / file)


# ---- Lint ---------------------------------------------------------------------------------------


def named_tests(excused):
    """Checks that each X rule is in tests/README.md, with tests that exist, unless excused."""
    faults, rules = [], set()
    for line in (FOLDER.parent / "README.md").read_text().splitlines():
        row = re.match(r"\| (X[0-9]+) \|[^|]+\|([^|]+)\|([^|]+)\|$", line)
        for cell, file in zip(row.groups()[1:] if row else (),
                              (unit_source, "guest/programs/{}.c".format)):  # fmt: skip
            rules.add(row[1])
            for program, test in re.findall(r"`(\w+)\.(\w+)`", cell):
                path = ROOT / file(program)
                text = path.read_text() if path.is_file() else ""
                if f"static void {test}(void" not in text and f'{{"{test}", {test},' not in text:
                    faults.append(f"tests/README.md: {row[1]}: {program}.{test} is gone")
    return faults + [f"rule {r} has no tests in tests/README.md"
                     for r in RULES if r[0] == "X" and r not in rules | excused]  # fmt: skip


def lint():
    """Checks that each rule either has a mutant or an excuse in README.md, and each proof one."""
    readme = (FOLDER / "README.md").read_text()
    excused = set()
    for first, last in re.findall(r"^\| ([A-Z][0-9]+)(?: to ([A-Z][0-9]+))? \|", readme, re.M):
        numbers = range(int(first[1:]), int((last or first)[1:]) + 1)
        excused |= {f"{first[0]}{n}" for n in numbers}
    mutants = mutation.load(FOLDER)
    broken = {rule for mutant in mutants for rule in mutant.rules}
    faults = [f"rule {r} has no mutant, and tests/mutants/README.md does not say why"
              for r in RULES if r not in broken | excused]  # fmt: skip
    faults += [f"rule {r} has a mutant; tests/mutants/README.md says that it has none"
               for r in sorted(broken & excused)]  # fmt: skip
    for mutant in mutants:
        if mutant.test or not mutant.targets:
            faults += [] if unit_source(mutant.test) else [
                f"{mutant.where}: `Test: {mutant.test}` names no unit test"]  # fmt: skip
        for target in mutant.targets:
            file, _, test = target.partition("::")
            path = ROOT / "tests/target" / file
            if f"def {test.partition('[')[0]}(" not in (path.read_text() if path.exists() else ""):
                faults.append(f"{mutant.where}: `Target: {target}` names no target test")
        try:
            mutant.changed(ROOT)
        except mutation.MutantError as error:
            faults.append(str(error))
    proofs = {name for file in (ROOT / "tests/proofs").glob("*.c")
              for name in re.findall(r"^void (prove_\w+)", file.read_text(), re.M)}  # fmt: skip
    failing = {proof for mutant in mutants for proof in mutant.proofs}
    faults += named_tests(excused)
    faults += [f"no mutant has to make {p} fail" for p in sorted(proofs - failing)]
    faults += [f"{p} is no proof" for p in sorted(failing - proofs)]
    for fault in faults:
        print(f"mutants: {fault}")
    return 1 if faults else 0


# ---- All together -------------------------------------------------------------------------------


def choose(arguments):
    found = mutation.load(FOLDER)
    if unknown := set(arguments.names) - {m.name for m in found}:
        sys.exit(f"mutants: no entry in tests/mutants/ is called {' or '.join(sorted(unknown))}")
    if arguments.names:
        return [m for m in found if m.name in arguments.names]
    if not arguments.sample:
        return found
    hosted = [m for m in found if m.test or not m.targets]
    apart = max(1, len(hosted) // arguments.sample)
    start = int(time.time() // 86400) % apart
    return hosted[start::apart][: arguments.sample]


def find_cbmc(wanted):
    """The folder of CBMC, or None with a message if it cannot be installed."""
    if not any(m.proofs for m in wanted):
        return None
    folder = BUILD / "cbmc"
    if run(ROOT, "tools/cbmc.sh", folder) == 0:
        return folder
    print("mutants: CBMC is not available, so no proofs are checked", flush=True)
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--boot", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--lint", action="store_true")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    if arguments.lint:
        return lint()
    if not FLAGS:
        sys.exit("mutants: call it by `make mutants`, which says how the tests are compiled")
    wanted = choose(arguments)
    cbmc, baseline, trees = find_cbmc(wanted), Baseline(), Queue()
    for number in range(min(arguments.jobs, len(wanted))):
        trees.put(Tree(number, baseline))

    def one(mutant):
        tree, start = trees.get(), time.monotonic()
        try:
            killer, how = tree.judge(mutant, cbmc, arguments.boot)
        finally:
            trees.put(tree)
        word, seconds = "killed  " if killer else "SURVIVED", time.monotonic() - start
        print(f"{word} {mutant.name}: {how} ({seconds:.1f} s)", flush=True)
        return killer

    with ThreadPoolExecutor(max(trees.qsize(), 1)) as pool:
        killers = list(pool.map(one, wanted))
    for mutant, killer in zip(wanted, killers):
        if killer and arguments.record and killer not in (mutant.test, *mutant.targets):
            mutant.record(killer)
    survived = killers.count(None)
    print(f"{len(killers) - survived} killed, {survived} survived")
    return 0 if killers and not survived else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except mutation.MutantError as failure:
        sys.exit(f"mutants: {failure}")
