# SPDX-License-Identifier: MIT
"""The monitor: docs/MONITOR.md is a session with it, and guests notice nothing of its questions."""

import contextlib
import pathlib
import re
import time

from conftest import BUILD, CODES, ECHO, ECHO_WORDS, LONG, ROOT, Guest, Person
from harness import session, terminal
from harness.boot import Boot

PROMPT = b"monitor> "
DOCUMENT = ROOT / "docs/MONITOR.md"
README = ROOT / "README.md"


@contextlib.contextmanager
def machine(name: str, guests: tuple[Guest, ...], cmdline: str, **fields):
    with terminal.listen() as server:
        server.settimeout(LONG)
        boot = Boot(name=name, guests=guests, cmdline=f"parallel=8 {cmdline}",
                    serial_port=server.getsockname()[1], **fields)  # fmt: skip
        with session.started(session.prepare(boot), boot) as process:
            connection, _ = server.accept()
            with connection:
                yield Person(connection, process)


def ask(who: Person, line: str) -> list[str]:
    """Types a line, and returns those of the answer."""
    who.type(line.encode() + b"\r")
    who.wait_for(line.encode() + b"\r\n")
    return who.wait_for(PROMPT).decode().splitlines()


def questions(document: pathlib.Path) -> list[tuple[str, list[str]]]:
    """The lines that a document types, each with its answer."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```\n(monitor> .*?)^```", document.read_text(), re.M | re.S):
        for line in block.splitlines():
            if line.startswith("monitor> "):
                found.append((line.removeprefix("monitor> "), []))
            else:
                found[-1][1].append(line)
    return found


def assert_answers(question: str, shown: list[str], said: list[str]) -> None:
    """Asserts that what was said is what is shown, where `…` stands for any text, and alone for any
    lines."""
    pattern = "".join(
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in shown
    )
    assert re.fullmatch(pattern, "".join(f"{line}\n" for line in said)), (question, said)


def wait_until(who: Person, question: str, pattern: str) -> list[str]:
    """Asks until an answer matches."""
    deadline = time.monotonic() + LONG
    while True:
        said = ask(who, question)
        if re.search(pattern, "\n".join(said)):
            return said
        assert time.monotonic() < deadline, said


def test_the_readme() -> None:
    hello = Guest(BUILD / "guest/hello.elf", ("testctl",))
    with machine("monitor-readme", (hello,), "monitor") as who:
        who.wait_for(PROMPT)
        wait_until(who, "vms", "hello +paused")
        for question, shown in questions(README):
            assert_answers(question, shown, ask(who, question))
        who.type(b"q\r")
        who.wait_for(b"EXIT %d %s" % (CODES.OK[0], CODES.OK[1].encode()))


def test_the_document() -> None:
    """Its session, then the ends of VMs."""
    guests = (
        Guest(ECHO, ECHO_WORDS, "ada", "ada"),
        Guest(BUILD / "guest/scenarios.elf", ("testctl",), "", "scenarios"),
    )
    with machine("monitor-document", guests, "monitor") as who:
        who.wait_for(PROMPT)
        wait_until(who, "vms", "scenarios +paused")
        for question, shown in questions(DOCUMENT):
            if question == "pause ada":
                wait_until(who, "vms", r"ada .* \d{3,} exits")
            if question in ("ept ada 0x100000", "start ada"):
                wait_until(who, "vms", r"^ 1 ada[^\n]*$(?!\n 2)")  # scenarios has ended
            assert_answers(question, shown, ask(who, question))
        who.type(b"resu\t a\t\x17\x15v\x7fvms\r")  # completion and editing
        who.wait_for(b"resume ")
        who.wait_for(PROMPT)
        assert ask(who, "resume ada") == ["VM 1 ada goes on"]
        who.type(b"quit\r")
        who.wait_for(b"# console: VM 1 ada\r\n")
        who.wait_for(b"ada> ")
        who.type(b"one\n")
        who.wait_for(b"ada read 'one'")
        who.type(b"\x01m")
        who.wait_for(PROMPT)
        assert ask(who, "end 1") == ["VM 1 ada has been ended"]
        wait_until(who, "vms", "there is no VM now")
        who.type(b"quit\r")
        report = who.wait_for(b"EXIT").decode()
        assert "# ada: somebody at the console has ended it" in report, report
        assert "not ok 1 ada # ended=monitor" in report, report
        assert "ok 2 scenarios # ended=exit" in report, report
        again = (r"^# scenarios: 32 MiB, testctl, started again by the monitor\r$.*"
                 r"^# scenarios: run 2: ended=exit exits=\d+\r$.*"
                 r"^6 passed, 1 failed, 0 skipped\r$")  # fmt: skip
        assert re.search(again, report, re.M | re.S), report
        who.wait_for(b"%d %s" % (CODES.FAILED[0], CODES.FAILED[1].encode()))


BUSY = (
    Guest(BUILD / "guest/smp.elf", ("testctl", "vcpus=4"), "", "smp"),
    Guest(BUILD / "guest/mmio.elf", ("testctl",), "", "mmio"),
    Guest(BUILD / "guest/td_leaves.elf", ("tdx",), "", "td"),
)
THERE = "\nthere are: 1 smp, 2 mmio, 3 td"
WRONG = {
    "foo": '"foo" is no command; h lists all',
    "vms foo": 'vms: "foo" is one word too many; type: vms',
    "viewer": '"viewer" is no command; with this letter begin vms, vcpus, vmcs, virtio; h lists '
    "all",
    "help foo": 'help: "foo" is no command; h lists all',
    "ept mmio": "ept: GPA is missing; type: ept VM GPA",
    "ept mmio 12x": 'ept: "12x" is no GPA: a number from 0 to 0xffffffffff, decimal or with 0x, is '
    "expected",
    "ept mmio 0x10000000000": 'ept: "0x10000000000" is no GPA: a number from 0 to 0xffffffffff, '
    "decimal or with 0x, is expected",
    "ept mmio 1 2": 'ept: "2" is one word too many; type: ept VM GPA',
    "gva mmio 0x800000000000": "gva: 0x800000000000 is not canonical: bits 63 to 47 are not all "
    "equal",
    "vmcs mmio foo": 'vmcs: "foo" is no section; guest, host, controls or exit is expected',
    "vcpus 5": 'vcpus: "5" is no VM; its number or its name is expected' + THERE,
    "lapic mmio.1": "lapic: VM 2 mmio has no vCPU 1; its vCPUs are 0 to 0",
    "lapic smp": "lapic: VM 1 smp has 4 vCPUs; which one? Type: 1.0 to 1.3",
    "lapic smp.3": "1.3 smp has no turns now: it waits for a start-up IPI, or has ended",
    "inject mmio 15": 'inject: "15" is no vector: a number from 0x10 to 0xff, decimal or with 0x, '
    "is expected",
    "slots": "slots: which VM? Type: slots VM" + THERE,
    "ioapic mmio": "VM 2 mmio has no I/O APIC: it was created without the word pc",
    "ept td 0": "ept: VM 3 td is a TD, which keeps its memory to itself; create it with tdx=debug",
    "vmcs td": "vmcs: VM 3 td is a TD, which keeps its registers to itself; create it with "
    "tdx=debug",
    "step smp.3": "1.3 smp has no turns now: it waits for a start-up IPI, or has ended",
    "step mmio 1": 'step: "1" is one word too many; type: step VM.VCPU',
    "step td": "step: VM 3 td is a TD, which keeps its registers to itself; create it with "
    "tdx=debug",
    "start": 'start: "" is no guest; the number or the name of one that has ended is expected',
    "start mmio": "start: VM 2 exists; end it first",
    "why mmio 0x1000 q": 'why: "q" is no access: r, w or x is expected',
    "why mmio 1 r r": 'why: "r" is one word too many; type: why VM GPA [r|w|x]',
    "why 0x1000": "why: which VM? Type: why VM GPA [r|w|x]" + THERE,
    "why last 9": 'why: "9" is no VM; its number or its name is expected' + THERE,
    "why slow td": "why: VM 3 td is a TD, which keeps its registers to itself; create it with "
    "tdx=debug",
    "inject td nmi": "inject: VM 3 td is a TD, which keeps its interrupts to itself; create it "
    "with tdx=debug",
}
STORM = ("step smp.0", "pause smp.0", "t smp.0", "t smp.0", "resume smp.0", "vcpus", "memory",
         "vmcs smp.0 exit", "cache mmio", "ept mmio 0x1000", "slots mmio",
         "gva smp.1 0x100000", "bus mmio", "lapic smp.2", "counters smp", "counters td",
         "dirty mmio", "why mmio 0xfe000000 w",
         "why smp 0xfee00000", "why last smp.0", "why last mmio", "why slow mmio", "why td 0x1000",
         "pause mmio", "resume mmio")  # fmt: skip


def test_wrong_words_and_a_storm() -> None:
    """What is said of wrong words; then everything is asked while four CPUs are busy with guests,
    whose results are what they always are."""
    with machine("monitor-storm", BUSY, "monitor", smp=4) as who:
        who.wait_for(PROMPT)
        wait_until(who, "vms", " 3 td .*, a TD")
        for line, expected in WRONG.items():
            assert ask(who, line) == expected.splitlines()
        states = ask(who, "vcpus td")
        assert not any("RIP" in line for line in states), states
        assert ask(who, "resume") == ["all VMs go on (3)"]
        said = {line: ask(who, line) for line in STORM}
        assert said["step smp.0"] == ["step: 1.0 smp is not paused; type: pause 1.0"]
        assert re.match(r"1.0 smp at RIP \S+\n.*\n +(R\S+ +\S+ -> |RIP is the same)",
                        "\n".join(said["t smp.0"])), said["t smp.0"]  # fmt: skip
        assert ask(who, "vms") != ["there is no VM now"], "the storm was over too early"
        who.type(b"quit\r")
        report = who.wait_for(b"EXIT").decode()
        for number, guest in enumerate(BUSY, 1):
            assert re.search(rf"^ok {number} {guest.name} ", report, re.M), report
        assert "not ok" not in report, report
        who.wait_for(b"%d %s" % (CODES.OK[0], CODES.OK[1].encode()))
