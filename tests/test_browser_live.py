"""The live page during a real run that was started from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.axe_support import axe
from tests.browser_support import NARROW, Opener, screenshot, too_wide
from tests.dashboard_support import served, settings_of

SCENARIO = """
scenario: live
target: {target}
requests:
  - {{name: identify, http: POST /v1/identify, text: hello}}
load: {{arrivals: poisson, rate: 20/s, warmup: 1s, duration: {duration}, drain: 5s, seed: 1}}
spans: {{listen: {listen}}}
"""


@pytest.fixture
def url(tmp_path: Path, exporting_service: tuple[str, str]) -> Iterator[str]:
    target, listen = exporting_service
    (tmp_path / "scenarios").mkdir()
    for name, duration in (("short", "4s"), ("long", "60s")):
        path = tmp_path / "scenarios" / f"{name}.yaml"
        path.write_text(SCENARIO.format(target=target, listen=listen, duration=duration))
    (tmp_path / "runs").mkdir()
    with served(settings_of(tmp_path / "runs", scenarios=tmp_path / "scenarios")) as url:
        yield url


def test_a_run_is_started_watched_to_its_end_and_shown(url: str, tmp_path: Path, open_page: Opener) -> None:
    page = open_page(f"{url}/live")
    page.select_option("#scenario", "short.yaml")
    screenshot(page, "live-start-light")
    assert axe(page) == []
    page.click("#go")
    page.wait_for_url("**/live/*", timeout=30_000)
    page.wait_for_function("() => parseInt(document.querySelector('[data-text=ok]').textContent) > 20", timeout=40_000)
    page.wait_for_selector("[data-live=latency] svg")
    screenshot(page, "live-run-light")
    assert axe(page) == []

    page.wait_for_selector("#over a[href^='/runs/']", timeout=60_000)
    page.click("#over a[href^='/runs/']")
    page.wait_for_url("**/runs/*")
    page.locator("[data-chart]").first.scroll_into_view_if_needed()
    page.wait_for_selector("[data-chart] svg")
    assert page.locator(".failed-here").count() == 0
    assert axe(page) == []

    (path,) = (tmp_path / "runs").glob("*/report.html")
    report = open_page(path)
    screenshot(report, "report-real-light")
    assert report.locator("figure svg").count() >= 5
    assert report.locator("script").count() == 0
    assert axe(report) == []
    report.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    assert too_wide(report) == []


def test_a_run_is_stopped_from_its_page(url: str, open_page: Opener) -> None:
    page = open_page(f"{url}/live", theme="dark", size=NARROW)
    page.select_option("#scenario", "long.yaml")
    page.click("#go")
    page.wait_for_url("**/live/*", timeout=30_000)
    page.wait_for_function("() => parseInt(document.querySelector('[data-text=ok]').textContent) > 5", timeout=40_000)
    screenshot(page, "live-run-narrow-dark")
    assert too_wide(page) == []
    page.click("#stop")

    page.wait_for_selector("#over a[href^='/runs/']", timeout=60_000)
