# SPDX-License-Identifier: MIT
"""A campaign of hostile VMs: which VMs a seed means, and what of their boots is a failure.

VMs come in boots of up to PER_BOOT hostile ones with innocent ones between them. A VM is known by
the campaign's seed and its number, a boot likewise, so each can be made again, and made alone.
"""

import dataclasses
import os
import re
from collections.abc import Sequence
from typing import TypeVar

from . import session
from .boot import BUILD, Boot, Guest
from .errors import Status

HOSTILE = BUILD / "guest" / "hostile.elf"
DRIVER = BUILD / "guest" / "hostile_devices.elf"  # with a disk, whose contents do not matter
NEIGHBOUR = BUILD / "guest" / "neighbour.elf"
PER_BOOT = 48
INNOCENT_EVERY = 6
DRIVER_EVERY = 8
DRIVER_STEPS = 4  # times as many, as each of them is short
STEPS = 60
STEPS_NESTED = 20  # an exit takes ten times as long
BUDGET_MS = 250
ROUNDS = 160
VCPUS_MAX = 3
# The TSC ticks for which an innocent VM may have to wait, without and for each other VM on its CPU:
# for pieces of a VM's creation, for turns of its vCPUs, and for long exits at the end of a turn.
# The longest wait among 5,000 VMs was nine tenths of this.
LATE = 700_000
LATE_PER_VM = 1_100_000
TIMEOUT = 240.0

# Endings of a VM that are its own fault.
ENDINGS = {"exit", "triple-fault", "unknown-hypercall", "unsupported-instruction", "budget",
           "mmio-during-delivery", "halted", "memory-fault"}  # fmt: skip
# What the image prints when it is at fault itself.
BLAME = re.compile(r"in the hypervisor on CPU|^error: BUG at")
RESULT = re.compile(r"^(not ok|ok) \d+ (\w+) # ended=([\w-]+)")
MESSAGE = re.compile(r"^# (\w+): (.*)$")
NOT_BACK = re.compile("were not given back")
BACK = re.compile(r"^# all memory was returned: \d+ pages are free$")
# An entry that only this emulator refuses, by what the entry check says: docs/EMULATOR-GAPS.md.
EMULATOR = re.compile(r"guest [DEFGS]S access rights = 0x9\d: bit 0 is 0")

SMPS = (1, 2, 1, 4)
CMDLINES = ("", "", "", "mmio_caching=0", "gva_cache=exits", "gva_cache=off", "ept_ad=0 pml=0",
            "pml=0", "vpid=0", "huge=0", "nx_huge=force", "ve=inject", "poison=1",
            "slot_generation_start=524270", "x2apic=0")  # fmt: skip
SIDES = ("", "", "", "", "", "", "shared=39", "shared=39,execute_only=38", "shared=39,ve")

T = TypeVar("T")


class Chance:
    """splitmix64, as in the guest."""

    def __init__(self, *seeds: int) -> None:
        self.state = 0
        for seed in seeds:
            self.state ^= seed
            self.next()

    def next(self) -> int:
        mask = (1 << 64) - 1
        z = self.state = self.state + 0x9E3779B97F4A7C15 & mask
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        return z ^ z >> 31

    def pick(self, items: Sequence[T]) -> T:
        return items[self.next() % len(items)]

    def one_in(self, n: int) -> bool:
        return self.next() % n == 0


