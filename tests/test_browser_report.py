"""report.html in a real browser, from a file and without a network."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

from tests import shown_runs
from tests.axe_support import axe
from tests.browser_support import NARROW, Opener, screenshot, too_wide

RUNS = {"steps": shown_runs.STEPS, "failed": shown_runs.FAILED, "empty": shown_runs.EMPTY}
each_run = pytest.mark.parametrize("run", RUNS)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shown_runs.shared_runs(tmp_path_factory)


def report_of(shown: Path, run: str) -> Path:
    return shown / RUNS[run] / "report.html"


@each_run
def test_a_report_is_complete_in_itself_and_accessible(shown: Path, open_page: Opener, run: str) -> None:
    page = open_page(report_of(shown, run))
    screenshot(page, f"report-{run}-light")

    assert axe(page) == []
    assert page.locator("script").count() == 0
    assert page.title()


@each_run
def test_a_report_fits_a_narrow_screen_in_the_dark(shown: Path, open_page: Opener, run: str) -> None:
    page = open_page(report_of(shown, run), theme="dark", size=NARROW)
    screenshot(page, f"report-{run}-narrow-dark")

    assert too_wide(page) == []


def test_the_table_behind_a_chart_opens_by_keyboard(shown: Path, open_page: Opener) -> None:
    page = open_page(report_of(shown, "steps"))
    behind = page.locator("figure details:has(table), section details:has(table)")
    assert behind.count() >= 5

    first = behind.first
    first.locator("summary").focus()
    page.keyboard.press("Enter")

    assert first.evaluate("e => e.open")
    assert first.locator("table").is_visible()
    assert first.locator("th").count() > 1


def test_a_report_prints_without_an_empty_page(shown: Path, open_page: Opener) -> None:
    page = open_page(report_of(shown, "steps"))

    assert pages_without_text(page.pdf(format="A4")) == []


def test_an_empty_page_of_print_is_noticed(tmp_path: Path, open_page: Opener) -> None:
    path = tmp_path / "page.html"
    path.write_text("<!doctype html><title>t</title><p style='break-after: page'>one<div style='height: 150vh'>")

    assert pages_without_text(open_page(path).pdf(format="A4")) == [2, 3]


def pages_without_text(pdf: bytes) -> list[int]:
    """The numbers of the pages whose content draws no text; raises for a file without pages."""
    contents = [int(number) for number in re.findall(rb"/Type\s*/Page\b.*?/Contents (\d+) 0 R", pdf, re.DOTALL)]
    assert contents
    return [number for number, place in enumerate(contents, 1) if not re.search(rb"T[jJ]\b", stream_of(pdf, place))]


def stream_of(pdf: bytes, place: int) -> bytes:
    head, _, rest = pdf[pdf.index(b"\n%d 0 obj" % place) :].partition(b"stream\n")
    length = int(re.findall(rb"/Length (\d+)", head)[0])
    return zlib.decompress(rest[:length]) if length else b""
