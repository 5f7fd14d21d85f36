"""The pages of the dashboard in a real browser, over a folder of stored runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests import shown_runs
from tests.axe_support import axe
from tests.browser_support import NARROW, Opener, screenshot, too_wide
from tests.dashboard_support import TOKEN, served, settings_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

RUN = f"/runs/{shown_runs.STEPS}"
EXPLORER = f"{RUN}/requests"
PAGES = {
    "runs": "/", "run": RUN, "run-failed": f"/runs/{shown_runs.FAILED}", "run-empty": f"/runs/{shown_runs.EMPTY}",
    "explorer": EXPLORER, "explorer-empty": f"/runs/{shown_runs.EMPTY}/requests", "request": f"{EXPLORER}/2000",
    "compare-choose": "/compare", "compare": f"/compare?a={shown_runs.EARLIER}&b={shown_runs.STEPS}",
    "capacity": f"/capacity?run={shown_runs.STEPS}", "live": "/live",
}  # fmt: skip


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(settings_of(shown_runs.shared_runs(tmp_path_factory))) as url:
        yield url


def drawn(page: Page) -> None:
    """Wait until every chart of the page is there, also those below the window, and the comparison is computed."""
    page.wait_for_function("() => !document.querySelector('[data-wait]')", timeout=60_000)
    page.evaluate(
        """async () => {
            for (const chart of document.querySelectorAll("[data-chart]")) {
                chart.scrollIntoView({ behavior: "instant" }); // the style sheet would glide past
                await new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen)));
            }
            scrollTo({ top: 0, behavior: "instant" });
        }"""
    )
    page.wait_for_function(
        """() => [...document.querySelectorAll("[data-chart], #heatmap")].every(
            (e) => !e.checkVisibility() || e.querySelector("svg") || e.querySelector(".failed-here"))
            && !document.querySelector("[aria-busy=true]")"""
    )


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_accessible(url: str, open_page: Opener, name: str) -> None:
    page = open_page(url + PAGES[name])
    drawn(page)
    screenshot(page, f"{name}-light")

    assert page.locator("h1").count() == 1
    assert page.locator(".failed-here").count() == 0
    assert too_wide(page) == []
    assert axe(page) == []


def test_a_comparison_is_whole_before_its_differences_are_there(url: str, open_page: Opener) -> None:
    pair = f"/compare?a={shown_runs.FAILED}&b={shown_runs.STEPS}"  # no other test asks for these two
    page = open_page(url + pair, answers={"**/api/compare?*": {"ready": False}})

    assert page.locator("[data-wait]").count() == 1
    assert page.locator("main table").count() >= 1
    screenshot(page, "compare-quick-light")
    assert axe(page) == []
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    assert too_wide(page) == []


def test_a_login_lets_in_with_the_token_only(open_page: Opener, tmp_path_factory: pytest.TempPathFactory) -> None:
    runs = shown_runs.shared_runs(tmp_path_factory)
    with served(settings_of(runs, guarded=True)) as guarded:
        page = open_page(guarded, expected=("401",))
        page.fill("#token", "wrong")
        page.click("main button")
        page.wait_for_selector("#wrong")
        screenshot(page, "login-light")
        assert axe(page) == []

        page.fill("#token", TOKEN)
        page.click("main button")
        page.wait_for_selector("#runs")
        page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_narrow_screen_in_the_dark(url: str, open_page: Opener, name: str) -> None:
    page = open_page(url + PAGES[name], theme="dark", size=NARROW)
    drawn(page)
    screenshot(page, f"{name}-narrow-dark")

    assert too_wide(page) == []


def test_all_charts_of_a_run_are_drawn_and_follow_the_theme(url: str, open_page: Opener) -> None:
    page = open_page(url + RUN, theme="dark")
    drawn(page)
    screenshot(page, "run-dark")

    charts = page.locator("[data-chart]:not([hidden])")
    assert charts.count() >= 5
    assert page.locator("[data-chart]:not([hidden]) svg").count() >= charts.count()


def test_the_list_of_runs_is_searched_and_two_are_compared(url: str, open_page: Opener) -> None:
    page = open_page(url)
    rows = page.locator("#runs tbody tr:visible")
    assert rows.count() == 4

    page.fill("#q", "receipts")
    assert rows.count() == 2
    for box in page.locator("#runs tbody tr:visible .pick").all():
        box.check()
    page.click("#compare")

    page.wait_for_url("**/compare?*")
    assert shown_runs.EARLIER in page.url
    drawn(page)
    assert page.locator("#words-title").count() == 1
    assert page.locator("[data-chart] svg").count() == 2


def test_a_head_of_the_list_sorts_it(url: str, open_page: Opener) -> None:
    page = open_page(url)
    page.click("th[data-key=n] button")

    counts = page.locator("#runs tbody tr td:nth-child(5)").all_inner_texts()
    found = [int(text.replace(",", "")) for text in counts]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[1] > found[2]


def count_of(page: Page) -> int:
    page.wait_for_function(
        "() => !document.querySelector('#found[aria-busy]') && !document.querySelector('#found').hidden"
    )
    return int(re.findall(r"[\d,]+", page.inner_text("#count"))[0].replace(",", ""))


def test_a_brush_over_the_heatmap_selects_and_a_reload_restores_it(url: str, open_page: Opener) -> None:
    page = open_page(url + EXPLORER)
    drawn(page)
    everything = count_of(page)
    box = page.locator("#heatmap svg").bounding_box()
    assert box is not None

    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.15)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.5, steps=8)
    page.mouse.up()
    page.wait_for_url("**?*least_ms=*")
    selected = count_of(page)
    screenshot(page, "explorer-brushed-light")

    assert 0 < selected < everything
    assert page.input_value("#f-from") != ""
    rows = page.locator("#table tbody tr").count()
    assert 0 < rows <= selected
    page.reload()
    drawn(page)
    assert count_of(page) == selected


def test_the_form_selects_by_keyboard_what_the_brush_does(url: str, open_page: Opener) -> None:
    page = open_page(url + EXPLORER)
    everything = count_of(page)

    page.focus("#f-least_ms")
    page.keyboard.type("40")
    page.keyboard.press("Enter")
    page.wait_for_url("**?*least_ms=40*")

    assert 0 < count_of(page) < everything


def test_the_way_back_undoes_a_selection(url: str, open_page: Opener) -> None:
    page = open_page(url + EXPLORER)
    everything = count_of(page)
    page.locator("a.shortcut").first.click()
    page.wait_for_url("**?*least_ms=*")
    assert count_of(page) < everything

    page.go_back()
    page.locator("#count", has_text=f"All {everything:,} requests").wait_for()

    assert page.input_value("#f-least_ms") == ""


def test_a_request_of_the_table_opens_its_waterfall(url: str, open_page: Opener) -> None:
    page = open_page(url + EXPLORER)
    count_of(page)
    page.locator("#table tbody tr", has_text="ok").first.locator("a").click()
    page.wait_for_url("**/requests/*")

    assert page.locator(".drawn svg").count() == 1
    for name in ("decode", "detect", "recognise", "layout"):
        assert page.locator("table.spans").get_by_text(name).count() >= 1
    behind = page.locator("summary", has_text="as a table")
    behind.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open] table").first.is_visible()


def test_a_point_of_a_chart_says_its_figures(url: str, open_page: Opener) -> None:
    page = open_page(url + EXPLORER)
    drawn(page)
    mark = page.locator("#heatmap svg .mark-rect path").nth(20)
    mark.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")

    assert page.inner_text("#vg-tooltip-element").strip()


def test_an_address_that_leads_nowhere_says_what_to_do(url: str, open_page: Opener) -> None:
    page = open_page(f"{url}/runs/20200101T000000Z-nothing", expected=("404",))
    screenshot(page, "error-light")

    assert "run" in page.inner_text("main h1, main p")
    assert page.locator("main a").count() >= 1
    assert axe(page) == []
