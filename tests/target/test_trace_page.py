# SPDX-License-Identifier: MIT
"""The page of `make trace`: what it says of a recording (rules N110 to N112). What the page does in
a browser, `make test-ui` tests."""

import json
import re
from collections import Counter
from typing import Any

import map_read
import page as framework
import pytest
import trace_causes
import trace_page
from conftest import ROOT
from harness import events
from recordings import DEVICE, LOGGED, Machine, story
from test_map import Tags, stream
from trace_causes import DIRTY, FAULT, MMIO

Data = dict[str, Any]


def data_of(machine: Machine) -> Data:
    found = trace_page.data_of(events.read(machine.stream), map_read.read(machine.stream))
    return json.loads(json.dumps(found))


def rows(track: Data) -> list[tuple[int, ...]]:
    flat = track["slices"]
    return [tuple(flat[at : at + 4]) for at in range(0, len(flat), 4)]


def sums(data: Data) -> Counter:
    """By track and cause: the ticks and the number."""
    found: Counter = Counter()
    for track in data["tracks"]:
        for _, ticks, cause, count in rows(track):
            key = track["vm"], track["number"], tuple(data["causes"][cause][1:])
            found[*key, "ticks"] += ticks
            found[*key, "count"] += count
    return found


def touched(data: Data) -> Counter:
    flat, found = data["touched"], Counter()
    for at in range(0, len(flat), 5):
        _, vm, frame, kind, times = flat[at : at + 5]
        found[vm, frame, kind] += times
    return found


# ---- Slices and causes (N110) --------------------------------------------------------------------


def test_each_slice_is_on_the_page() -> None:
    data = data_of(story())
    names = [(t["vm"], t["number"], len(rows(t))) for t in data["tracks"]]
    assert names == [(1, 0, 7), (1, 1, 5), (2, 0, 53), (0, 0, 1), (0, 1, 1)]
    found = sums(data)
    assert found[2, 0, ("EPT_MISCONFIG", "device read", "0xfe000000"), "count"] == 10
    assert found[2, 0, ("EPT_MISCONFIG", "device written", "0xfe000000"), "ticks"] == 50
    assert found[1, 1, ("EXCEPTION_NMI", "kicked", "by pCPU 0"), "ticks"] == 3
    assert found[1, 0, ("EPT_VIOLATION", "page mapped", "4 KiB"), "ticks"] == 10
    assert found[2, 0, ("VMCALL", "entries changed", ""), "count"] == 1
    assert found[2, 0, ("IO_INSTRUCTION", "port 0x3f8", "out"), "ticks"] == 8
    assert found[2, 0, ("EPT_VIOLATION", "fault repaired", "fixed"), "count"] == 1
    assert found[2, 0, ("PREEMPTION_TIMER", "interrupt injected", "vector 48"), "count"] == 1
    assert found[2, 0, ("halted", "", ""), "ticks"] == 90
    assert found[0, 0, ("first guest/0", "", ""), "ticks"] == 70
    assert data["gaps"] == [[0, 3, data["end"] - 9]]


def test_a_cause_is_what_the_events_say() -> None:
    """Events of one exit, and what it is said to have led to."""
    no = events.NO_ADDRESS
    for wanted, reason, qualification, inside in (
        (("CR_ACCESS", "CR3", "read"), 28, 0x13, ()),
        (("CR_ACCESS", "CR0", "CLTS"), 28, 0x20, ()),
        (("IO_INSTRUCTION", "port 0x70", "in"), 30, 0x70 << 16 | 8, ()),
        (("EPT_VIOLATION", "MMIO entry made", "0xfe000000"), 48, 0,
         (("mark_mmio_spte", 1, DEVICE >> 12, 6, 2), ("mmio", 1, 4, DEVICE, 0))),
        (("EPT_MISCONFIG", "doorbell rung", "0xfe000000"), 49, 0, (("fast_mmio", DEVICE),)),
        (("EPT_VIOLATION", "page mapped", "2 MiB"), 48, 0,
         (("page_fault", 0, 1), ("mmu_set_spte", 5, 7, 1, 2, 7))),
        (("EPT_VIOLATION", "#VE raised", "0x5000"), 48, 0, (("ve", 48, 0, 0, 0x5000, 0),)),
        (("VMCALL", "TDVMCALL", "leaf 0xa"), 18, 0, (("tdvmcall", 10, 0, 0, 0, 0, 0),)),
        (("VMCALL", "all tables dropped", ""), 18, 0, (("mmu_zap_all_fast", 1, 9),)),
        (("MSR_WRITE", "IPI sent", ""), 32, 0, (("apic_ipi", 1, 0x60, 0),)),
        (("CPUID", "", ""), 10, 0, ()),
        (("REASON_0x77", "", ""), 0x77, 0, ()),
    ):  # fmt: skip
        machine = Machine()
        machine.happens(1, 0, 0, "exit", reason, 0, qualification, no)
        for tsc, (name, *values) in enumerate(inside, 2):
            machine.happens(tsc, 0, 0, name, *values)
        machine.happens(9, 0, 0, "entry", 0, 0)
        assert data_of(machine)["causes"][0][1:] == list(wanted)


