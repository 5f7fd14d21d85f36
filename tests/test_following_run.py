"""A real run, followed from another process while it is on."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from harness.following import Follower, Seen, running
from harness.run_folder import RunFolder
from harness.views import LiveFrame
from tests.cli import begin, end
from tests.conftest import free_port
from tests.instrument_support import a_service


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[str, str]]:
    """A service that exports spans: its URL, and the address it exports to."""
    listen = f"127.0.0.1:{free_port()}"
    with a_service(f"http://{listen}", app="instrument_app") as running:
        yield f"http://127.0.0.1:{running.port}", listen


def scenario(folder: Path, service: tuple[str, str], duration: str) -> Path:
    path = folder / "items.yaml"
    path.write_text(f"""
scenario: items
target: {service[0]}
requests:
  - {{name: item, weight: 9, http: GET /items/3}}
  - {{name: absent, http: GET /nothing}}
load: {{rate: 50/s, warmup: 1s, duration: {duration}}}
spans: {{listen: "{service[1]}"}}
""")
    return path


def followed(runs: Path, within_s: float = 20) -> Follower:
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        for folder in running(runs):
            return Follower(RunFolder(folder))
        time.sleep(0.05)
    raise AssertionError("no run is on")


def to_the_end(follower: Follower, within_s: float = 60) -> list[Seen]:
    seen: list[Seen] = []
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        seen.append(follower.poll())
        if seen[-1].over:
            return seen
        time.sleep(0.5)
    raise AssertionError("the run does not end")


@dataclass(frozen=True)
class Followed:
    frames: list[LiveFrame]
    rows: pd.DataFrame
    folder: Path

    @property
    def ledger(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "ledger.parquet").set_index("request_id")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, service: tuple[str, str]) -> Followed:
    folder = tmp_path_factory.mktemp("followed")
    child = begin("run", scenario(folder, service, "3s"), "--processes", "2", cwd=folder)
    try:
        seen = to_the_end(followed(folder / "runs"))
    finally:
        ended = end(child)
    assert ended.code in (0, 3), ended.stderr  # 3: this machine was too busy for a verdict
    (stored,) = (folder / "runs").iterdir()
    rows = pd.concat([each.rows for each in seen if len(each.rows)]).set_index("request_id")
    return Followed([each.frame for each in seen], rows, stored)


def test_every_request_of_all_workers_is_given_once(run: Followed) -> None:
    assert run.rows.index.is_unique
    assert sorted(run.rows.index) == sorted(run.ledger.index)
    assert len(run.rows) > 120


def test_a_row_says_what_the_ledger_says_later(run: Followed) -> None:
    rows, ledger = run.rows.sort_index(), run.ledger.sort_index()

    assert (rows["latency_s"] - ledger["latency_s"]).abs().max() < 1e-6
    both = rows["split"] == ledger["split"]
    assert both.mean() > 0.9  # a machine that is busy may bring some spans late
    for stage in ("inference_s", "preprocess_s", "other_s"):
        assert (rows.loc[both, stage] - ledger.loc[both, stage]).abs().max() < 1e-3, stage


def test_the_p95_of_all_rows_is_that_of_the_report(run: Followed) -> None:
    measured = run.rows[run.rows["phase"] == "measure"]["latency_s"].where(run.rows["ok"], float("inf")).sort_values()
    rank = -(-len(measured) * 95 // 100) - 1
    later = run.ledger[run.ledger["phase"] == "measure"]
    same = later["latency_s"].where(later["ok"], float("inf")).sort_values()

    assert measured.iloc[rank] == pytest.approx(same.iloc[rank], abs=1e-6)


def test_the_phases_come_in_their_order(run: Followed) -> None:
    order = ["starting", "waiting", "warmup", "measure", "drain", "spans", "report", "finished"]
    phases = [order.index(frame.phase) for frame in run.frames]

    assert phases == sorted(phases)
    assert run.frames[-1].phase == "finished"


def test_the_frames_say_what_is_going_on(run: Followed) -> None:
    last = [frame for frame in run.frames if frame.phase == "measure"][-1]

    assert (last.offered_per_s, last.total_s) == (50.0, 4.0)
    assert last.n > 50
    assert last.p50_s is not None
    assert 0.008 < last.p50_s <= (last.p95_s or 0) <= (last.p99_s or 0)
    assert last.errors[0][0] == "status 404"
    assert {"queue", "preprocess", "inference"} <= {stage for stage, seconds in last.stages if seconds > 0.001}
    assert any(frame.health is not None for frame in run.frames)


def test_the_counts_at_the_end_are_those_of_the_run(run: Followed) -> None:
    load = json.loads((run.folder / "run.json").read_text())["load"]
    last = run.frames[-1]

    assert (last.ok, last.failed, last.censored) == (load["ok"], load["failed"], load["censored"])
    assert last.ok + last.failed == len(run.rows)


def test_who_comes_when_all_is_over_gets_the_rows_of_the_ledger(run: Followed) -> None:
    seen = to_the_end(Follower(RunFolder(run.folder)))
    rows = pd.concat([each.rows for each in seen if len(each.rows)]).set_index("request_id").sort_index()

    assert len(rows) == len(run.ledger)
    assert (rows["done_ns"] == run.rows.sort_index()["done_ns"]).all()
    assert rows["what"].notna().sum() == (~run.ledger["ok"]).sum()
    assert seen[-1].frame.phase == "finished"


def test_a_run_that_is_killed_is_broken_and_its_rows_are_kept(tmp_path: Path, service: tuple[str, str]) -> None:
    child = begin("run", scenario(tmp_path, service, "60s"), cwd=tmp_path)
    try:
        follower = followed(tmp_path / "runs")
        give_up = time.monotonic() + 30
        while follower.poll().frame.n < 20 and time.monotonic() < give_up:
            time.sleep(0.2)
    finally:
        child.send_signal(signal.SIGKILL)
        end(child)
    seen = to_the_end(follower)

    assert (seen[-1].frame.phase, running(tmp_path / "runs")) == ("broken", ())
    assert seen[-1].frame.ok >= 20
