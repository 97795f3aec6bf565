# SPDX-License-Identifier: MIT
"""Events on their way from the machine to a picture: the frames (tools/harness/frames.py), the
records in them (tools/harness/events.py), and Chrome's trace format (tools/perfetto.py)."""

import json
import pathlib
import random
import re
import subprocess
import sys
from typing import Any

import pytest
from conftest import BUILD, CODES, ROOT
from harness import events, frames
from harness.boot import Guest
from harness.errors import HarnessError
from recordings import TABLE, Machine, two_cpus

sys.path.insert(0, str(ROOT / "tools"))
import map_read  # noqa: E402
import perfetto  # noqa: E402
import trace_causes  # noqa: E402
import trace_page  # noqa: E402
import trace_picture  # noqa: E402
import trace_tracks  # noqa: E402

Piece = dict[str, Any]
MESSAGE = b"IPS: 9999999\taverage = 1000000\t\t(7s)\n"

# ---- Is it right? -------------------------------------------------------------------------------
def slices(trace: dict[str, Any], **where: Any) -> list[Piece]:
    return [piece for piece in trace["traceEvents"]
            if piece["ph"] == "X" and where.items() <= piece.items()]  # fmt: skip


def ns(piece: Piece) -> tuple[int, int]:
    """The begin and the end of a slice."""
    begin = round(piece["ts"] * 1000)
    return begin, begin + round(piece["dur"] * 1000)


def check_nesting(trace: dict[str, Any]) -> None:
    """On each track, two slices are apart or one is inside of the other; and they come in the order
    in which a viewer opens them."""
    open_by: dict[tuple[int, int], list[int]] = {}
    for piece in slices(trace):
        begin, end = ns(piece)
        assert end >= begin, piece
        stack = open_by.setdefault((piece["pid"], piece["tid"]), [])
        while stack and stack[-1] <= begin:
            stack.pop()
        assert not stack or end <= stack[-1], piece
        stack.append(end)


def check_flows(trace: dict[str, Any]) -> list[tuple[str, Piece, Piece]]:
    """Each arrow has one begin and one end, which is not earlier, and both are at slices. Returns
    them."""
    begins = {piece["id"]: piece for piece in trace["traceEvents"] if piece["ph"] == "s"}
    ends = {piece["id"]: piece for piece in trace["traceEvents"] if piece["ph"] == "f"}
    assert begins.keys() == ends.keys()
    places: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for piece in slices(trace):
        places.setdefault((piece["pid"], piece["tid"]), []).append(ns(piece))
    for number, begin in begins.items():
        end = ends[number]
        assert begin["cat"] == end["cat"] and begin["ts"] <= end["ts"] and end["bp"] == "e"
        for piece in (begin, end):
            at = round(piece["ts"] * 1000)
            here = places[piece["pid"], piece["tid"]]
            assert any(first <= at <= last for first, last in here), piece
    return [(begins[number]["name"], begins[number], ends[number]) for number in begins]


def check(trace: dict[str, Any]) -> list[tuple[str, Piece, Piece]]:
    check_nesting(trace)
    return check_flows(trace)


def names(trace: dict[str, Any]) -> set[str]:
    return {piece["args"]["name"] for piece in trace["traceEvents"] if piece["ph"] == "M"}


# ---- Hosted tests -------------------------------------------------------------------------------
def test_slices() -> None:
    trace = perfetto.convert(events.read(two_cpus().stream))
    check(trace)
    assert names(trace) == {"VM 1 first guest", "vCPU 0", "vCPU 1", "pCPUs", "pCPU 0", "pCPU 1"}
    first = [(piece["name"], piece["ts"], piece["dur"]) for piece in slices(trace, pid=1, tid=1)]
    assert first == [
        ("begin turn", 0, 10), ("guest", 10, 10), ("EPT_VIOLATION", 20, 10), ("page_fault", 22, 3),
        ("mmu_set_spte", 25, 5), ("guest", 30, 10), ("MSR_WRITE", 40, 10), ("apic_ipi", 42, 1),
        ("kick", 43, 7), ("guest", 50, 10), ("HLT", 60, 10),
    ]  # fmt: skip
    (fault,) = slices(trace, name="page_fault")
    assert fault["args"] == {"gpa": "0x5000", "error_code": "wf"}
    (stored,) = slices(trace, name="mmu_set_spte")
    assert stored["args"]["spte"] == "nonpresent" and stored["args"]["access"] == "rwx"
    (halt,) = slices(trace, name="HLT")
    assert halt["args"]["gpa"] == "-" and halt["args"]["rip"] == "0x100b"
    turns = [(piece["name"], *ns(piece)) for piece in slices(trace, pid=perfetto.PCPUS)]
    assert turns == [("VM 1 vCPU 0", 0, 70000), ("VM 1 vCPU 1", 1000, 81000)]


