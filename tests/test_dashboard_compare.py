"""The compare page: two runs side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests import shown_runs
from tests.dashboard_support import dashboard

RUNS = {"a": shown_runs.EARLIER, "b": shown_runs.STEPS}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with dashboard(shown_runs.shared_runs(tmp_path_factory)) as made:
        yield made


def ready(client: httpx.Client, runs: dict[str, str]) -> None:
    """Wait for a comparison, as the page does."""
    give_up = time.monotonic() + 120
    while not client.get("/api/compare", params=runs).raise_for_status().json()["ready"]:
        assert time.monotonic() < give_up, "the comparison was never there"
        time.sleep(0.1)


def test_without_runs_the_page_offers_all_of_them(client: httpx.Client) -> None:
    page = client.get("/compare").raise_for_status().text

    assert page.count(f'<option value="{shown_runs.STEPS}">') == 2


def test_two_runs_are_first_shown_as_their_reports_have_them_and_then_with_their_differences(
    client: httpx.Client,
) -> None:
    at_once = client.get("/compare", params=RUNS).raise_for_status().text
    assert "95% interval" in at_once
    assert "data-wait" in at_once

    ready(client, RUNS)
    page = client.get("/compare", params=RUNS).raise_for_status().text

    assert "data-wait" not in page
    assert "in these two runs, B is" in page
    assert "One run a side knows the noise of requests" in page


@pytest.mark.parametrize("key", ["shift", "delta"])
def test_a_chart_of_a_comparison_comes_with_its_figures(client: httpx.Client, key: str) -> None:
    ready(client, RUNS)

    drawing = client.get(f"/api/compare/charts/{key}", params=RUNS).raise_for_status().json()

    assert drawing["spec"]["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
    assert drawing["table"]["rows"]
    assert drawing["label"]


def test_a_run_that_cannot_be_compared_says_why_beside_what_is_known(client: httpx.Client) -> None:
    runs = {"a": shown_runs.STEPS, "b": shown_runs.FAILED}
    ready(client, runs)

    page = client.get("/compare", params=runs).raise_for_status().text

    assert "Not comparable." in page


@pytest.mark.parametrize("other", ["20260101T000000Z-nothing", "../secret", "%00", "x" * 5_000])
def test_a_run_that_is_not_here_is_a_page_with_a_hint(client: httpx.Client, other: str) -> None:
    answer = client.get("/compare", params={"a": shown_runs.STEPS, "b": other})

    assert answer.status_code == 404
    assert "there is no run" in answer.text.lower()


def test_an_unknown_chart_is_refused_with_those_there_are(client: httpx.Client) -> None:
    answer = client.get("/api/compare/charts/pie", params=RUNS)

    assert answer.status_code == 400
    assert "shift" in answer.json()["hint"]