def test_a_kick_is_a_cause_of_an_nmi_only() -> None:
    """Any exit is the answer to a kick, but only an NMI comes from it."""
    machine = Machine()
    machine.happens(1, 1, 1, "kick", 0)
    machine.happens(2, 0, 0, "exit", 10, 0, 0, events.NO_ADDRESS)
    machine.happens(3, 0, 0, "entry", 0, 0)
    group = trace_causes.GROUPS.index("instruction")
    assert data_of(machine)["causes"][0] == [group, "CPUID", "", ""]


def test_every_reason_has_a_group() -> None:
    listed = " ".join(trace_causes._REASONS.values()).split()
    assert len(listed) == len(set(listed))
    assert set(listed) - set(events.REASONS) == {"TDCALL"} - set(events.REASONS)
    assert set(trace_causes._REASONS) <= set(trace_causes.GROUPS)
    assert set(trace_page.COLOURS) == set(trace_causes.GROUPS)


def test_a_long_trace_keeps_its_sums(monkeypatch) -> None:
    """Slices are put together until the page holds few enough, and none overlaps the next."""
    whole = data_of(story())
    assert whole["merged"] == 0 and whole["details"]
    monkeypatch.setattr(trace_page, "SLICES", 30)
    short = data_of(story())
    assert short["merged"] > 0 and short["details"] is None
    assert sum(len(rows(t)) for t in short["tracks"]) <= 30
    assert sums(short) == sums(whole)
    for track, before in zip(short["tracks"], whole["tracks"], strict=True):
        of = rows(track)
        ends = [begin + ticks for begin, ticks, _, _ in of]
        assert all(end <= row[0] for end, row in zip(ends, of[1:], strict=False)), of
        assert max(ends) <= max(begin + ticks for begin, ticks, *_ in rows(before))
    warning = " ".join(trace_page.warnings(short))
    assert "are put together by cause" in warning and "events" in warning


def test_missing_events_are_announced() -> None:
    text = trace_page.page(data_of(story()))
    assert '<p class="warning" role="alert">3 events are missing.' in text


def test_details_are_those_of_the_slice() -> None:
    data = data_of(story())
    (fault,) = [text for text in data["details"][0] if "page_fault" in text]
    assert fault.split("\n") == [
        "reason=EPT_VIOLATION rip=0x1004 qualification=0x182 gpa=0x5000",
        "+2 page_fault gpa=0x5000 error_code=wf",
        "+5 mmu_set_spte gfn=0x5 spte=nonpresent sptep=0xffff level=1 access=rwx",
    ]
    by_vcpu = [t for t in data["tracks"] if t["vm"]]
    assert [len(d) for d in data["details"]] == [len(rows(t)) for t in by_vcpu]


# ---- Addresses (N111) ----------------------------------------------------------------------------


def test_addresses_and_what_met_them() -> None:
    found = touched(data_of(story()))
    assert found[1, 5, FAULT] == 1
    assert found[2, DEVICE >> 12, MMIO] == 20
    logged = {frame - (LOGGED >> 12) for vm, frame, kind in found if kind == DIRTY}
    assert logged == {0, 1, 2, 3, 5}


