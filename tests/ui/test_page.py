# SPDX-License-Identifier: MIT
"""The page of `make map` in headless Chromium, by keyboard alone. `make test-ui` makes its pictures
by the hosted test of the image's part (tests/unit/vm/test_map_dump.c), in build/map/story.bin."""

import pathlib
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import map as map_tool  # noqa: E402
import map_read  # noqa: E402

STORY = ROOT / "build/map/story.bin"
LIGHT, DARK = 1, 0


class Page:
    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def text(self, selector: str) -> str:
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def focused(self, attribute: str) -> str | None:
        return self.driver.switch_to.active_element.get_attribute(attribute)

    def tab_to(self, is_it: Callable[[], bool]) -> None:
        for _ in range(60):
            if is_it():
                return
            self.press(Keys.TAB)
        pytest.fail("Tab never comes there")

    def tab_to_map(self, root: int = 0) -> None:
        self.tab_to(lambda: self.focused("data-root") == str(root))

    def wait(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 15
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def view(self, root: int = 0) -> list[float]:
        svg = self.driver.find_element(By.CSS_SELECTOR, f'svg.map[data-root="{root}"]')
        return [float(n) for n in svg.get_dom_attribute("viewBox").split()]

    def colour(self, selector: str, name: str) -> str:
        element = self.driver.find_element(By.CSS_SELECTOR, selector)
        return element.value_of_css_property(name)


@pytest.fixture(params=[LIGHT, DARK], ids=["light", "dark"])
def page(request, tmp_path: pathlib.Path) -> Iterator[Page]:
    file = tmp_path / "map.html"
    file.write_text(map_tool.page(map_read.read(STORY.read_bytes())))
    options = webdriver.ChromeOptions()
    for word in ("headless=new", "no-sandbox", "disable-gpu", "window-size=1400,900",
                 f"blink-settings=preferredColorScheme={request.param}"):  # fmt: skip
        options.add_argument(f"--{word}")
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        driver.get(file.as_uri())
        yield Page(driver)
        assert driver.get_log("browser") == []
    finally:
        driver.quit()


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
    shown = page.driver.find_elements(By.CSS_SELECTOR, "svg.map .picture.on")
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
    page.tab_to_map()
    page.press("/", "test device", Keys.ENTER)
    assert "GPA 0xfee00000" in page.text("#entry")
    page.press("/", "nonsense", Keys.ENTER)
    assert "Nothing is called “nonsense”" in page.text("#status")


def test_zoom_by_keyboard(page: Page) -> None:
    whole = page.view()
    page.tab_to_map()
    page.press(Keys.ENTER, Keys.ENTER)
    page.wait(lambda: page.view()[2] == 38)
    page.press(Keys.ESCAPE, Keys.ESCAPE)
    page.wait(lambda: page.view() == whole)
    page.tab_to_map(1)  # the other root has the cursor then
    assert "GPA 0x8000200000" in page.text("#entry")


def test_play_legend_help_and_theme_by_keyboard(page: Page) -> None:
    page.press("?")
    assert page.driver.find_element(By.ID, "help").is_displayed()
    page.press(Keys.ENTER)
    assert not page.driver.find_element(By.ID, "help").is_displayed()
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
    for element in page.driver.find_elements(By.CSS_SELECTOR, "button, input, select, svg.map"):
        if element.is_displayed():
            assert element.accessible_name.strip(), element.get_attribute("outerHTML")


@pytest.mark.parametrize("width", [400, 900, 1920])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.driver.set_window_size(width, 800)
    wide, window = page.driver.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth]")  # fmt: skip
    assert wide <= window
