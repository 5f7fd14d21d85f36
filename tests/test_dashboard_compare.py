"""The compare page: two runs side by side."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.dashboard import comparing
from harness.errors import RunFolderError
from harness.run_folder import RunFolder
from harness.stored_run import StoredRun
from tests import shown_runs
from tests.dashboard_support import dashboard

RUNS = {"a": shown_runs.EARLIER, "b": shown_runs.STEPS}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shown_runs.shared_runs(tmp_path_factory)


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[httpx.Client]:
    with dashboard(runs) as made:
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
    assert re.search(rf">{shown_runs.STEPS} · [^<]+/s[^<]* · [^<]+</option>", page)


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


def test_a_run_beside_itself_is_not_computed(client: httpx.Client) -> None:
    page = client.get("/compare", params={"a": shown_runs.STEPS, "b": shown_runs.STEPS}).raise_for_status().text

    assert "both are the same run" in page
    assert "data-wait" not in page


def test_runs_without_conclusions_are_not_offered(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / shown_runs.STEPS, tmp_path / shown_runs.STEPS)
    shutil.copytree(runs / shown_runs.EMPTY, tmp_path / shown_runs.EMPTY)
    (tmp_path / shown_runs.EMPTY / "summary.json").unlink()

    with dashboard(tmp_path) as client:
        page = client.get("/compare").raise_for_status().text

    assert page.count('<option value="2026') == 2  # one run, on both sides


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Instead of comparisons, processes that never end by themselves."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(_: list[str], **options: Any) -> subprocess.Popen[bytes]:
        begun.append(popen(["sleep", "1000"], **options))
        return begun[-1]

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", begin)
    return begun


def until(true: Callable[[], object]) -> None:
    give_up = time.monotonic() + 20
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_dashboard_that_ends_leaves_no_comparison_behind(runs: Path, children: list[subprocess.Popen[bytes]]) -> None:
    with dashboard(runs) as client:
        client.get("/compare", params=RUNS).raise_for_status()
        until(lambda: children)

    assert children[0].wait(timeout=10) == -signal.SIGKILL


def test_comparisons_do_not_pile_up(runs: Path, children: list[subprocess.Popen[bytes]]) -> None:
    one = StoredRun.open(runs / shown_runs.STEPS)
    others = [StoredRun(RunFolder(runs / f"r{i}"), one.record, one.summary) for i in range(5)]
    comparisons = comparing.Comparisons()
    for other in others[:4]:
        assert comparisons.of(one, other) is None

    with pytest.raises(RunFolderError, match="too many comparisons"):
        comparisons.of(one, others[4])
    until(lambda: children)
    comparisons.close()

    assert children[0].wait(timeout=10) == -signal.SIGKILL
    until(lambda: not any(t.name == "harness-compare" for t in threading.enumerate()))
    assert len(children) == 1  # those that waited never began


def test_a_comparison_that_failed_is_tried_again_later(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (StoredRun.open(runs / name) for name in (shown_runs.STEPS, shown_runs.EARLIER))
    tried: list[int] = []

    def fails(*_: object, **__: object) -> None:
        tried.append(1)
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", fails)
    comparisons = comparing.Comparisons()

    def told() -> bool:
        try:
            return comparisons.of(one, other) is not None
        except RunFolderError as error:
            return error.message == "no comparison began: cannot allocate memory"

    until(told)
    until(told)
    assert len(tried) == 1
    monkeypatch.setattr(comparing, "AGAIN_AFTER_S", -1.0)
    assert comparisons.of(one, other) is None
    until(lambda: len(tried) == 2)


@pytest.mark.parametrize("other", ["20260101T000000Z-nothing", "../secret", "%00", "x" * 5_000])
def test_a_run_that_is_not_here_is_a_page_with_a_hint(client: httpx.Client, other: str) -> None:
    answer = client.get("/compare", params={"a": shown_runs.STEPS, "b": other})

    assert answer.status_code == 404
    assert "there is no run" in answer.text.lower()


def test_an_unknown_chart_is_refused_with_those_there_are(client: httpx.Client) -> None:
    answer = client.get("/api/compare/charts/pie", params=RUNS)

    assert answer.status_code == 400
    assert "shift" in answer.json()["hint"]