def test_flows() -> None:
    """From the sender's track to the receiver's."""
    found = check(perfetto.convert(events.read(two_cpus().stream)))
    shown = {(name, begin["tid"], begin["ts"], end["tid"], end["ts"]) for name, begin, end in found}
    assert shown == {
        ("kick", 1, 43, 2, 46), ("apic_ipi", 1, 42, 2, 47), ("apic_accept_irq", 2, 47, 2, 48),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (("remote_flush", 1, 7), (1, 1, "invept", 0, 4, 7)),
        (("kick", 1), (1, 1, "turn", 1)),  # of an idle pCPU
        (("apic_ipi", 1, 0x60, 6), (1, 1, "turn", 1)),  # a start-up IPI
        (("apic_ipi", 1, 0x60, 4), (1, 1, "inj_virq", 2, 2, 0)),  # an NMI
    ],
)  # fmt: skip
def test_each_flow(sent: tuple[Any, ...], answer: tuple[Any, ...]) -> None:
    others = [(0, 0, *answer[2:]), (1, 1, "turn", 0), (1, 0, "apic_accept_irq", 0x60),
              (1, 1, "inj_virq", 0x61, 0, 0)]  # fmt: skip
    machine = Machine()
    machine.happens(1, *answer)  # too early
    machine.happens(2, 0, 0, *sent)
    for tsc, other in enumerate(others, 3):
        if other != answer and (sent[0] != "kick" or other[2] != "turn"):
            machine.happens(tsc, *other)
    machine.happens(20, *answer)
    machine.happens(21, *answer)  # too late
    found = check(perfetto.convert(events.read(machine.stream)))
    assert [(end["tid"], end["ts"]) for name, _, end in found if name == sent[0]] == [(2, 19)]


def test_missing_events_end_what_they_may_have_ended() -> None:
    machine = two_cpus()
    machine.recorded[0] += 5
    machine.happens(200, 0, 0, "entry", 0x1000, 0)
    machine.happens(210, 0, 0, "exit", 10, 0x1002, 0, events.NO_ADDRESS)
    recording = events.read(machine.stream)
    assert recording.gaps == [(0, 5, 200)]
    trace = perfetto.convert(recording)
    check(trace)
    (note,) = [piece for piece in trace["traceEvents"] if piece["ph"] == "i"]
    assert note["name"] == "5 events are missing" and note["tid"] == 1
    assert ("guest", 110, 10) in [
        (piece["name"], piece["ts"], piece["dur"]) for piece in slices(trace, pid=1, tid=1)
    ]


def test_missing_events_end_turns_and_arrows() -> None:
    """The end of the first vCPU's turn and the answer to the kick may be among the missing ones."""
    machine = Machine()
    machine.happens(1, 0, 0, "turn", 1)
    machine.happens(2, 1, 0, "kick", 0, vm=0)
    machine.happens(3, 1, 1, "turn", 1)
    machine.recorded[0] += 4
    machine.happens(10, 0, 2, "exit", 0, 0x1000, 0, events.NO_ADDRESS)
    machine.happens(11, 0, 2, "turn", 0)
    machine.happens(12, 1, 1, "turn", 0)
    trace = perfetto.convert(events.read(machine.stream))
    assert check(trace) == []
    turns = [(p["name"], *ns(p)) for p in slices(trace, pid=perfetto.PCPUS) if p["name"] != "kick"]
    assert turns == [("VM 1 vCPU 1", 2000, 11000)]


