# SPDX-License-Identifier: MIT
"""The events (N8) and the counters (N9) in a VM's report."""

import re

from conftest import BUILD, CODES, HELLO, ROOT
from harness.boot import Guest

EVENT = re.compile(r"^# +(\d+) +(\d+) +(\d+) (\w+) +(\w+=.*)$")


def guest(name: str, *words: str) -> Guest:
    return Guest(BUILD / "guest" / f"{name}.elf", words or ("testctl",))


def events(result) -> list[tuple[int, str, dict[str, str]]]:
    """Returns the ticks, the name and the values of each event line."""
    found = [match for line in result.lines if (match := EVENT.match(line))]
    return [(int(m[1]), m[4], dict(w.split("=", 1) for w in m[5].split())) for m in found]


def test_off_says_nothing(boot) -> None:
    assert not events(boot(guests=(guest("wrap"),)))


def test_only_what_was_chosen(boot) -> None:
    result = boot(cmdline="trace=mark*,kvm_mmu_zap_all_fast", guests=(guest("wrap"),))
    assert result.status == 0, result
    shown = events(result)
    assert {name for _, name, _ in shown} == {"mark_mmio_spte", "mmu_zap_all_fast"}
    assert [ticks for ticks, _, _ in shown] == sorted(ticks for ticks, _, _ in shown)
    devices = {words["gfn"] for _, name, words in shown if name == "mark_mmio_spte"}
    assert "0xfe000" in devices, result
    # Each of the three tests drops all tables by HC_GENERATION_SET and by a wrap, at least once.
    assert sum(name == "mmu_zap_all_fast" for _, name, _ in shown) >= 6, result


def test_one_event_for_each_change(boot) -> None:
    """P8: the new value in an event is the old value in the entry's next event, except for A and
    D."""
    names = "mmu_set_spte,tdp_mmu_spte_changed,mark_mmio_spte"
    slots = guest("slots", "testctl", "budget=60000")
    result = boot(cmdline=f"huge=0 trace={names}", guests=(slots,))
    assert result.status == 0, result
    now: dict[tuple[str, str], int] = {}
    special = {"nonpresent": 1 << 63, "frozen": 1 << 63 | 0x5A0}

    def word(text: str) -> int:
        return special.get(text) or int(text, 16)

    followed = 0
    for _, name, words in events(result):
        place = (words["gfn"], words.get("level", "1"))
        if name == "tdp_mmu_spte_changed":
            if place in now:
                assert (word(words["old"]) ^ now[place]) & ~0x300 == 0, (place, result)
                followed += 1
            now[place] = word(words["new"])
        elif name == "mmu_set_spte":
            now[place] = word(words["spte"])
        else:
            now.pop(place, None)  # this event has no value
    assert followed > 50, result


def test_a_vm_that_dies_shows_its_last_events(boot) -> None:
    result = boot(
        cmdline="trace=all", guests=(guest("forbidden_fetch", "testctl", "expect=memory-fault"),)
    )
    assert result.status == 0, result
    shown = events(result)
    assert 10 < len(shown) <= 64, result
    message = next(i for i, line in enumerate(result.lines) if "outside RAM" in line)
    last = max(i for i, line in enumerate(result.lines) if EVENT.match(line))
    assert last < message, "the events lead up to the end"
    # The last fault is the one that ended the VM: a fetch outside of all slots.
    faults = [words for _, name, words in shown if name == "page_fault"]
    assert "x" in faults[-1]["error_code"], result


def test_a_failure_says_how_to_see_more(boot) -> None:
    result = boot(guests=(Guest(HELLO, ("testctl", "expect=halted")),))
    assert result.exit == CODES.FAILED, result
    assert result.has(r"trace=all on the command line would print")
    assert result.has(r"# hello: .*pf_taken=\d+"), "its counters"


