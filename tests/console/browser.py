"""Debian's Chromium, headless, and a console process of its own to look at."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

WAIT_S = 30  # for a page; it takes a fraction of a second, and many times that on a busy machine


@contextmanager
def console_process(folder: Path) -> Iterator[tuple[str, str]]:
    """Run `shoal console serve` with a new database; yield its address and its set-up page."""
    command = (
        *(sys.executable, "-m", "shoal", "console", "serve", "--listen", "127.0.0.1:0"),
        *("--database", f"sqlite:///{folder}/console.db", "--key-file", f"{folder}/console.key"),
    )
    log = folder / "console.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            address = setup = ""
            for line in process.stdout:
                if found := re.search(r"first administrator: (\S+)", line):
                    setup = found[1]
                    break
                if found := re.search(r"console: (\S+)", line):
                    address = found[1]
            assert setup, log.read_text()
            yield address.rstrip("/"), setup
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(WAIT_S)
            finally:
                process.kill()
    assert process.returncode == 0, log.read_text()


@contextmanager
def chromium(folder: Path) -> Iterator[Chrome]:
    """Run a headless browser with its profile in `folder`."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--window-size=1280,860",
        f"--user-data-dir={folder}/profile",
        # Root may run it only so; what it shows comes from our own process.
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = ChromeService(executable_path=shutil.which("chromedriver"))
    browser = Chrome(options=options, service=service)
    try:
        yield browser
    finally:
        browser.quit()


@dataclass(slots=True)
class Person:
    """Somebody at the browser: finds things by what they say, as a screen reader does."""

    browser: Chrome
    address: str

    def go(self, path: str) -> None:
        """Open a page of the console."""
        self.browser.get(f"{self.address}{path}")

    def fill(self, label: str, text: str, *, within: str = "main") -> None:
        """Type into the field with this label."""
        field = self.field(label, within=within)
        field.clear()
        field.send_keys(text)

    def field(self, label: str, *, within: str = "main") -> WebElement:
        """Return the field of a label."""
        found = self.browser.find_element(
            By.XPATH,
            f"//{within}//label[starts-with(normalize-space(.), '{label}')]",
        )
        return self.browser.find_element(By.ID, str(found.get_attribute("for")))

    def choose(self, label: str, shown: str) -> None:
        """Choose from the list with this label."""
        Select(self.field(label)).select_by_visible_text(shown)

    def tick(self, label: str) -> None:
        """Press the box or button of choice with this label."""
        self.browser.find_element(
            By.XPATH,
            f"//label[contains(@class, 'tick')][starts-with(normalize-space(.), '{label}')]",
        ).click()

    def press(self, name: str, *, within: str = "body", leaves: bool = True) -> None:
        """Press a button or link by its name; wait for the page that comes, unless it stays."""
        place = f"//{within}//*[self::a or self::button]"
        pressed = self.browser.find_element(
            By.XPATH, f"{place}[normalize-space(.)='{name}' or @aria-label='{name}']"
        )
        self.mark_page()
        pressed.click()
        if leaves:
            self.wait_until_left()

    def mark_page(self) -> None:
        """Leave a mark on this page, which the next one does not have."""
        self.browser.execute_script("window.isOld = true")

    def wait_until_left(self) -> None:
        """Wait until the marked page has been left, and the next is there."""
        # Between two pages the driver may fail in several ways: each only means to ask again.
        WebDriverWait(self.browser, WAIT_S, ignored_exceptions=[WebDriverException]).until(
            lambda browser: browser.execute_script(
                "return !window.isOld && document.readyState === 'complete'"
            )
        )

    def wait_for(self, text: str) -> None:
        """Wait until the page says `text`."""
        wait = WebDriverWait(self.browser, WAIT_S, ignored_exceptions=[WebDriverException])
        wait.until(lambda _: text in self.text)

    def wait_for_focus(self, id_: str) -> None:
        """Wait until the element with this id has the focus."""
        WebDriverWait(self.browser, WAIT_S).until(
            lambda browser: browser.execute_script("return document.activeElement.id") == id_
        )

    @property
    def text(self) -> str:
        """What the page says."""
        return self.browser.find_element(By.TAG_NAME, "body").text

    def in_the_dark(self, dark: bool) -> None:
        """Ask for dark or light pages, as the desktop's setting does."""
        self.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
        )
