"""The request explorer: a selection of a run's requests, and the columns it is made from."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from report_hostile import ATTRIBUTE, LONG, NUL, RIGHT_TO_LEFT, SCRIPT

from harness.dashboard import selecting_columns
from harness.dashboard.selecting import Shelf
from harness.errors import RunFolderError
from harness.model import Sample
from harness.run_folder import RunFolder
from harness.stored_run import StoredRun
from tests import shown_runs, stored_queues
from tests import simulated_queues as queues
from tests.dashboard_support import dashboard

RUN = "20261121T090000Z-some"
NAMES = (SCRIPT, ATTRIBUTE, RIGHT_TO_LEFT, NUL, LONG)
N, FAILED = 400, 20
API = f"/api/runs/{RUN}/requests"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 requests of kinds with names that want out of their place; the first 20 were refused."""
    folder = tmp_path_factory.mktemp("runs")
    simulated = queues.simulate(N, 0.8, 5, large=0.1, settle=0)
    names = tuple(NAMES[i % len(NAMES)] for i in range(N))
    path = stored_queues.store(folder / RUN, replace(simulated, names=names), failed=FAILED)
    shown_runs.write_all(path, ("json",))
    return folder


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[httpx.Client]:
    with dashboard(runs) as made:
        yield made


def asked(client: httpx.Client, **query: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.get(API, params=query).raise_for_status().json()
    return answer


def test_without_a_question_all_requests_of_the_measured_phase_are_selected(client: httpx.Client) -> None:
    found = asked(client)

    said = "All 400 requests of the measured phase, 20 of them failed; select some to see what they have in common"
    assert (found["summary"], found["everything"], found["unended"]) == (said, True, None)
    assert (found["query"], found["table"]["pages"], len(found["table"]["rows"])) == ("", 8, 50)


def test_the_failed_ones_show_what_went_wrong(client: httpx.Client) -> None:
    found = asked(client, outcome="failed")

    assert found["n"] == FAILED
    assert {row["outcome"] for row in found["table"]["rows"]} == {"connection refused"}
    assert found["latency"]["title"] == "Time until they failed"
    assert asked(client, error="connection refused")["n"] == FAILED


def test_requests_that_had_not_ended_are_counted_beside_the_selection(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / RUN, tmp_path / RUN)
    stored = json.loads((tmp_path / RUN / "summary.json").read_text())
    stored["counts"] |= {"scheduled": N + 30, "sent": N + 25, "censored": 30}
    (tmp_path / RUN / "summary.json").write_text(json.dumps(stored))
    with dashboard(tmp_path) as client:
        failed, warmup = asked(client, outcome="failed"), asked(client, phase="warmup")
        page = client.get(f"/runs/{RUN}/requests").text

    assert failed["summary"].startswith("20 of 400 requests")
    assert failed["unended"] == (
        "30 more had not ended when the run did; they have no latency and are not here "
        "(of 430 scheduled, 425 were sent)."
    )
    assert warmup["unended"] is None
    assert ">Failed</a>" in page


def test_pages_follow_each_other_in_the_order_asked_for(client: httpx.Client) -> None:
    rows = [row for page in range(1, 9) for row in asked(client, sort="time", page=page)["table"]["rows"]]

    assert [row["id"] for row in rows] == list(range(N))
    assert asked(client, page=99)["table"]["page"] == 8


def test_a_selection_by_time_and_latency_is_the_one_of_the_tables(client: httpx.Client, runs: Path) -> None:
    ledger = pd.read_parquet(runs / RUN / "ledger.parquet")
    slow = ledger["latency_s"].to_numpy() >= 0.03

    assert asked(client, least_ms=30)["n"] == int(slow.sum())


def test_every_stage_can_be_sorted_by_and_an_unknown_one_is_refused(client: httpx.Client) -> None:
    stages = [stage["name"] for stage in asked(client)["table"]["stages"]]
    answer = client.get(API, params={"sort": "backlog"})

    assert "inference" in stages
    assert all(asked(client, sort=stage)["table"]["sort"] == stage for stage in stages)
    assert answer.status_code == 400
    assert answer.json() == {"error": "no request of this run has time in 'backlog'", "hint": "sort by latency"}


def test_a_bad_value_is_refused_with_a_hint(client: httpx.Client) -> None:
    answer = client.get(API, params={"least_ms": "fast"})

    assert answer.status_code == 400
    assert answer.json()["hint"] == "write e.g. least_ms=12.5"


def test_when_nothing_is_selected_it_is_told_what_to_do(client: httpx.Client) -> None:
    assert asked(client, least_ms=1e8)["hint"] == "No request is like that: widen or clear the selection."
    assert asked(client, phase="drain")["hint"] == "Of the other phases there are 400: choose all phases to see them."


def test_a_csv_has_the_selected_requests_and_no_formulas(client: httpx.Client) -> None:
    text = client.get(f"{API}.csv", params={"outcome": "failed", "sort": "time"}).raise_for_status().text
    rows = list(csv.DictReader(io.StringIO(text, newline="")))

    assert [int(row["request_id"]) for row in rows] == list(range(FAILED))
    assert rows[0]["outcome"] == "connection refused"
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())