def test_counters_are_shown_on_request(boot) -> None:
    result = boot(cmdline="counters=1", guests=(guest("wrap"),))
    values = result.counters("wrap")
    assert result.status == 0, result
    kvm = "pf_taken pf_fixed pf_emulate pf_spurious pf_fast pf_mmio_spte_created invlpg mmio_exits"
    kvm += " remote_tlb_flush pages_4k pages_2m pages_1g nx_lpage_splits"
    assert set(kvm.split()) <= set(values), result
    assert values["pf_taken"] >= values["pf_fixed"] + values["pf_emulate"] + values["pf_spurious"]
    assert values["pf_mmio_spte_created"] > 0
    assert values["full_zaps"] >= 6


def test_each_vm_has_its_own_events(boot) -> None:
    """A VM's events do not include those of other VMs, which keep recording; events that they
    overwrite are counted."""
    names = [f"tlb_{i}" for i in range(3)]
    program = BUILD / "guest" / "tlb.elf"
    guests = tuple(Guest(program, ("testctl", "budget=60000"), name=name) for name in names)
    result = boot(smp=2, cmdline="trace=all parallel=3", guests=guests)
    assert result.status == 0, result
    taken = 0
    for name in names:
        at = next(i for i, line in enumerate(result.lines) if f"{name}: its last" in line)
        said = int(re.findall(r"\d+", result.lines[at].split(":")[1])[0])
        shown = []
        while match := EVENT.match(result.lines[at + 1]):
            shown.append(match)
            at += 1
        gone = re.match(rf"# {name}: (\d+) of these are missing: events", result.lines[at + 1])
        assert len(shown) + (int(gone[1]) if gone else 0) == said, (name, result)
        assert [int(m[1]) for m in shown] == sorted(int(m[1]) for m in shown)
        assert all(m[3] == "0" for m in shown), "a VM of one vCPU"
        taken += said - len(shown)
    assert taken < 500, "a guest's events are printed before the others have written all over them"


def test_an_unknown_event_stops_the_boot(boot) -> None:
    result = boot(cmdline="trace=mmio,nonsense", guests=(guest("wrap"),))
    assert result.exit == CODES.BAD_COMMAND_LINE, result
    assert result.has(r'no event is called "nonsense"; allowed in trace=: all, off, a list of ')
    listed = {word for line in result.lines if line.startswith("error: ") for word in line.split()}
    assert listed >= {"page_fault", "mark_mmio_spte", "mmu_zap_all_fast", "turn"}, result


def test_what_the_document_says_of_costs(boot) -> None:
    """In instructions, with and without the events' leaving the machine. Another compiler's code
    may differ by a tenth."""
    text = (ROOT / "docs/TRACE.md").read_text()
    rows = re.findall(r"^\| an `(exit|entry)`(.*) \| (\d+) \|$", text, re.M)
    said = [(name, int(ticks)) for name, _, ticks in rows]
    assert [name for name, _ in said] == ["exit", "entry", "entry"]
    found = []
    for cmdline in ("", "export=e9"):
        result = boot(cmdline=cmdline, guests=(guest("trace"),))
        assert result.status == 0, result
        (line,) = [line for line in result.lines if " exits_and_entries " in line]
        found.append([int(ticks) for ticks in re.findall(r"_ticks=(\d+)", line)])
    for real, (_, ticks) in zip([*found[0], found[1][1]], said, strict=True):
        assert 0.9 * ticks < real < 1.1 * ticks, (found, said)


def test_the_document_lists_every_event() -> None:
    table = (ROOT / "lib/trace_events.h").read_text()
    text = (ROOT / "docs/TRACE.md").read_text()
    rows = re.findall(r'X\((\w+), "([^"]+)"\)', table)
    assert len(rows) > 10
    named = re.findall(r"^\| `([a-z_]{2,})` \|", text, re.M)
    assert named == [name for name, _ in rows], "in this order"
    for name, words in rows:
        (row,) = re.findall(rf"^\| `{name}` \|.*$", text, re.M)
        for word in words.split():
            assert f"`{word.split(':')[0]}`" in row, (name, word)
