"""The watch over pages sees what it should, and the browser is no trouble to other tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.axe_support import axe
from tests.browser_support import Opener, Running, Watch, too_wide

PAGE = """<!doctype html><html lang="en"><title>t</title><body style="margin:0">{body}</body></html>"""


def page_of(folder: Path, body: str) -> Path:
    path = folder / "page.html"
    path.write_text(PAGE.format(body=body), encoding="utf-8")
    return path


def test_a_quiet_page_passes(tmp_path: Path, open_page: Opener) -> None:
    page = open_page(page_of(tmp_path, "<main><h1>quiet</h1></main>"))

    assert page.inner_text("h1") == "quiet"
    assert axe(page) == []
    assert too_wide(page) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<script>console.error('oh')</script>", "console error: oh"),
        ("<script>nothing()</script>", "script error"),
        ("<script>alert(1)</script>", "dialog: 1"),
        ("<img src='http://192.0.2.1/x.png'>", "asked outside: http://192.0.2.1/x.png"),
    ],
)
def test_the_watch_sees(tmp_path: Path, running_browser: Running, body: str, expected: str) -> None:
    watch = Watch(None, ())
    with running_browser.at_work() as browser:
        context = browser.new_context(offline=True)
        context.on("page", watch.on)
        page = context.new_page()
        page.goto(page_of(tmp_path, body).as_uri())
        context.close()

    assert expected in " ".join(watch.seen)


def test_faint_text_is_seen_in_the_theme_that_has_it(tmp_path: Path, open_page: Opener) -> None:
    style = "<style>@media (prefers-color-scheme: dark) { p { color: #eee; background: #fff } }</style>"
    page = open_page(page_of(tmp_path, f"<main>{style}<h1>x</h1><p>faint</p></main>"))

    (line,) = axe(page)
    assert line.startswith("dark: serious color-contrast at p:")


def test_a_page_that_scrolls_sideways_names_what_is_too_wide(tmp_path: Path, open_page: Opener) -> None:
    page = open_page(page_of(tmp_path, "<main><div id='wide' style='width:3000px'>x</div></main>"))

    assert "DIV wide" in " ".join(too_wide(page))


def test_a_loop_of_ones_own_runs_beside_the_browser(running_browser: Running) -> None:
    with running_browser.at_work() as browser:
        browser.new_context().close()

    assert asyncio.run(asyncio.sleep(0, "done")) == "done"
