# SPDX-License-Identifier: MIT
"""The page of `make trace` in headless Chromium, by keyboard alone. What it shows is made by
tests/target/recordings.py."""

import pathlib
import re
from collections.abc import Iterator

import map_read
import pytest
import trace_page
from conftest import DARK, LIGHT, Page, opened
from harness import events
from recordings import Machine, story
from selenium.webdriver.common.keys import Keys


def written(machine: Machine, to: pathlib.Path) -> pathlib.Path:
    stream = machine.stream
    file = to / "trace.html"
    file.write_text(trace_page.page(trace_page.data_of(events.read(stream), map_read.read(stream))))
    return file


@pytest.fixture
def page(tmp_path: pathlib.Path) -> Iterator[Page]:
    with opened(written(story("<b>second</b>"), tmp_path), LIGHT) as shown:
        yield shown


def label(page: Page, part: str) -> str:
    return page.find(f"#{part}").get_dom_attribute("aria-label")


def tab_to(page: Page, part: str) -> None:
    page.tab_to(lambda: page.focused("id") == part)


def test_the_timeline_by_keyboard(page: Page) -> None:
    tab_to(page, "time")
    assert "begin turn" in page.text("#entry-text")
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert "EPT_VIOLATION" in page.text("#entry-text")
    assert "page mapped: 4 KiB" in page.text("#entry-text")
    assert "10 µs (10 ticks) at 20 µs" in page.text("#entry-text")
    inside = [item.text for item in page.find_all("#entry .inside li")]
    assert inside[0] == "+2 µs\npage_fault\ngpa=0x5000 error_code=wf" and len(inside) == 2
    here = "VM 1 first guest, vCPU 0: EPT_VIOLATION › page mapped › 4 KiB, 10 µs"
    assert here in label(page, "time")
    page.press(Keys.ARROW_DOWN)
    assert "VM 1 first guest, vCPU 1" in page.text("#entry-text")
    page.press(Keys.ARROW_DOWN, "n")
    assert "VM 2 <b>second</b>, vCPU 0" in page.text("#entry-text")
    whole = page.text("#window")
    assert whole.startswith("the whole run, ")
    page.press(Keys.ENTER)
    assert re.search(r" to .*, which is ", page.text("#window"))
    page.press(Keys.ESCAPE)
    assert page.text("#window") == whole
    page.press(Keys.END)
    assert "CPUID" in page.text("#entry-text")
    page.press(Keys.HOME, "N")
    assert "there is no earlier one on this track" in page.text("#status")
    page.press(Keys.ENTER, Keys.PAGE_DOWN)
    assert page.text("#window") != whole


def test_costs_by_keyboard(page: Page) -> None:
    assert page.text("#cost-of").startswith("31 exits, ")
    tab_to(page, "cost")
    page.press(Keys.ARROW_DOWN)
    first = page.text("#status")
    assert re.match(r"EPT_MISCONFIG: 20 times, 100 µs, [\d.]+ % of their time", first)
    page.press(Keys.ARROW_DOWN)
    assert "EPT_MISCONFIG › device read: 10 times" in page.text("#status")
    page.press(Keys.ARROW_RIGHT)
    assert "EPT_MISCONFIG › device written: 10 times" in label(page, "cost")
    page.press(Keys.ENTER)
    boxes = page.find_all("#cost [data-path='/EPT_MISCONFIG/device read']")
    assert not boxes, "it is beside what fills the width"
    page.press("n")
    assert "the longest one, 5 µs" in page.text("#status")
    assert "device written: 0xfe000000" in page.text("#entry-text")
    page.press(Keys.ESCAPE, Keys.ESCAPE)
    page.tab_to(lambda: page.driver.switch_to.active_element.tag_name == "summary")
    page.press(Keys.ENTER)
    rows = [re.sub(r"\s+", " ", row.text) for row in page.find_all("#rows tr")]
    assert any(row.startswith("EPT_MISCONFIG 20 100 µs ") and row.endswith("5 µs 5 µs")
               for row in rows), rows  # fmt: skip
    assert rows[0].startswith("all exits 31 ") and " 100 % " in rows[0]
    page.press("w")
    assert page.find("#weight").get_dom_attribute("aria-pressed") == "true"
    assert any(row.text.startswith("EPT_MISCONFIG 20 100 µs 64.5 %")
               for row in page.find_all("#rows tr"))  # fmt: skip


