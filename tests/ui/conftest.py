# SPDX-License-Identifier: MIT
"""A page in headless Chromium, by keyboard alone. `make test-ui` is not a part of `make test`."""

import contextlib
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
from selenium.webdriver.remote.webelement import WebElement

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/target")]
LIGHT, DARK = 1, 0


class Page:
    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.find(selector).text

    def focused(self, attribute: str) -> str | None:
        return self.driver.switch_to.active_element.get_attribute(attribute)

    def tab_to(self, is_it: Callable[[], bool]) -> None:
        for _ in range(60):
            if is_it():
                return
            self.press(Keys.TAB)
        pytest.fail("Tab never comes there")

    def wait(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 15
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def colour(self, selector: str, name: str) -> str:
        return self.find(selector).value_of_css_property(name)

    def check_names(self, selector: str) -> None:
        """Each control that is shown has a name for who does not see it."""
        for element in self.find_all(selector):
            if element.is_displayed():
                assert element.accessible_name.strip(), element.get_attribute("outerHTML")

    def check_width(self, width: int) -> None:
        self.driver.set_window_size(width, 800)
        wide, window = self.driver.execute_script(
            "return [document.documentElement.scrollWidth, innerWidth]")  # fmt: skip
        assert wide <= window


@contextlib.contextmanager
def opened(file: pathlib.Path, scheme: int) -> Iterator[Page]:
    """The page from its file. Nothing may be loaded, and no script may fail."""
    options = webdriver.ChromeOptions()
    for word in ("headless=new", "no-sandbox", "disable-gpu", "window-size=1400,900",
                 f"blink-settings=preferredColorScheme={scheme}"):  # fmt: skip
        options.add_argument(f"--{word}")
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        driver.get(file.as_uri())
        yield Page(driver)
        assert driver.get_log("browser") == []
    finally:
        driver.quit()