def test_messages_and_damage_between_frames() -> None:
    """The emulator prints beside the frames and, once a second, within them."""
    machine = two_cpus()
    whole = list(frames.frames(machine.stream))
    assert len(whole) == machine.number and frames.damaged(whole) == 0
    noisy = random.Random(1)
    for _ in range(200):
        at = noisy.randrange(len(machine.stream))
        assert list(frames.frames(machine.stream[:at] + MESSAGE + machine.stream[at:])) == whole
    stream = b"\xe9EPT <bochs:1> Next at t=0\n" + machine.stream + b"\xe9EPT\0\0"
    assert list(frames.frames(stream)) == whole
    for _ in range(200):
        at = noisy.randrange(len(machine.stream))
        broken = bytearray(machine.stream)
        broken[at] ^= 1 << noisy.randrange(8)
        left = list(frames.frames(bytes(broken)))
        assert len(left) == len(whole) - 1 and set(left) < set(whole), at
        assert frames.damaged(left) == (left[-1] == whole[-1])


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(HarnessError, match="boot with export=e9 and, say, trace=all"):
        events.read(b"Next at t=0\n")


def test_formats_are_those_of_the_hypervisor() -> None:
    """Each format of the table is known here, and lib/trace_events.c prints the same names."""
    source = (ROOT / "lib/trace_events.c").read_text()
    known = set(re.findall(r"case '(\w)':", source)) | {"x"}
    used = {value.split(":")[1] for _, values in TABLE for value in values.split()}
    assert used <= known
    for form, choice in events.CHOICES.items():
        (text,) = re.findall(rf"case '{form}':.*?CHOICE\(value,(.*?)\)\);", source, re.S)
        assert re.findall(r'"([^"]+)"', text) == choice.split(), form
    assert events.shown("e", 0b110110) == "wxfR"
    assert events.shown("d", 1 << 2 | 1 << 1, ("added", "gone")) == "added,gone"
    assert events.shown("d", 0, ("added",)) == "-"
    assert events.shown("f", (1 << 64) - 12) == -12


