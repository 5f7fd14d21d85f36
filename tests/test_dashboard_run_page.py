"""The page of a run, of its summary and single columns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.report.drawings import KEYS
from tests.dashboard_support import dashboard
from tests.shown_runs import failed_run

RUN, LATER = "20261121T080000Z-queue", "20261121T090000Z-queue"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    failed_run(runs / RUN)
    shutil.copytree(runs / RUN, runs / LATER)
    return runs


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[httpx.Client]:
    with dashboard(runs) as client:
        yield client


def test_the_page_says_what_the_report_says(client: httpx.Client, runs: Path) -> None:
    page, report = client.get(f"/runs/{RUN}").text, (runs / RUN / "report.html").read_text()
    found = json.loads((runs / RUN / "summary.json").read_text())

    assert "<h2" in page
    for sentence in (found["reasons"][0], found["slo"][0]["expression"]):
        shown = sentence.split(":")[0].replace("<", "&lt;")
        assert shown in page
        assert shown in report
    assert f'/runs/{RUN}/requests/{found["slowest"][0]["request_id"]}"' in page


def test_a_page_leads_to_the_run_before(client: httpx.Client) -> None:
    assert f"/compare?a={RUN}&amp;b={LATER}" in client.get(f"/runs/{LATER}").text
    assert "Compare with the run before" not in client.get(f"/runs/{RUN}").text


@pytest.mark.parametrize("key", KEYS)
def test_each_chart_is_a_specification_with_its_words_and_figures(client: httpx.Client, key: str) -> None:
    answer = client.get(f"/api/runs/{RUN}/charts/{key}")
    found = answer.json()

    assert answer.status_code == 200
    if found["spec"] is not None:
        assert set(found) == {"spec", "title", "label", "note", "table"}
        assert found["table"]["rows"]


def test_the_charts_of_a_run_with_requests_are_there(client: httpx.Client) -> None:
    drawn = [key for key in KEYS if client.get(f"/api/runs/{LATER}/charts/{key}").json()["spec"] is not None]

    assert {"latency", "stages", "curve"} <= set(drawn)


def test_a_chart_that_is_none_is_refused_with_the_nearest(client: httpx.Client) -> None:
    answer = client.get(f"/api/runs/{RUN}/charts/latencies")

    assert answer.status_code == 400
    assert answer.json()["hint"] == "did you mean 'latency'?"


def test_the_stored_report_is_shown_without_any_right_to_do_something(client: httpx.Client) -> None:
    answer = client.get(f"/runs/{RUN}/report.html")

    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "script-src" not in answer.headers["content-security-policy"]


def test_other_files_are_saved_and_only_those_that_are_offered(client: httpx.Client, runs: Path) -> None:
    saved = client.get(f"/runs/{RUN}/summary.json")
    (runs / RUN / "receiver.log").write_text("secret")

    assert saved.headers["content-disposition"].startswith("attachment")
    assert client.get(f"/runs/{RUN}/receiver.log").status_code == 404
    assert client.get(f"/runs/{RUN}/run.json").status_code == 404


def test_a_file_that_is_a_link_is_not_followed(client: httpx.Client, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (runs / LATER / "junit.xml").unlink()
    (runs / LATER / "junit.xml").symlink_to(tmp_path / "secret")

    assert client.get(f"/runs/{LATER}/junit.xml").status_code == 404


def test_a_run_that_was_never_concluded_says_what_to_do(client: httpx.Client, runs: Path) -> None:
    path = runs / "20261121T100000Z-killed"
    path.mkdir()
    shutil.copy(runs / RUN / "run.json", path / "run.json")
    answer = client.get(f"/runs/{path.name}")

    assert answer.status_code == 404
    assert "harness report" in answer.text


def test_a_damaged_summary_is_a_sentence(client: httpx.Client, runs: Path) -> None:
    path = runs / "20261121T110000Z-damaged"
    path.mkdir()
    shutil.copy(runs / RUN / "run.json", path / "run.json")
    (path / "summary.json").write_text('{"verdict": "passed"}')

    assert client.get(f"/runs/{path.name}").status_code == 404
    assert client.get(f"/api/runs/{path.name}/charts/latency").status_code == 404