@pytest.mark.parametrize(
    "event",
    [
        ("tdp_mmu_spte_changed", 1, 0x200177, 0x200377, 1),  # D is set
        ("tdp_mmu_spte_changed", 1, 0x200377, 1 << 63, 1),  # the page is removed
        ("tdp_mmu_spte_changed", 1, 0x200377, 0x200375, 1),  # W is removed
        ("fast_page_fault", 1, 2, 9, 0x200177, 0x200177, 6),  # it was spurious
        ("fast_page_fault", 1, 1, 9, 0x200170, 0x200171, 5),  # a read
    ],
)  # fmt: skip
def test_what_is_no_logged_write(event: tuple[Any, ...]) -> None:
    machine = Machine()
    machine.happens(1, 0, 0, *event)
    assert not touched(data_of(machine))


def test_many_addresses_keep_their_number() -> None:
    many = Counter({(t, 1, t * 7 % 5000, FAULT): 1 for t in range(20_000)})
    few = trace_page.fitted_touches(many, 500, 20_000)
    assert len(few) <= 500 and sum(few.values()) == 20_000
    assert trace_page.fitted_touches(many, 20_000, 20_000) == many


def test_devices_have_names_if_memory_was_drawn() -> None:
    machine = Machine()
    machine.stream += stream(number=0)
    places = trace_page.Places(map_read.read(machine.stream))
    assert places.device(7, 0xFEE00300) == "local </script>APIC"
    assert places.device(7, 0xFED00123) == "0xfed00000"
    assert (0x200000, 0x5FFFFF, "slot 6") not in places.of(7)
    assert (0x200000, 0x5FFFFF, "slot 1") in places.of(7)


# ---- The page (N112) -----------------------------------------------------------------------------


def test_the_page_is_self_contained_and_names_everything() -> None:
    text = trace_page.page(data_of(story()))
    assert not re.search(r"(?:src|href)=[\"'](?!#)|url\((?!#)|@import|https?://", text.replace(
        "http://www.w3.org/2000/svg", ""))  # fmt: skip
    tags = Tags()
    tags.feed(text)
    ids = [a["id"] for _, a in tags.found if "id" in a]
    assert len(ids) == len(set(ids))
    assert {"time", "cost", "heat", "overview", "rows", "search", "status", "said"} <= set(ids)
    assert not re.search(r"<!-- [A-Z]+ -->", text)
    (policy,) = [a["content"] for tag, a in tags.found if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("name", ["<!-- SCRIPT -->", "<!--<script>", "</script><b>", "&lt;\"'"])
def test_a_name_is_only_text(name: str) -> None:
    plain, hostile = (trace_page.page(data_of(story(text))) for text in ("name", name))
    pattern = r'id="data">([^<]*)</script>'
    data = json.loads(re.search(pattern, hostile)[1])
    assert data["vms"][1] == [2, name]
    rest = [re.sub(pattern, "", text) for text in (plain, hostile)]
    options = [re.sub(r'(<option value="2">VM 2: ).*?(</option>)', r"\1\2", text) for text in rest]
    assert options[0] == options[1]


def test_an_empty_recording_has_a_page() -> None:
    text = trace_page.page(data_of(Machine()))
    assert '"events":0' in text


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_texts_can_be_read_on_their_colours() -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1."""
    for theme in range(2):
        pairs = [(text[theme], fill[theme]) for fill, text in trace_page.COLOURS.values()]
        card = framework.SURFACES["card"][theme]
        pairs += [(framework.SURFACES[name][theme], card) for name in ("ink", "faint")]
        for text, fill in pairs:
            light, dark = sorted((luminance(text), luminance(fill)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, fill)


def test_heat_goes_one_way() -> None:
    """More is darker in the light, and lighter in the dark, so that no colour has to be known."""
    for steps in trace_page.HEAT.values():
        light, dark = ([luminance(pair[theme]) for pair in steps] for theme in range(2))
        assert light == sorted(light, reverse=True) and dark == sorted(dark)
        assert all(a > 1.2 * b for a, b in zip(light, light[1:], strict=False))


def test_the_table_of_causes_names_the_events_of_the_image() -> None:
    """The names that tools/trace_causes.py asks for are events."""
    source = (ROOT / "tools/trace_causes.py").read_text()
    known = set(re.findall(r"X\((\w+), ", (ROOT / "lib/trace_events.h").read_text()))
    asked = set(re.findall(r'"(\w+)" in found', source)) | set(
        re.findall(r'record\.name == "(\w+)"', source))  # fmt: skip
    assert len(asked) > 8 and asked <= known