# ---- The whole way ------------------------------------------------------------------------------
def test_a_recording_of_the_machine(boot, tmp_path) -> None:
    trace_guest = Guest(BUILD / "guest/trace.elf", ("testctl", "vcpus=2"))
    slots = Guest(BUILD / "guest/smp_slots.elf", ("testctl", "vcpus=2", "budget=60000"), "10")
    changing = re.compile(r"^ +[\d.]+|rip=0x\w+")  # with each change of the code
    td = Guest(BUILD / "guest/td_cpu.elf", ("tdx", "vcpus=2"))
    result = boot(smp=2, cmdline="export=e9 map=1 trace=all parallel=1",
                  guests=(trace_guest, slots, td))  # fmt: skip
    assert result.status == 0, result
    assert not any("its last" in line for line in result.lines), "they are not printed, too"
    stream = (result.run.boot.folder / "emulator.txt").read_bytes()
    assert b"written by a guest" not in stream
    out = tmp_path / "trace.json"
    command = [ROOT / "tools/perfetto.py", result.run.boot.folder / "emulator.txt", out]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "ui.perfetto.dev" in said and "chrome://tracing" in said
    trace = json.loads(out.read_text())
    found = check(trace)

    document = (ROOT / "docs/TRACE.md").read_text()
    (block,) = re.findall(r"^```\nbuild/trace/trace.json: (.*)\n", document, re.M)
    assert re.fullmatch(re.escape(block).replace("…", r"\d+"), said.strip().split(": ")[1])
    listed = [changing.sub("…", line) for line in subprocess.run(
        command[:2], check=True, capture_output=True, text=True).stdout.splitlines()]  # fmt: skip
    (block,) = re.findall(r"^\$ tools/perfetto.py .*\n…\n((?:.*\n)+?)…\n", document, re.M)
    wanted = [changing.sub("…", line) for line in block.splitlines()]
    assert len(wanted) > 5 and wanted in [
        listed[at : at + len(wanted)] for at in range(len(listed))
    ], wanted  # fmt: skip

    recording = events.read(stream)
    (line,) = [line for line in result.lines if "have left the machine" in line]
    sent, lost = map(int, re.findall(r"\d+", line))
    assert sent == len(recording.records) and lost == sum(gap[1] for gap in recording.gaps)
    assert lost < sent / 100, line
    assert frames.damaged(list(frames.frames(stream))) == 0
    assert {"VM 1 trace", "VM 2 smp_slots", "vCPU 1", "pCPU 1"} <= names(trace)
    # An exit of the trace is an exit that the VM has counted, as far as they were selected.
    exits = [record for record in recording.records if record.name == "exit" and record.vm == 2]
    counted = [int(m[1]) for line in result.lines
               if (m := re.search(r"ok 2 smp_slots .*exits=(\d+)", line))]  # fmt: skip
    assert abs(len(exits) - counted[0]) <= lost + 2, "the exits of smp_slots"
    kinds = {name for name, _, _ in found}
    assert kinds >= {"kick", "apic_ipi", "apic_accept_irq", "remote_flush"}, kinds
    across = [1 for name, begin, end in found if name == "kick" and begin["tid"] != end["tid"]]
    assert len(across) > 10
    shown = {piece["name"] for piece in slices(trace)}
    assert {"EPT_VIOLATION", "CPUID", "VMCALL", "guest", "page_fault", "mmio", "invept"} <= shown

    # What is a TD's own: its RIP, RCX and linear addresses.
    secrets = {("exit", "rip"), ("entry", "rip"), ("tdcall", "rcx"), ("ve", "gla")}
    of_td = [record for record in recording.records if record.vm == 3]
    told = {(name, record[field]) for name, field in secrets for record in of_td
            if record.name == name}  # fmt: skip
    assert told == {(name, 0) for name, _ in secrets}, told
    check_page(recording, tmp_path / "trace.html", stream, document)
    check_picture(recording, stream)


SELDOM = 5


def check_picture(recording: events.Recording, stream: bytes) -> None:
    """That of the document. The reasons have about the same shares, and an exit of each cause costs
    the same: 2 % more or less from one build to the next, and 16 % where it waits for another CPU.
    How often which of two vCPUs finds the work of the other differs by half of it with each change
    of the code, and with it the shares of what an exit led to."""
    places = trace_causes.Places(map_read.read(stream))
    now, kept = (trace_picture.said(svg) for svg in (
        trace_picture.picture(recording, places, "smp_slots"),
        (ROOT / "docs/trace-cost.svg").read_text()))  # fmt: skip
    often = {cause for both in (now, kept) for cause, cost in both.items() if cost.count > SELDOM}
    assert len(often) > 20
    for cause in often:
        assert cause in now and cause in kept, f"{cause}: not in both: make trace-picture"
        each, before = now[cause].each, kept[cause].each
        assert each == pytest.approx(before, rel=0.25), (
            f"{cause}: {before} ticks an exit, now {each}: make trace-picture")  # fmt: skip
        share, before = now[cause].share, kept[cause].share
        assert abs(share - before) < 4 or " › " in cause, (
            f"{cause}: {before} %, now {share}: make trace-picture")  # fmt: skip