@dataclasses.dataclass(frozen=True)
class Campaign:
    seed: int
    machine: str = "bochs"
    cpu: str = ""
    smp: int = 0  # 0: as each boot's number says
    per_boot: int = PER_BOOT
    extra: str = ""  # words for the hypervisor, in addition to the random ones
    bochs: str = dataclasses.field(default_factory=lambda: os.environ.get("BOCHS", ""))

    @property
    def nested(self) -> bool:
        return self.machine == "nested"

    def boots(self, vms: int) -> int:
        return -(-vms // self.per_boot)

    def boot_of(self, vm: int) -> int:
        return vm // self.per_boot

    def command(self, **what: object) -> str:
        """Returns the command that repeats a run."""
        words = {"SEED": self.seed, "BOCHS": self.bochs, "MACHINE": self.machine, "CPU": self.cpu,
                 "SMP": self.smp,
                 "CMDLINE": f'"{self.extra}"' if self.extra else ""}  # fmt: skip
        if self.machine == "bochs":
            del words["MACHINE"]
        if self.per_boot != PER_BOOT:
            words["PER_BOOT"] = self.per_boot
        said = {name: value for name, value in (words | what).items() if value or name in what}
        return " ".join(["make hostile", *(f"{name}={value}" for name, value in said.items())])

    # ---- Boots ---------------------------------------------------------------------------------

    def settings(self, number: int) -> tuple[int, str]:
        """The number of CPUs and the command line of a boot."""
        chance = Chance(self.seed, 1, number)
        smp = 1 if self.nested else self.smp or SMPS[number % len(SMPS)]
        parallel = smp * chance.pick((1, 2, 3))
        cmdline = chance.pick(CMDLINES[:9] if self.nested else CMDLINES)
        return smp, " ".join(filter(None, (cmdline, f"parallel={parallel}", self.extra)))

    def hostile(self, vm: int, steps: str = "", budget: int = BUDGET_MS) -> Guest:
        """`steps`: arguments for the guest in addition to the seed and the number of steps. Every
        eighth VM runs the hostile driver, and its disk is the module that follows it."""
        smp, cmdline = self.settings(self.boot_of(vm))
        chance = Chance(self.seed, 2, vm)
        words = ["expect=any", f"mem={chance.pick(('4M', '4M', '5M', '7M'))}", f"budget={budget}"]
        if self.nested or not chance.one_in(6):
            words.append("testctl")
        if smp > 1 or chance.one_in(8):
            words.append(f"vcpus={chance.pick((1, 1, 2, VCPUS_MAX))}")
        sides = chance.pick(SIDES)
        # Without MMIO SPTEs there is no #VE.
        if not self.nested and not ("ve" in sides and "mmio_caching=0" in cmdline):
            words += filter(None, sides.split(","))
        number = STEPS_NESTED if self.nested else STEPS
        number *= DRIVER_STEPS if self.is_driver(vm) else 1
        args = f"seed={chance.next() >> 16} steps={number} {'calm ' * self.nested}{steps}"
        program = HOSTILE
        if self.is_driver(vm):
            program = DRIVER
            words = [word for word in words if word != "ve"] + ["pc"]
        return Guest(program, tuple(words), args.strip(), f"h{vm}")

    @staticmethod
    def is_driver(vm: int) -> bool:
        return vm % DRIVER_EVERY == DRIVER_EVERY - 1

    def modules(self, vm: int, steps: str = "", budget: int = BUDGET_MS) -> list[Guest]:
        """A hostile VM, with its disk if it has one."""
        disk = [Guest(NEIGHBOUR, ("disk",), "", f"+h{vm}")] * self.is_driver(vm)
        return [self.hostile(vm, steps, budget), *disk]

    def innocent(self, number: int, smp: int, cmdline: str) -> Guest:
        parallel = int(cmdline.split("parallel=")[1].split()[0])
        late = 0 if self.nested else LATE + parallel // smp * LATE_PER_VM
        words = ("testctl", "mem=4M", "budget=60000")
        rounds = ROUNDS // (10 if self.nested else 1)
        return Guest(NEIGHBOUR, words, f"rounds={rounds} late={late}", f"i{number}")

    def boot(self, number: int, vms: int) -> Boot:
        """Boot `number` of the campaign."""
        smp, cmdline = self.settings(number)
        guests = []
        for vm in range(number * self.per_boot, min((number + 1) * self.per_boot, vms)):
            guests += self.modules(vm)
            if vm % INNOCENT_EVERY == 0:
                guests.append(self.innocent(vm, smp, cmdline))
        return self._boot(f"hostile-{self.seed}-{number}", smp, cmdline, tuple(guests))

    def alone(self, vm: int, steps: str = "", budget: int = BUDGET_MS) -> Boot:
        """One VM with an innocent one, on the machine on which the failure was found."""
        smp, cmdline = self.settings(self.boot_of(vm))
        guests = (*self.modules(vm, steps, budget), self.innocent(vm, smp, cmdline))
        return self._boot(f"hostile-{self.seed}-vm{vm}", smp, cmdline, guests)

    def _boot(self, name: str, smp: int, cmdline: str, guests: tuple[Guest, ...]) -> Boot:
        method = "kernel" if self.machine != "bochs" else "optrom"
        return Boot(
            name, self.machine, method, bochs=self.bochs, cpu=self.cpu, cmdline=cmdline,
            guests=guests, smp=smp, errors=False, timeout=TIMEOUT * (5 if self.nested else 1),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Failure:
    kind: str  # machine, memory, ending, innocent, lost, emulator
    text: str
    vm: int | None = None  # the one to blame, if that is known

    @property
    def ours(self) -> bool:
        return self.kind != "emulator"


def endings(run: session.Run) -> dict[str, str]:
    """How each VM has ended, by name. A guest cannot forge this, as its own lines are indented."""
    return {m[2]: m[3] for line in run.output.lines if (m := RESULT.match(line))}


def _last_said(run: session.Run, pattern: re.Pattern[str]) -> str:
    return next((line for line in reversed(run.output.lines) if pattern.search(line)), "")


def _ending_failures(run: session.Run) -> list[Failure]:
    """Endings that are the hypervisor's fault, with the VM's message before its result line."""
    found = []
    said: dict[str, str] = {}
    for line in run.output.lines:
        # The entry check's message says more than the message that the entry failed.
        message = MESSAGE.match(line)
        if message and "entry check:" not in said.get(message[1], ""):
            said[message[1]] = message[2]
        match = RESULT.match(line)
        if match and match[2].startswith("h") and match[3] not in ENDINGS:
            text = said.get(match[2], "")
            kind = "emulator" if EMULATOR.search(text) else "ending"
            found.append(Failure(kind, f"{match[3]}: {text}", int(match[2][1:])))
    return found


def _innocent_failures(run: session.Run) -> list[Failure]:
    found = []
    results = {case.name: case for case in run.output.cases if case.depth == 0}
    for guest in run.boot.guests:
        if guest.name.startswith("+"):
            continue
        if guest.name not in results:
            found.append(Failure("lost", f"no result of {guest.name}"))
        elif guest.path == NEIGHBOUR and not results[guest.name].passed:
            why = [f"{c.name} # {c.comment}" for c in run.output.cases
                   if c.path.startswith(f"{guest.name}/") and not c.passed]  # fmt: skip
            found.append(Failure("innocent", f"{guest.name}: {results[guest.name].comment}; {why}"))
    return found


def judge(run: session.Run) -> list[Failure]:
    """The failures of a boot."""
    lines = run.output.lines
    panics = [text for text in run.complaints if "prefetch" in text or "PANIC" in text.upper()]
    if run.status in (Status.TIMED_OUT, Status.DIED):
        emulator = run.status == Status.DIED and run.output.exit_code is None
        why = panics[-1] if panics else lines[-2] if len(lines) > 1 else ""
        kind = "emulator" if emulator and panics else "machine"
        return [Failure(kind, f"{run.reason}; {why}"), *_ending_failures(run)]
    found = _ending_failures(run)
    if run.output.exit_name not in ("ok", "failed", "warned"):
        why = _last_said(run, BLAME) or _last_said(run, re.compile("error"))
        return [*found, Failure("machine", f"{run.reason} EXIT {run.output.exit_name}: {why}")]
    found += _innocent_failures(run)
    if not any(BACK.match(line) for line in lines):
        found.append(Failure("memory", _last_said(run, NOT_BACK) or "not all memory was returned"))
    found += [Failure("machine", line) for line in lines if BLAME.search(line)]
    return found