def test_addresses_by_keyboard(page: Page) -> None:
    assert "2 faults, 20 MMIO, 5 writes" in page.text("#heat-of")
    tab_to(page, "heat")
    page.press("n")
    assert re.search(r"VM 1, 0x5000 to 0x6000, .*: 1 faults", page.text("#status"))
    page.press(Keys.ARROW_DOWN, Keys.HOME)
    assert "VM 2, 0x40000000 to 0x40001000" in page.text("#status")
    page.tab_to(lambda: page.driver.switch_to.active_element.text == "MMIO")
    page.press(Keys.ENTER)
    assert page.driver.switch_to.active_element.get_attribute("aria-pressed") == "true"
    tab_to(page, "heat")
    page.press(Keys.HOME, "n")
    assert "0xfe000000" in page.text("#status") and "MMIO" in page.text("#status")
    page.press(Keys.ENTER)
    assert not page.text("#window").startswith("the whole run")
    assert "MMIO" in label(page, "heat") and "0xfe000000" in label(page, "heat")


def test_search_and_vms_by_keyboard(page: Page) -> None:
    page.press("/")
    assert page.focused("id") == "search"
    page.press("hlt", Keys.ENTER)
    assert "HLT: one of 2 slices that match “hlt”" in page.text("#status")
    assert page.focused("id") == "time"
    page.press("/", "hlt", Keys.ENTER)  # the next one, in another VM
    assert "VM 2" in page.text("#entry-text")
    page.press("/", "0xfe000008", Keys.ENTER)
    assert page.focused("id") == "heat" and "0xfe000000" in page.text("#status")
    page.press("/", "0x77777000", Keys.ENTER)
    assert "no fault, device access or logged write is there" in page.text("#status")
    page.press("40 us", Keys.ENTER)  # in place of what was there
    assert "At 40 µs: " in page.text("#status")
    page.press("/", "9 s", Keys.ENTER)
    assert "The trace ends at " in page.text("#status")
    page.press("nonsense", Keys.ENTER)
    assert "Nothing is called “nonsense”" in page.text("#status")
    tab_to(page, "vm")
    page.press(Keys.ARROW_DOWN)
    page.wait(lambda: "VM 2" not in page.text("#time"))
    assert "VM 1 first guest, vCPU 1" in page.text("#time")


def test_legend_help_and_zoom_to_the_end(page: Page) -> None:
    page.press("?")
    assert page.find("#help").is_displayed()
    page.press(Keys.ENTER)
    assert not page.find("#help").is_displayed()
    page.tab_to(lambda: page.driver.switch_to.active_element.text.startswith("EPT violation"))
    page.press(Keys.ENTER)
    assert page.focused("aria-pressed") == "true"
    faded = page.colour("#time path.k3", "opacity"), page.colour("#time path.k2", "opacity")
    assert faded == ("0.1", "1")
    page.press(Keys.ENTER)
    assert page.colour("#time path.k3", "opacity") == "1"
    assert page.text(".warning").startswith("3 events are missing.")
    tab_to(page, "time")
    page.press(*[Keys.ENTER] * 12)
    assert "which is 200 µs" in page.text("#window"), "and no nearer"


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_themes_names_and_widths(tmp_path: pathlib.Path, scheme: int) -> None:
    with opened(written(story(), tmp_path), scheme) as page:
        before = page.colour("body", "background-color")
        page.press("t")
        assert page.colour("body", "background-color") != before
        page.press("t")
        assert page.colour("body", "background-color") == before
        page.check_names("button, input, select, summary, svg[tabindex]")
        for width in (400, 900, 1920):
            page.check_width(width)


def test_an_empty_trace(tmp_path: pathlib.Path) -> None:
    with opened(written(Machine(), tmp_path), DARK) as page:
        assert "no event of this trace has an address" in page.text("#heat-of")


def test_a_long_trace_answers_at_once(tmp_path: pathlib.Path) -> None:
    """More slices than the page shows one by one; each drawing takes less than a second."""
    machine = Machine()
    for i in range(0, 520_000, 4):
        machine.happens(i, 0, 0, "exit", 10, 0x1000, 0, events.NO_ADDRESS)
        machine.happens(i + 1, 0, 0, "entry", 0x1002, 0)
    with opened(written(machine, tmp_path), LIGHT) as page:
        assert "This is a long trace, of 260000 events" in page.text(".warning")
        assert "130,000 exits" in page.text("#cost-of")
        took = page.driver.execute_script(
            "const t = performance.now(); drawAll(); return performance.now() - t;")  # fmt: skip
        assert took < 1000