def check_page(
    recording: events.Recording, html: pathlib.Path, stream: bytes, document: str
) -> None:
    """The page of the same recording: its line in the document, each exit, and nothing of a TD."""
    output = html.with_suffix(".txt")
    output.write_bytes(stream)
    said = subprocess.run([ROOT / "tools/trace_page.py", output, html], check=True,
                          capture_output=True, text=True).stdout  # fmt: skip
    (line,) = re.findall(r"^build/trace/trace.html: (.*)\n", document, re.M)
    assert re.fullmatch(re.escape(line).replace("…", ".*"), said.strip().split(": ", 1)[1])
    data = json.loads(re.search(r'id="data">([^<]*)</script>', html.read_text())[1])
    exits = sum(record.name == "exit" for record in recording.records)
    groups = [data["groups"][group] for group, *_ in data["causes"]]
    counts = [(groups[cause], count) for track in data["tracks"]
              for cause, count in zip(track["slices"][2::4], track["slices"][3::4], strict=True)]
    assert sum(n for group, n in counts if group not in ("guest", "halted", "turn")) == exits
    tracks = trace_tracks.timeline(recording).tracks
    of_td = [trace_page.lines_of(s) for where, track in tracks.items() if where[0] == 3
             for s in track.slices]  # fmt: skip
    told = set(re.findall(r"\b(rip|rcx|gla)=(\w+)", "\n".join(of_td)))
    assert told == {("rip", "0x0"), ("rcx", "0x0"), ("gla", "0x0")}, told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trace", "SMP=x"), "run: SMP=x is not a number of at least 1"),
        (("map", "NAME=../x"), "run: NAME=../x: give the name of a folder below build/run/"),
        (("trace", "MACHINE=nested"),
         "*** make trace needs the output of Bochs: leave MACHINE=nested out.  Stop."),
    ],
)  # fmt: skip
def test_no_picture_is_made_of_a_machine_that_was_not_started(
    words: tuple[str, ...], message: str
) -> None:
    """Nor of the output of an earlier one."""
    made = subprocess.run(["make", "-s", *words], cwd=ROOT, text=True, capture_output=True,
                          check=False)  # fmt: skip
    assert made.returncode and not made.stdout
    said = [line for line in made.stderr.splitlines() if "] Error" not in line]
    assert len(said) == 1 and said[0].endswith(message), made.stderr


def test_a_part_of_the_events(boot) -> None:
    """One VM of two, one page of its devices."""
    guests = tuple(Guest(BUILD / "guest/hello.elf", ("testctl",), name=name) for name in "ab")
    result = boot(cmdline="export=e9 trace=all trace_vm=b trace_gpa=0x177000-0x177fff",
                  guests=guests)  # fmt: skip
    assert result.status == 0, result
    recording = events.read((result.run.boot.folder / "emulator.txt").read_bytes())
    assert {record.vm for record in recording.records} == {2}
    faults = {record["gpa"] & ~0xFFF for record in recording.records
              if record.name == "page_fault"}  # fmt: skip
    assert faults == {0x177000}
    assert recording.vms == {1: "a", 2: "b"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trace_gpa=0x2000-0x1000", "trace_gpa=0x2000-0x1000 is no range of addresses; write"),
        ("trace_gpa=page", "trace_gpa=page is no range of addresses"),
        ("export=com9", "export=off|e9|com2"),
        ("export=com2 gdb=1", "export=com2 and gdb=1 need the same serial port; use export=e9"),
    ],
)  # fmt: skip
def test_bad_words_stop_the_boot(boot, words: str, message: str) -> None:
    result = boot(cmdline=words, guests=(Guest(BUILD / "guest/hello.elf", ("testctl",)),))
    assert result.exit == CODES.BAD_COMMAND_LINE, result
    assert result.has(re.escape(message)), result


def test_a_machine_without_a_second_serial_port(boot) -> None:
    result = boot(machine="qemu-tcg", method="kernel", cmdline="export=com2")
    assert result.exit == CODES.BAD_COMMAND_LINE, result
    assert result.has("export=com2, but this machine has no second serial port at 0x2f8"), result


def test_the_second_serial_port(boot) -> None:
    """It is slow, so few events are chosen, and a small guest is drawn."""
    result = boot(cmdline="export=com2 trace=turn,invept map=1",
                  guests=(Guest(BUILD / "guest/hello.elf", ("testctl",)),))  # fmt: skip
    assert result.status == 0, result
    assert result.has(r"# trace: \d+ events have left the machine, and 0 were lost"), result
    stream = (result.run.boot.folder / "exported.bin").read_bytes()
    assert [(p.name, p.missing) for p in map_read.read(stream) if p.ended] == [("hello", 0)]
    recording = events.read(stream)
    assert [record["on"] for record in recording.records if record.name == "turn"] == [1, 0]
    assert not recording.gaps and recording.vms == {1: "hello"}
