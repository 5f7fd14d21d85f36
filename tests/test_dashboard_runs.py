"""The list of runs: of any folder, quickly, and nothing in it can harm the page."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.dashboard.glance import glance, stamp
from harness.dashboard.listing import Listing, matching
from harness.dashboard.trends import HEIGHT, trends
from tests.dashboard_support import dashboard, post
from tests.shown_runs import EMPTY, shared_runs

RECORD = {"run_id": "x", "status": "finished", "started_ns": 1_795_340_000_000_000_000, "plan": {"name": "demo"}}
HOSTILE = "<script>alert(1)</script>\u202e\x00\"'"


def estimate(value: float | None, refusal: str | None = None) -> dict[str, Any]:
    return {"value": value, "low": value, "high": value, "n": 100, "confidence": 0.95, "refusal": refusal}


def latency(p95: float | None = 0.2) -> dict[str, Any]:
    found = {name: estimate(0.1) for name in ("mean", "p50", "p90", "p99")}
    return {**found, "p95": estimate(p95, None if p95 else "needs 59 requests, has 12"), "max_s": 1.0}


def summary(**changes: Any) -> dict[str, Any]:
    counts = {"scheduled": 100, "ok": 98, "offered_per_s": 10.0, "completed_per_s": 9.8}
    made = {
        "scenario": "demo", "started_ns": RECORD["started_ns"], "load": "poisson 10/s, seed 7", "interrupted": False,
        "verdict": "passed", "counts": counts, "latency": latency(), "slo": [{"expression": "p95(latency) < 300ms"}],
        "bottleneck": {"stage": "inference", "resource": None, "model": "det"}, "steps": [],
    }  # fmt: skip
    return {**made, **changes}


def store(runs: Path, number: int, found: Any = None, record: Any = RECORD, tags: Any = None) -> Path:
    path = runs / f"202611{1 + number // 24:02d}T{number % 24:02d}0000Z-demo"
    path.mkdir(parents=True)
    for name, content in (("run.json", record), ("summary.json", found), ("tags.json", tags)):
        if content is not None:
            (path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def seen(path: Path) -> Any:
    return glance(path, stamp(path))


def step(number: int, level: float, p95: float) -> dict[str, Any]:
    share = estimate(0.0)
    return {"step": number, "level": level, "scheduled": 50, "ok": 50, "failed": share, "state": "steady",
            "latency": latency(p95)}  # fmt: skip


def test_a_run_at_a_glance(tmp_path: Path) -> None:
    found = seen(store(tmp_path, 1, summary(), tags=["release"]))

    assert (found.state, found.verdict, found.tone, found.tags) == ("concluded", "passed", "passed", ("release",))
    assert (found.n, found.p50_s, found.p95_s, found.error_rate) == (100, 0.1, 0.2, pytest.approx(0.02))
    assert found.bottleneck == "inference (det)"
    assert found.capacity is None


def test_the_highest_step_that_met_its_limits_is_its_capacity(tmp_path: Path) -> None:
    steps = [step(0, 5.0, 0.1), step(1, 10.0, 0.2), step(2, 20.0, 0.9)]

    assert seen(store(tmp_path, 1, summary(steps=steps))).capacity == 10.0


def test_a_ramp_is_no_level_that_was_held(tmp_path: Path) -> None:
    steps = [step(0, 5.0, 0.1), step(1, 10.0, 0.2), step(2, 20.0, 0.25)]
    plan = {"name": "demo", "load": {"steps": [{"to": None}, {"to": None}, {"to": 40.0}]}}

    assert seen(store(tmp_path, 1, summary(steps=steps), {**RECORD, "plan": plan})).capacity == 10.0


def test_without_a_limit_nothing_was_passed(tmp_path: Path) -> None:
    found = seen(store(tmp_path, 1, summary(slo=[])))

    assert (found.verdict, found.tone) == ("no SLO", "unjudged")


def test_a_percentile_among_failed_requests_is_beyond_all(tmp_path: Path) -> None:
    counts = {"scheduled": 100, "ok": 90, "offered_per_s": None, "completed_per_s": None}

    assert seen(store(tmp_path, 1, summary(counts=counts, latency=latency(None)))).p95_s == math.inf


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (None, summary()), ("{", summary()), ("[]", None), ({**RECORD, "started_ns": -1}, None), (RECORD, "{"),
        (RECORD, "null"), (RECORD, "[" * 100_000), (RECORD, {"verdict": "passed"}),
        (RECORD, summary(verdict="excellent")), (RECORD, summary(counts={"scheduled": -1})),
        (RECORD, summary(latency={"p50": {"value": 1e300}})), (RECORD, json.dumps(summary()).replace("0.2", "NaN")),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_read_is_listed_with_the_reason(tmp_path: Path, record: Any, found: Any) -> None:
    row = seen(store(tmp_path, 1, found, record))

    assert row.state == "unreadable"
    assert row.why.startswith(("run.json", "summary.json"))
    assert row.started_ns is not None


def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = store(tmp_path, 1, summary(), None)
    os.mkfifo(path / "run.json")

    assert seen(path).state == "unreadable"


def test_what_was_never_concluded_says_so(tmp_path: Path) -> None:
    store(tmp_path, 1)

    assert [run.state for run in Listing(tmp_path).glances()] == ["unconcluded"]


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        store(tmp_path, number, summary())
    listing = Listing(tmp_path)
    listing.glances()
    (tmp_path / "20261101T010000Z-demo" / "tags.json").write_text('["new"]')
    read: list[str] = []
    monkeypatch.setattr("harness.dashboard.listing.glance", lambda path, at: read.append(path.name) or glance(path, at))

    assert listing.glances()[1].tags == ("new",)
    assert read == ["20261101T010000Z-demo"]


def test_many_runs_are_listed_at_once(tmp_path: Path) -> None:
    text = json.dumps({**summary(), "health": {"readings": [{"meaning": "x" * 100}] * 200}})
    for number in range(500):
        store(tmp_path, number, text)
    began = time.process_time()

    assert len(Listing(tmp_path).glances()) == 500
    assert time.process_time() - began < 2


def test_the_search_finds_all_of_its_words_anywhere(tmp_path: Path) -> None:
    store(tmp_path, 1, summary(scenario="receipts"), tags=["Release"])
    store(tmp_path, 2, summary(scenario="receipts", verdict="failed"))
    runs = Listing(tmp_path).glances()

    assert len(matching(runs, "receipts")) == 2
    assert [run.verdict for run in matching(runs, "FAILED receipts")] == ["failed"]
    assert len(matching(runs, "release inference")) == 1
    assert matching(runs, "nothing") == []


def test_a_trend_goes_from_the_oldest_to_the_newest_of_a_scenario(tmp_path: Path) -> None:
    for number, p95 in enumerate((0.1, 0.3, 0.2)):
        store(tmp_path, number, summary(latency=latency(p95), started_ns=RECORD["started_ns"] + number))
    (trend,) = trends(Listing(tmp_path).glances())
    (line,) = trend.lines

    assert line.newest == "200 ms"
    assert line.label == "p95 of 3 runs: 100 ms to 300 ms, of the newest 200 ms"
    assert line.points.split() == ["3.0,27.0", "75.0,3.0", "147.0,15.0"]
    assert HEIGHT == 30.0


def test_the_page_lists_every_kind_of_run_and_escapes_their_names(tmp_path: Path) -> None:
    store(tmp_path, 1, summary(scenario=HOSTILE, bottleneck={"stage": HOSTILE, "resource": None, "model": None}))
    store(tmp_path, 2)
    store(tmp_path, 3, "{", {**RECORD, "label": HOSTILE})
    store(tmp_path, 4, summary(latency=latency(None)), {**RECORD, "label": HOSTILE})
    with dashboard(tmp_path) as client:
        text = client.get("/", params={"q": HOSTILE[:8]}).text + client.get("/").text

    assert "<script>alert" not in text
    assert "\u202e" not in text.split("data-text=")[0]
    assert "needs 59 requests, has 12" in text
    assert "not concluded" in text
    assert "unreadable" in text


def test_a_percentile_among_failed_requests_is_called_so(tmp_path: Path) -> None:
    lost = summary(latency=latency(None), counts={**summary()["counts"], "scheduled": 241, "ok": 141})
    store(tmp_path, 1, lost)
    with dashboard(tmp_path) as client:
        text = client.get("/").raise_for_status().text

    assert "∞" not in text
    assert re.search(r'data-value="inf" title="it lies among the requests that failed[^>]*>failed<', text)


def test_tags_are_kept_and_what_is_none_is_refused(tmp_path: Path) -> None:
    path = store(tmp_path, 1, summary())
    with dashboard(tmp_path) as client:
        assert post(client, f"/api/runs/{path.name}/tags", {"tags": [" a ", "b", "a"]}).json() == {"tags": ["a", "b"]}
        refused = post(client, f"/api/runs/{path.name}/tags", {"tags": ["x" * 100]})
        missing = post(client, "/api/runs/20260101T000000Z-none/tags", {"tags": []})

    assert refused.status_code == 400
    assert missing.status_code == 404
    assert json.loads((path / "tags.json").read_text()) == ["a", "b"]


def concluded(client: httpx.Client, run_id: str) -> Any:
    """What came of it."""
    address = f"/api/runs/{run_id}/conclude"
    assert client.get(address).json()["state"] == "none"
    assert post(client, address, {}).status_code == 202
    give_up = time.monotonic() + 180
    while (found := client.get(address).json())["state"] == "running" and time.monotonic() < give_up:
        time.sleep(0.05)
    return found


def test_a_run_that_cannot_be_concluded_says_why(tmp_path: Path) -> None:
    path = store(tmp_path, 1)
    with dashboard(tmp_path) as client:
        ended = concluded(client, path.name)

    assert ended["state"] == "failed"
    assert "run.json" in ended["error"]


def test_a_run_that_was_killed_is_concluded_from_the_list(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path / EMPTY
    path.mkdir()
    for name in ("run.json", "samples.parquet"):
        shutil.copy(shared_runs(tmp_path_factory) / EMPTY / name, path)
    with dashboard(tmp_path) as client:
        assert "not concluded" in client.get("/").text
        assert concluded(client, path.name)["state"] == "done"
        assert "not concluded" not in client.get("/").text
        assert client.get(f"/runs/{path.name}").status_code == 200
        assert client.get(f"/runs/{path.name}/report.html").status_code == 200
