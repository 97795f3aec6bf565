# SPDX-License-Identifier: MIT
"""The page of `make map` in headless Chromium, by keyboard alone. `make test-ui` makes its pictures
by the hosted test of the image's part (tests/unit/vm/test_map_dump.c), in build/map/story.bin."""

import pathlib
from collections.abc import Iterator

import map as map_tool
import map_read
import pytest
from conftest import DARK, LIGHT, ROOT, Page, opened
from selenium.webdriver.common.keys import Keys

STORY = ROOT / "build/map/story.bin"


def view(page: Page, root: int = 0) -> list[float]:
    svg = page.find(f'svg.map[data-root="{root}"]')
    return [float(n) for n in svg.get_dom_attribute("viewBox").split()]


def tab_to_map(page: Page, root: int = 0) -> None:
    page.tab_to(lambda: page.focused("data-root") == str(root))


@pytest.fixture(params=[LIGHT, DARK], ids=["light", "dark"])
def page(request, tmp_path: pathlib.Path) -> Iterator[Page]:
    file = tmp_path / "map.html"
    file.write_text(map_tool.page(map_read.read(STORY.read_bytes())))
    with opened(file, request.param) as shown:
        yield shown


def test_moments_by_keyboard(page: Page) -> None:
    assert page.text("[aria-current=true]").split() == ["1", "started"]
    page.press(".", ".")
    assert "slot added" in page.text("[aria-current=true]")
    assert "Slot 2 was added: 1 page from 0xfee00000." in page.text("#changes")
    assert "MMIO, current → MMIO, stale" in page.text("#changes")
    page.press("c")
    assert "MMIO, stale" in page.text("#entry")
    assert "At the moment before: MMIO, current." in page.text("#entry")
    assert "GPA 0x80fee00000" in page.text("#entry")  # with the shared bit
    page.press(".")
    assert "RAM, no execute" in page.text("#entry")
    assert '<it> is RAM & "new"' in page.text("[aria-current=true]")
    page.press(",", ",", ",")
    assert "started" in page.text("[aria-current=true]")
    shown = page.find_all("svg.map .picture.on")
    assert len(shown) == 2  # one in each root


def test_search_and_walk_by_keyboard(page: Page) -> None:
    page.press("/", "0x200000", Keys.ENTER)
    assert "GPA 0x200000" in page.text("#entry")
    assert page.focused("data-root") == "0"
    assert "RAM" in page.focused("aria-label")
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert "GPA 0x221000" in page.text("#entry")
    page.press(Keys.PAGE_DOWN)
    assert "GPA 0x400000" in page.text("#entry")
    page.press("/")
    assert page.focused("id") == "search"
    page.press("0x123456789000", Keys.ENTER)  # in place of what was there
    assert "nothing is mapped there" in page.text("#status")
    tab_to_map(page)
    page.press("/", "test device", Keys.ENTER)
    assert "GPA 0xfee00000" in page.text("#entry")
    page.press("/", "nonsense", Keys.ENTER)
    assert "Nothing is called “nonsense”" in page.text("#status")


def test_zoom_by_keyboard(page: Page) -> None:
    whole = view(page)
    tab_to_map(page)
    page.press(Keys.ENTER, Keys.ENTER)
    page.wait(lambda: view(page)[2] == 38)
    page.press(Keys.ESCAPE, Keys.ESCAPE)
    page.wait(lambda: view(page) == whole)
    tab_to_map(page, 1)  # the other root has the cursor then
    assert "GPA 0x8000200000" in page.text("#entry")


def test_play_legend_help_and_theme_by_keyboard(page: Page) -> None:
    page.press("?")
    assert page.find("#help").is_displayed()
    page.press(Keys.ENTER)
    assert not page.find("#help").is_displayed()
    before = page.colour("body", "background-color")
    page.press("t")
    assert page.colour("body", "background-color") != before
    page.press("t")
    assert page.colour("body", "background-color") == before
    page.tab_to(lambda: (page.focused("title") or "").startswith("The guest reads, writes and"))
    page.press(Keys.ENTER)
    assert page.focused("aria-pressed") == "true"
    assert page.colour(".picture.on .k1, .picture.on .k2", "opacity") == "1"
    page.press(Keys.ENTER)
    page.press("p")
    page.wait(lambda: "end of the VM" in page.text("[aria-current=true]"))
    assert page.text("#play").endswith("Play")  # it stops at the end


def test_every_control_has_a_name(page: Page) -> None:
    page.check_names("button, input, select, svg.map")


@pytest.mark.parametrize("width", [400, 900, 1920])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.check_width(width)
