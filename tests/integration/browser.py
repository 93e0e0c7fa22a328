"""A headless Chromium that can only connect to this machine, and the MLflow UI as a user starts it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Page, Route, sync_playwright

from tests.integration.conftest import Project

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZE = {"width": 1400, "height": 900}
PATIENCE = 60_000  # milliseconds; a page is slow while other tests use the machine
CLOSE_ASSISTANT = '[data-component-id="mlflow.assistant.chat_panel.close"]'


def chromium() -> str:
    """The installed browser. Without one the tests fail, because only a browser shows that the pages work."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, f"No browser: none of {', '.join(NAMES)} is on PATH. Run `make browser`, or install Chromium."
    return found


@dataclass
class Browser:
    """A page, and in `refused` the addresses outside this machine that it asked for."""

    page: Page
    refused: list[str] = field(default_factory=list)
    chat_closed: bool = False

    def open(self, address: str) -> Page:
        """Open the page at `address`, without the state of an earlier page and without MLflow's chat panel."""
        self.page.goto("about:blank")
        self.page.goto(address)
        if not self.chat_closed:  # the panel opens by itself at the first visit only
            self.page.locator(CLOSE_ASSISTANT).click()
            self.chat_closed = True
        return self.page

    def check(self, route: Route) -> None:
        if re.match(r"http://(127\.0\.0\.1|localhost)[:/]|data:|blob:", route.request.url):
            route.continue_()
        else:
            self.refused.append(route.request.url)
            route.abort()


@contextmanager
def browsing() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), headless=True, args=FLAGS)
        try:
            page = started.new_page(viewport=SIZE)
            page.set_default_timeout(PATIENCE)
            browser = Browser(page)
            page.route("**/*", browser.check)
            yield browser
        finally:
            started.close()


@contextmanager
def serving(project: Project) -> Iterator[dict[str, str]]:
    """Run `harness ui` on a project's store. Gives the addresses that it prints, by their names."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ui = project.start("ui", "--port", str(port), program=(sys.executable, "-m", "harness"), stderr=subprocess.DEVNULL)
    with ui:
        try:
            assert ui.stdout is not None
            printed = {}
            for line in iter(ui.stdout.readline, ""):
                what, _, address = line.strip().partition(": ")
                printed[what] = address.strip()
                if line.startswith("Ctrl-C"):
                    break
            yield printed
        finally:
            ui.terminate()
