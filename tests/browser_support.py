"""A real browser for the tests: one per test process, pages that are watched, screenshots for people to look at."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.node_packages import ROOT, lacking

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENSHOTS = ROOT / ".screenshots"
"""What the suite leaves behind of each page. Not kept in the repository."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
WIDE, NARROW = (1280, 900), (390, 844)
PATIENCE_MS = 20_000
Theme = str  # light | dark


@contextmanager
def outside_of_any_loop() -> Iterator[None]:
    """Playwright's loop counts as running in its thread from its start to its end, and tests of other files would
    not get one of their own (`asyncio.run`) in between. So it only counts while a page is worked with.
    """
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


@dataclass(frozen=True)
class Running:
    """The browser, and the loop that has to be the running one of the thread while anything of it is used."""

    browser: Browser
    loop: asyncio.AbstractEventLoop

    @contextmanager
    def at_work(self) -> Iterator[Browser]:
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self.loop)
        try:
            yield self.browser
        finally:
            asyncio._set_running_loop(before)


@pytest.fixture(scope="session")
def running_browser() -> Iterator[Running]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    lacking(None if path else "no browser here: scripts/install-browser")
    from playwright.sync_api import sync_playwright  # half a second, for the tests of pages only

    playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
    running = Running(browser, asyncio.get_running_loop())
    with outside_of_any_loop():
        yield running
    browser.close()
    playwright.stop()


@pytest.fixture
def browser(running_browser: Running) -> Iterator[Browser]:
    """The browser of this test process. Pages are better opened by `watched`."""
    with running_browser.at_work() as browser:
        yield browser


@dataclass
class Watch:
    """What a page did that it must not do. `origin` is the only server it may ask; None: none at all."""

    origin: str | None
    expected: tuple[str, ...]
    seen: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def say(self, what: str) -> None:
        if not any(part in what for part in self.expected):
            self.seen.append(what)

    def on(self, page: Page) -> None:
        page.on("console", lambda m: self.say(f"console {m.type}: {m.text}") if m.type in ("error", "warning") else 0)
        page.on("pageerror", lambda error: self.say(f"script error: {error}"))
        page.on("dialog", lambda dialog: (self.say(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self._asked(request.url))
        # A page that is left gives up what it was still waiting for, such as a stream of events.
        page.on("requestfailed", lambda r: self.say(f"failed: {r.url} {r.failure}") if not _left(r.failure) else 0)

    def _asked(self, url: str) -> None:
        self.requests.append(url)
        parts = urlsplit(url)
        own = f"{parts.scheme}://{parts.netloc}" == self.origin if self.origin else parts.scheme == "file"
        if not own and parts.scheme not in ("data", "blob", "about"):
            self.say(f"asked outside: {url}")


def _left(failure: str | None) -> bool:
    return failure is not None and "ERR_ABORTED" in failure


Opener = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    """`open_page(url or path, theme=, size=, expected=, answers=)` -> a page whose every complaint fails the test.

    A complaint is a console error or warning, a script error, a dialog, a failed request, or a request to anywhere
    but the server of the page. Pages from a file have no network at all. `expected`: parts of complaints that are
    none here. `answers`: pattern of an address -> the JSON that the page is given instead of the server's.
    """
    watches: list[Watch] = []
    contexts = []

    def opened(
        address: str | Path, *, theme: Theme = "light", size: tuple[int, int] = WIDE, expected: tuple[str, ...] = (),
        answers: Mapping[str, object] | None = None, **options: Any,
    ) -> Page:  # fmt: skip
        url = address.absolute().as_uri() if isinstance(address, Path) else address
        parts = urlsplit(url)
        from_file = parts.scheme == "file"
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=theme, reduced_motion="reduce",
            offline=from_file, **options,
        )  # fmt: skip
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        watches.append(Watch(None if from_file else f"{parts.scheme}://{parts.netloc}", expected))
        context.on("page", watches[-1].on)
        for pattern, answer in (answers or {}).items():
            context.route(pattern, lambda route, _, answer=answer: route.fulfill(json=answer))
        page = context.new_page()
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    seen = [what for watch in watches for what in watch.seen]
    assert not seen, "\n".join(seen)


def screenshot(page: Page, name: str, *, whole: bool = True) -> Path:
    """Leave a picture in `.screenshots/`; `name` has no suffix."""
    path = SCREENSHOTS / f"{name}.png"
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=path, full_page=whole, animations="disabled")
    return path


def too_wide(page: Page) -> list[str]:
    """What makes the page scroll sideways: elements beyond the right edge; none when it does not scroll."""
    found: list[str] = page.evaluate(
        """() => {
            const root = document.documentElement;
            if (root.scrollWidth <= root.clientWidth) return [];
            const beyond = [...document.querySelectorAll("body *")].filter(
                (e) => e.getBoundingClientRect().right > root.clientWidth + 0.5);
            return [`the page: ${root.scrollWidth} px of ${root.clientWidth}`, ...beyond.slice(0, 12).map(
                (e) => `${e.tagName} ${e.id} ${e.getAttribute("class")} ${e.textContent.slice(0, 30)}`)];
        }"""
    )
    return found
