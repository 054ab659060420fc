"""One console and one browser for all stories of a run: each takes a second or two to start."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from console.browser import Person, chromium, console_process


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Return a headless browser."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("Debian's chromium and chromium-driver are not installed")
    with chromium(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def person(browser: Chrome, tmp_path: Path) -> Iterator[Person]:
    """Return somebody at a new console's first page."""
    with console_process(tmp_path) as (address, setup):
        browser.delete_all_cookies()
        browser.get(setup)
        yield Person(browser, address)
