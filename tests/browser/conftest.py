"""A database and a Chromium for pages in a real browser."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# the servers and databases of the integration tests
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from postgres_fixtures import Database, fresh_database, template_of, throwaway

#: the distribution's name first; playwright's own download is not used
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
#: no sandbox: tests run as root in containers; nothing that calls home
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(database: Database) -> Iterator[Browser]:
    """A headless Chromium; its absence is a failure and not a skip.

    Playwright keeps an event loop running in this thread. So it begins after the database, which needs one to
    start, and ends with its module, before others' tests need one.
    """
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program is not None, "install Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page with a profile of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    """A migrated database on a throw-away server."""
    with throwaway() as server, fresh_database(server, template=template_of(server)) as database:
        yield database