def test_names_from_outside_stay_text_and_can_be_selected(client: httpx.Client) -> None:
    page = client.get(f"/runs/{RUN}/requests").raise_for_status().text

    assert "<script>alert" not in page
    assert "\u202e" not in page.replace('value="abc\u202egpj.exe"', "")
    assert len(page) < 100_000
    for name in (SCRIPT, ATTRIBUTE, RIGHT_TO_LEFT, NUL):
        assert asked(client, name=name)["n"] == N // len(NAMES)


def test_a_name_of_a_megabyte_is_selected_by_its_head_and_a_digest(client: httpx.Client) -> None:
    short = selecting_columns.told_apart(LONG)

    assert len(short) < 130
    assert asked(client, name=short)["n"] == N // len(NAMES)
    assert max(len(row["name"]) for row in asked(client)["table"]["rows"]) < 200


def test_the_heatmap_is_a_chart_with_a_brush_and_figures_behind_it(client: httpx.Client) -> None:
    found = client.get(f"/api/runs/{RUN}/heatmap").raise_for_status().json()

    assert [p["name"] for p in found["spec"]["params"]] == ["brush"]
    assert sum(int(row[1]) for row in found["table"]["rows"]) == N


def test_a_run_that_is_not_there_is_told_so(client: httpx.Client) -> None:
    assert client.get("/runs/20260101T000000Z-none/requests").status_code == 404
    assert client.get("/api/runs/..%2f..%2fetc/requests").status_code == 404


# --- columns -----------------------------------------------------------------------------------------------


def test_a_run_is_read_once_and_again_when_it_is_written_again(runs: Path) -> None:
    shelf = Shelf()
    first = shelf.of(StoredRun.open(runs / RUN))

    assert shelf.of(StoredRun.open(runs / RUN)) is first
    (runs / RUN / "summary.json").touch()
    assert shelf.of(StoredRun.open(runs / RUN)) is not first


def test_only_the_runs_looked_at_last_are_kept(runs: Path) -> None:
    shelf = Shelf(kept=1)
    run = StoredRun.open(runs / RUN)
    first = shelf.of(run)
    other = StoredRun(RunFolder(runs / "." / RUN / ".." / RUN), run.record, run.summary)
    shelf.of(other)

    assert shelf.of(run) is not first


def test_stages_and_latencies_are_those_of_the_ledger(runs: Path) -> None:
    ledger = pd.read_parquet(runs / RUN / "ledger.parquet")
    found = selecting_columns.read(RunFolder(runs / RUN))
    seconds, known = found.stage("inference")

    assert found.latency_s.tolist() == ledger["latency_s"].tolist()
    assert np.allclose(np.where(known, seconds, np.nan), ledger["inference_s"], equal_nan=True, rtol=1e-6)
    assert (found.outcome.texts, int((found.outcome.codes == 0).sum())) == (("ok", "connection refused"), N - FAILED)


def test_tables_of_different_requests_are_refused(runs: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    ledger = pd.read_parquet(runs / RUN / "ledger.parquet").assign(request_id=lambda rows: rows["request_id"] + 1)
    folder.write_table("ledger", pa.Table.from_pandas(ledger, preserve_index=False))
    folder.write_table("samples", RunFolder(runs / RUN).read_table("samples", Sample))

    with pytest.raises(RunFolderError, match="of different requests"):
        selecting_columns.read(folder)


def test_a_run_without_tables_has_no_request(tmp_path: Path) -> None:
    found = selecting_columns.read(RunFolder(tmp_path))

    assert (len(found), found.stage_names, found.name.texts) == (0, (), ())


def test_thousands_of_different_names_are_told_apart_up_to_a_limit() -> None:
    names = pd.Series([f"n{i}" for i in range(3000)] + ["often"] * 5)
    found = selecting_columns.kinds_of(names)

    assert len(found.texts) == selecting_columns.MOST_TEXTS
    assert found.text(3000) == "often"
    assert found.text(2999) == selecting_columns.OTHERS


def test_the_shortcuts_select_what_they_say(client: httpx.Client) -> None:
    page = client.get(f"/runs/{RUN}/requests").raise_for_status().text
    links = [
        line.split('href="')[1].split('"')[0].replace("&amp;", "&") for line in page.splitlines() if "shortcut" in line
    ]
    slowest, typical, failed = (client.get(f"/api{link}").raise_for_status().json()["n"] for link in links)

    assert (slowest, failed) == (20, FAILED)  # the p95 of 380 answered ones is the 361st
    assert typical == 39  # from the 171st to the 209th
