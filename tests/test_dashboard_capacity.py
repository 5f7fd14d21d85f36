"""The capacity page: how much load a stepped run was shown to hold."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.dashboard import holding
from harness.slo import parse_slos
from tests import shown_runs
from tests.dashboard_support import dashboard


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with dashboard(shown_runs.shared_runs(tmp_path_factory)) as made:
        yield made


def test_the_newest_stepped_run_is_shown_with_each_load_against_its_slos(client: httpx.Client) -> None:
    page = client.get("/capacity").raise_for_status().text

    assert f'<option value="{shown_runs.STEPS}" selected>' in page
    assert "What it holds" in page
    assert f'data-chart="/api/runs/{shown_runs.STEPS}/charts/load"' in page


def test_other_slos_can_be_asked_for(client: httpx.Client) -> None:
    generous = client.get("/capacity", params={"slo": "p95(latency) < 1h"}).raise_for_status().text
    strict = client.get("/capacity", params={"slo": "p95(latency) < 1us"}).raise_for_status().text

    assert "meets the SLOs, and no step missed them" in generous
    assert "No load was shown to meet the SLOs" in strict


def test_a_mistake_in_an_slo_is_said_beside_the_field_and_the_page_stays(client: httpx.Client) -> None:
    answer = client.get("/capacity", params={"slo": "p95(latency) < 200"})

    assert answer.status_code == 200
    assert 'aria-invalid="true"' in answer.text
    assert "What it holds" in answer.text


def test_the_caret_below_a_wrong_slo_stands_in_a_line_of_its_own(client: httpx.Client) -> None:
    page = client.get("/capacity", params={"slo": "p95 < 200"}).raise_for_status().text
    hint = html.unescape(re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)[0]).splitlines()

    assert "⟨" not in page
    assert hint[-2:] == ["  p95 < 200", "     ^"] or hint[-1].strip() == "^"
    assert "held against the run&#39;s own SLOs" in page or "held against the run's own SLOs" in page
    assert f'data-chart="/api/runs/{shown_runs.STEPS}/charts/load"' in page


def test_the_load_curve_has_the_limits_that_were_asked_for(client: httpx.Client) -> None:
    page = client.get("/capacity", params={"slo": "p95(latency) < 345ms"}).raise_for_status().text
    address = html.unescape(re.findall(r'data-chart="([^"]*)"', page)[0])
    drawn = client.get(address).raise_for_status().text
    own = client.get(f"/api/runs/{shown_runs.STEPS}/charts/load").raise_for_status().text

    assert "p95(latency) < 345ms" in drawn
    assert "p95(latency) < 345ms" not in own
    assert client.get(address, params={"slo": "p95 < 200"}).status_code == 400


def test_runs_of_the_same_scenario_stand_below(client: httpx.Client) -> None:
    page = client.get("/capacity", params={"run": shown_runs.STEPS}).raise_for_status().text

    assert f"run={shown_runs.EARLIER}" in page


def test_a_scenario_without_steps_is_refused_with_the_nearest(client: httpx.Client) -> None:
    answer = client.get("/capacity", params={"scenario": "read-receipt"})

    assert answer.status_code == 400
    assert "read-receipts" in answer.text


def test_a_scenario_that_was_only_run_at_one_level_says_how_to_step(client: httpx.Client) -> None:
    page = client.get("/capacity", params={"scenario": "queue"}).raise_for_status().text

    assert "No run of several load steps yet of queue" in re.sub(r"<[^>]*>", "", page)


def test_a_ramp_is_no_level_of_a_stepped_run(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    copied = tmp_path / shown_runs.STEPS
    shutil.copytree(shown_runs.shared_runs(tmp_path_factory) / shown_runs.STEPS, copied)
    record = json.loads((copied / "run.json").read_text())
    record["plan"]["load"]["steps"][2]["to"] = 900.0
    (copied / "run.json").write_text(json.dumps(record))

    (run,) = holding.stepped_runs(tmp_path)

    assert run.ramps == {2}
    assert [each.step for each in run.holds(parse_slos("p95(latency) < 1h")).levels] == [0, 1]


def test_without_any_stepped_run_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    with dashboard(tmp_path) as empty:
        page = empty.get("/capacity").raise_for_status().text

    assert "No run of several load steps yet" in page
