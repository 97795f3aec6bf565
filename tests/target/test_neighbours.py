# SPDX-License-Identifier: MIT
"""A hostile VM next to innocent ones can neither forge their output nor delay them."""

import re

import pytest
from conftest import BUILD, HELLO, Guest

CPUS = [1, 2, 4]


def hostile(program: str, args: str, *words: str, name: str = "") -> Guest:
    elf = BUILD / "guest" / f"hostile_{program}.elf"
    return Guest(elf, ("testctl", *words), args=args, name=name or f"hostile_{program}")


def innocent(i: int, *words: str) -> Guest:
    return Guest(BUILD / "guest" / "innocent.elf", ("testctl", *words), name=f"innocent_{i}")


def report_of(result, name: str) -> list[str]:
    """The lines of a VM's report, from its first line to its result."""
    (first,) = [i for i, line in enumerate(result.lines) if line.startswith(f"# {name}: 32 MiB")]
    (last,) = [
        i for i, line in enumerate(result.lines) if re.match(rf"(not )?ok \d+ {name} #", line)
    ]
    return result.lines[first : last + 1]


def check_innocents(result, count: int) -> None:
    """Each innocent VM has all its results, and its report contains no line of another VM."""
    for i in range(count):
        lines = report_of(result, f"innocent_{i}")
        assert result.passed(f"innocent_{i}"), result
        assert all(line.startswith(("    ", f"# innocent_{i}: ", "ok ")) for line in lines), result
        assert sum(line.startswith("    ok ") for line in lines) == 3, result


def station(name: str, args: str, *words: str) -> Guest:
    return Guest(BUILD / "guest" / "net.elf", ("pc", "net", *words), args=args, name=name)


def test_a_network_device_needs_a_pc(boot) -> None:
    alone = Guest(BUILD / "guest" / "net.elf", ("net",), args="work", name="alone")
    result = boot(guests=(alone,))
    assert result.has("guest alone: net: a network device needs the word pc"), result
    assert "not ok 1 alone # not started" in result.lines, result


@pytest.mark.parametrize("smp", CPUS)
def test_a_flood_of_frames(boot, smp: int) -> None:
    """Two VMs exchange frames while a third one sends broadcasts as fast as it can. The two lose no
    frames, only frames of the flood are lost, and a fourth VM that receives the flood still gets
    its time."""
    guests = (
        station("answer", "answer", "budget=60000"),
        station("ask", "ask=1", "budget=60000"),
        station("flood", "flood", "testctl", "budget=60000"),
    )
    if smp == 4:
        guests += (station("work", "work", "budget=60000"),)
    result = boot(smp=smp, cmdline="parallel=4 counters=1", guests=guests)
    assert result.status == 0, result
    lost = dict(re.findall(r"# (\w+):.* net_lost=(\d+)", "\n".join(result.lines)))
    assert set(lost) == {guest.name for guest in guests}, result
    assert int(lost.pop("flood")) > 100, result
    assert set(lost.values()) == {"0"}, result


@pytest.mark.parametrize(
    ("smp", "args"), [(1, "empty"), (2, "empty"), (4, "wide"), (1, "wide"), (2, "wide spin")]
)
def test_a_flood_drowns_nobody(boot, smp: int, args: str) -> None:
    """The flood comes before and during its turn to print, from VMs that end and that do not. The
    innocent VMs have a tight budget."""
    spins = "spin" in args
    words = ("budget=3000", "expect=budget") if spins else ("budget=60000",)
    flood = hostile("flood", args, *words)
    guests = (innocent(0, "budget=4000"), flood, innocent(1, "budget=4000"))
    result = boot(smp=smp, cmdline="parallel=3", guests=guests)
    assert result.status == 0, result
    check_innocents(result, 2)
    lines = report_of(result, "hostile_flood")
    if spins:
        return
    cut = r"# hostile_flood: (\d+) lines of the guest's were cut, 0 of them results: a VM may .*256"
    assert any(re.match(cut, line) for line in lines), result
    assert "    ok 1 flood" in lines, result
    assert sum(len(line) + 1 for line in lines) < (256 + 17) << 10


@pytest.mark.parametrize("smp", CPUS)
def test_errors_stand_with_their_vm(boot, smp: int) -> None:
    guests = (innocent(0), hostile("flood", "errors"), innocent(1))
    result = boot(smp=smp, cmdline="parallel=3", guests=guests)
    assert result.status == 0, result
    check_innocents(result, 2)
    lines = report_of(result, "hostile_flood")
    errors = [line for line in lines if "error: " in line]
    assert len(errors) == 32, result
    assert set(errors) == {"# hostile_flood: error: slot 1 does not exist"}
    assert errors == [line for line in result.lines if "error: " in line]
    assert any("1968 errors and 0 other lines about it were cut" in line for line in lines), result


def test_vms_that_come_and_go_hold_nobody(boot) -> None:
    """A VM is created and destroyed in pieces, also if it has touched all of its memory, and the
    pieces take turns as vCPUs do. So this neighbour waits at most for one slice and one turn of
    others."""
    words = ("testctl", "mem=4M", "budget=60000")
    beside = Guest(BUILD / "guest" / "neighbour.elf", words, "rounds=400 late=300000")
    fills = [hostile("fills", "", f"mem={32 << i % 3}M", "vcpus=4", name=f"f{i}") for i in range(5)]
    cmdline = "parallel=2 counters=1 huge=0"
    result = boot(cmdline=cmdline, guests=(beside, *fills), mem=512)
    assert result.status == 0, result
    text = "\n".join(result.lines)
    (pieces, longest), *_ = re.findall(r"in (\d+) pieces; the longest took (\d+) TSC ticks", text)
    assert int(pieces) > 300 and int(longest) <= 50_000, result


def test_no_line_passes_for_ours(boot) -> None:
    result = boot(guests=(hostile("flood", "forged"), Guest(HELLO, ("testctl",), name="innocent")))
    assert result.status == 0, result
    lines = report_of(result, "hostile_flood")
    assert "    EXIT 0 ok" in lines and "    error: nobody" in lines
    assert r"    \x1b[2J\x1b]0;mine\x07" in lines
    assert r"    x\x0dEXIT 0 ok" in lines
    assert result.output.warnings == []
    assert [line for line in result.lines if "EXIT 0 ok" in line][-1] == "EXIT 0 ok"


def test_a_module_says_nothing_but_its_name(boot) -> None:
    """The strings of modules, which the boot loader passes, cannot forge a line, either."""
    name = "a\x1b[2J\nEXIT"
    result = boot(guests=(Guest(HELLO, ("testctl",), name=name), Guest(HELLO, (), name="b")))
    assert result.has(r"^# a\\x1b\[2J\\x0aEXIT: 32 MiB, testctl$"), result
    assert result.output.exit_code == 0, result


def test_a_limit_holds(boot) -> None:
    """Slots beyond `limit=` are refused with a message, and the memory stays reserved for the
    neighbours."""
    limited = Guest(BUILD / "guest/limited.elf", ("testctl", "mem=8M", "limit=64K"), name="limited")
    result = boot(cmdline="parallel=3", guests=(innocent(0), limited, innocent(1)))
    assert result.status == 0, result
    check_innocents(result, 2)
    assert result.passed("limited"), result
    errors = [line for line in result.lines if "error: " in line]
    assert errors, result
    assert all(
        re.fullmatch(r"# limited: error: slot \d+: no memory to keep track of 0x1 pages; .*", line)
        for line in errors
    ), result
