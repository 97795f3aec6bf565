#!/usr/bin/python3
"""Mutants: does a test fail for each rule that is broken?

Each patch in tests/mutants/ breaks one rule of the MMU in a scratch copy of the tree; then its unit
tests are built and run until one fails. A mutant that all tests let pass has survived, and so has
one whose patch does not apply any more or does not compile: it proves nothing.

    mutants.py [--sample N] [--jobs N] [NAME...]

A sample rotates with the day, so that all get their turn.
"""
import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parent.parent
PATCHES = ROOT / "tests" / "mutants"
SCRATCH = ROOT / "build" / "mutants"
COPIED = ["Makefile", "arch", "boot", "ept", "guest", "lib", "mmio", "mmu", "vmx", "tests/unit",
          "tools", "linker.ld"]
# Quick ones first; the adversary finds what they don't, the threads what it does not.
TESTS = ["spte", "ept_format", "mmu_patches", "mmu_trace", "mmu_pml", "mmu_fault", "mmu_huge",
         "mmu_tlb", "mmu_slots", "mmu_memory", "mmu_adversary", "mmu_threads"]
ENVIRONMENT = {**os.environ, "ADVERSARY_STEPS": "99000", "THREADS_CHANGES": "150"}
LIMIT = 120  # seconds for one test; a hang is a failure too


def run(tree, *command, limit=LIMIT):
    """The exit status; None after too long a time."""
    try:
        return subprocess.run(command, cwd=tree, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=limit).returncode
    except subprocess.TimeoutExpired:
        return None


def make(tree, test):
    return run(tree, "make", f"build/unit/test_{test}", limit=600) == 0


def copy_tree(number):
    tree = SCRATCH / str(number)
    shutil.rmtree(tree, ignore_errors=True)
    for name in COPIED:
        source, target = ROOT / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
    return tree


def judge(tree, patch):
    """What became of a mutant: (killed, how)."""
    if run(tree, "patch", "-p1", "-s", "-i", str(patch)) != 0:
        return False, "the patch does not apply"
    try:
        for test in TESTS:
            if not make(tree, test):
                return False, "does not compile"
            status = run(tree, f"build/unit/test_{test}")
            if status != 0:
                return True, f"test_{test}" + (" (hangs)" if status is None else "")
        return False, "all tests pass"
    finally:
        run(tree, "patch", "-p1", "-s", "-R", "-i", str(patch))


def choose(arguments):
    patches = sorted(PATCHES.glob("*.patch"))
    if arguments.names:
        return [p for p in patches if p.stem in arguments.names]
    if arguments.sample and arguments.sample < len(patches):
        start = int(time.time() // 86400) * arguments.sample % len(patches)
        return (patches + patches)[start:start + arguments.sample]
    return patches


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    patches = choose(arguments)
    trees = Queue()
    for number in range(min(arguments.jobs, len(patches))):
        tree = copy_tree(number)
        for test in TESTS:
            if not make(tree, test) or run(tree, f"build/unit/test_{test}") != 0:
                sys.exit(f"mutants: test_{test} fails without any mutant; mend that first")
        trees.put(tree)

    def one(patch):
        tree = trees.get()
        try:
            killed, how = judge(tree, patch)
        finally:
            trees.put(tree)
        print(f"{'killed  ' if killed else 'SURVIVED'} {patch.stem}: {how}", flush=True)
        return killed

    with ThreadPoolExecutor(trees.qsize()) as pool:
        results = list(pool.map(one, patches))
    print(f"{sum(results)} killed, {len(results) - sum(results)} survived")
    return 0 if all(results) and results else 1


if __name__ == "__main__":
    sys.exit(main())
