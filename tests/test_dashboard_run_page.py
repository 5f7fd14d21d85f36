"""The page of a run, of its summary and single columns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.model import Vital
from harness.report.drawings import KEYS
from harness.run_folder import RunFolder
from tests.builders import T0, table
from tests.dashboard_support import dashboard
from tests.shown_runs import FAILED, shared_runs

RUN, LATER, VITAL = "20261121T080000Z-queue", "20261121T090000Z-queue", "20261121T093000Z-vital"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    for copy in (RUN, LATER, VITAL):
        shutil.copytree(shared_runs(tmp_path_factory) / FAILED, runs / copy)
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


def test_each_chart_is_a_specification_with_its_words_and_figures(client: httpx.Client) -> None:
    found = {key: client.get(f"/api/runs/{RUN}/charts/{key}").json() for key in KEYS}
    drawn = {key: each for key, each in found.items() if each["spec"] is not None}

    assert {"latency", "stages", "curve"} <= set(drawn)
    for each in drawn.values():
        assert set(each) == {"spec", "title", "label", "note", "table"}
        assert each["table"]["rows"]


def test_the_vitals_of_the_service_are_drawn_and_led_to(client: httpx.Client, runs: Path) -> None:
    assert 'href="#vitals"' not in client.get(f"/runs/{RUN}").text
    cpu = [Vital(T0 + s * 1_000_000_000, "reader", 7, "process.cpu.utilization", s / 10, "1", None) for s in range(9)]
    RunFolder(runs / VITAL).write_table("vitals", table(cpu, Vital))
    drawing = client.get(f"/api/runs/{VITAL}/charts/vitals").json()

    assert 'href="#vitals"' in client.get(f"/runs/{VITAL}").text
    assert "1 process" in drawing["label"]


def test_flame_graphs_are_led_to_where_the_report_has_them(client: httpx.Client, runs: Path) -> None:
    assert f"/runs/{RUN}/report.html#flames" in client.get(f"/runs/{RUN}").text
    (runs / VITAL / "report.html").write_text("<h1>an older one</h1>")

    assert "#flames" not in client.get(f"/runs/{VITAL}").text


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
