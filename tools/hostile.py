#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs a campaign of hostile VMs: `make hostile N=10000`. The options come from the environment.

N=       number of VMs (500)                   SEED=      seed of all random choices (1)
VM=      run only this VM, next to an innocent one. TRACE=1 shows each of its steps, SHRINK=1 looks
         for the fewest steps that fail in the same way, STEPS= adds arguments for the guest
BOOT=    run only this boot                    JOBS=      number of boots at a time (2)
SMP= CPU= MACHINE= CMDLINE= PER_BOOT=          fix these instead of choosing them at random
"""

import collections
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from harness import session
from harness.boot import variable
from harness.campaign import BUDGET_MS, PER_BOOT, STEPS, Campaign, Failure, endings, judge
from harness.errors import run_tool

env = os.environ.get


def report(campaign: Campaign, boot: int, failure: Failure) -> None:
    again = campaign.command(N=variable("N", 500), BOOT=boot)
    alone = f"; alone: {campaign.command(VM=failure.vm, TRACE=1)}" if failure.vm is not None else ""
    print(f"hostile: {failure.kind}: {failure.text[:300]}")
    print(f"hostile:     repeat it: {again}{alone}", flush=True)


def run_campaign(campaign: Campaign, vms: int, boots: list[int], jobs: int) -> int:
    counts: collections.Counter[str] = collections.Counter()
    failures: list[Failure] = []
    begin = time.monotonic()

    def one(boot: int) -> tuple[int, session.Run]:
        return boot, session.run(campaign.boot(boot, vms))

    with ThreadPoolExecutor(jobs) as pool:
        for boot, run in pool.map(one, boots):
            ended = endings(run)
            counts.update(ending for name, ending in ended.items() if name.startswith("h"))
            found = judge(run)
            for failure in found:
                report(campaign, boot, failure)
            failures += found
    total = ", ".join(f"{count} {ending}" for ending, count in counts.most_common())
    emulators = sum(not failure.ours for failure in failures)
    print(f"hostile: {counts.total()} VMs in {len(boots)} boots and "
          f"{time.monotonic() - begin:.0f} s: {total}")  # fmt: skip
    kinds = collections.Counter(failure.kind for failure in failures if failure.ours)
    if emulators:
        print(f"hostile: {emulators} failures of the emulator itself (docs/EMULATOR-GAPS.md)")
    ours = len(failures) - emulators
    print(f"hostile: {ours} failures" + (f" {dict(kinds)}" if ours else ""))
    return 1 if ours else 0


# ---- One VM -------------------------------------------------------------------------------------


def signature(run: session.Run) -> tuple[str, str]:
    """Two failures with equal signatures are the same failure."""
    found = judge(run)
    if not found:
        return "", ""
    text = found[0].text.split("=")[0]
    return found[0].kind, text[:60]


def ranges(steps: list[str]) -> str:
    """Formats steps as an argument of the guest: `0.1,0.3-7` are steps of vCPU 0."""
    parts: list[list[tuple[int, int]]] = []
    for cpu, step in sorted((int(c), int(s)) for c, s in (step.split(".") for step in steps)):
        if parts and parts[-1][-1] == (cpu, step - 1):
            parts[-1].append((cpu, step))
        else:
            parts.append([(cpu, step)])
    return ",".join(
        f"{part[0][0]}.{part[0][1]}" + (f"-{part[-1][1]}" if len(part) > 1 else "")
        for part in parts
    )


def shrink(steps: list[str], fails: Callable[[list[str]], bool]) -> list[str]:
    """Returns fewer steps that still fail. Removes whole halves first, then smaller pieces (delta
    debugging)."""
    size = max(len(steps) // 2, 1)
    while True:
        at, shorter = 0, False
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if fewer and fails(fewer):
                steps, shorter = fewer, True
            else:
                at += size
        if size == 1 and not shorter:
            return steps
        size = max(size // 2, 1)


def run_one(campaign: Campaign, vm: int) -> int:
    trace, steps = env("TRACE"), env("STEPS") or ""
    # Printing the steps takes longer than executing them.
    budget = 60000 if trace else BUDGET_MS
    run = session.run(campaign.alone(vm, f"{steps}{' trace' * bool(trace)}".strip(), budget),
                      show=print)  # fmt: skip
    found = judge(run)
    for failure in found:
        print(f"hostile: {failure.kind}: {failure.text}")
    if not found:
        print("hostile: the VM does no harm when it runs alone")
    if not env("SHRINK") or not found:
        return 1 if found else 0
    wanted = signature(run)
    words = campaign.hostile(vm).words
    vcpus = next((int(word[6:]) for word in words if word.startswith("vcpus=")), 1)

    def fails(steps: list[str]) -> bool:
        again = session.run(campaign.alone(vm, f"only={ranges(steps)}"))
        print(f"hostile: {len(steps)} steps: {signature(again)[0] or 'no harm'}", flush=True)
        return signature(again) == wanted

    fewest = shrink([f"{cpu}.{step}" for cpu in range(vcpus) for step in range(STEPS)], fails)
    only = f"only={ranges(fewest)}"
    print(f"hostile: {len(fewest)} steps are enough: "
          f"{campaign.command(VM=vm, STEPS=only, TRACE=1)}")
    return 1


def main() -> int:
    campaign = Campaign(
        variable("SEED", 1, 0), env("MACHINE") or "bochs", env("CPU") or "", variable("SMP", 0, 0),
        variable("PER_BOOT", PER_BOOT), env("CMDLINE") or "",
    )  # fmt: skip
    vms = variable("N", 500)
    if env("VM"):
        return run_one(campaign, variable("VM", 0, 0))
    boots = [variable("BOOT", 0, 0)] if env("BOOT") else list(range(campaign.boots(vms)))
    return run_campaign(campaign, vms, boots, variable("JOBS", 2))


if __name__ == "__main__":
    run_tool("hostile", main)
