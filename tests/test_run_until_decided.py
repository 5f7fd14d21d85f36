"""`harness run --until-decided` against a real server: it ends early, goes on to its longest, is interrupted."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from harness.commands.run import command
from harness.errors import UsageError
from harness.load.launch import start
from harness.load.order import Crew, Order
from harness.run import reopen
from harness.run_folder import RunFolder
from tests.cli import Ended, begin, end
from tests.load_support import OK, Request, Server, a_request, a_scenario, ran, raw_server

SCENARIO = """
scenario: {name}
target: {target}
requests:
  - {{name: get, http: GET /ok}}
load: {{arrivals: constant, rate: 50/s, warmup: 1s, duration: 2s, drain: 3s}}
spans: {{source: none}}
slo: ['{slo}']
"""
number = itertools.count()


async def now_and_then_slow(request: Request) -> bool:
    """One of ten takes 0.3 s: as many as a limit on the p90 allows, so that nothing can decide it."""
    await asyncio.sleep(0.3 if next(number) % 10 == 9 else 0.005)
    request.writer.write(OK)
    return True


@pytest.fixture(scope="module")
def service() -> Iterator[Server]:
    with raw_server(now_and_then_slow) as server:
        yield server


@pytest.fixture(scope="module")
def ran_apart(service: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ended, Path]]:
    """Three runs at the same time: one that is easy to decide, one that cannot be, one of these interrupted."""
    folder = tmp_path_factory.mktemp("until")
    slos = {"easy": "p50(latency) < 5s", "borderline": "p90(latency) < 150ms", "interrupted": "p90(latency) < 150ms"}
    begun = {}
    for name, slo in slos.items():
        (folder / f"{name}.yaml").write_text(SCENARIO.format(name=name, target=service.url, slo=slo))
        most = ["--until-decided", "60s" if name == "interrupted" else "9s"]
        crew = ["--processes", "2"] if name == "easy" else []
        begun[name] = begin("run", f"{name}.yaml", *most, *crew, "--out", name, cwd=folder)
    try:
        looked = any(line.startswith("look 1 of ") for line in begun["interrupted"].stderr or ())
        begun["interrupted"].send_signal(signal.SIGINT)
        ended = {name: end(child) for name, child in begun.items()}
    finally:
        for child in begun.values():
            child.kill()
            child.communicate()
    assert looked, ended
    return {name: (ended[name], next((folder / name).iterdir())) for name in slos}


def record_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def test_a_run_that_is_decided_at_the_first_look_ends_there(ran_apart: dict[str, tuple[Ended, Path]]) -> None:
    ended, run = ran_apart["easy"]
    record, samples = record_of(run), pd.read_parquet(run / "samples.parquet")

    assert ended.code == 0, ended.stderr
    assert (record["status"], record["decided"]["look"], record["decided"]["at_s"]) == ("finished", 1, 3.0)
    assert record["plan"]["load"]["steps"][0]["duration_s"] == 2.0
    assert (samples["phase"] == "measure").sum() == 100  # all of 2 s at 50 a second, and no other
    assert not samples["censored"].any()
    assert "decided: every SLO has passed" in ended.stderr


def test_what_was_measured_is_what_is_counted(ran_apart: dict[str, tuple[Ended, Path]]) -> None:
    counts = summary_of(ran_apart["easy"][1])["counts"]

    assert (counts["scheduled"], counts["ok"], counts["censored"]) == (100, 100, 0)
    assert counts["offered_per_s"] == pytest.approx(50.0)


def test_a_run_that_nothing_decides_goes_on_to_its_longest(ran_apart: dict[str, tuple[Ended, Path]]) -> None:
    ended, run = ran_apart["borderline"]
    record = record_of(run)

    assert ended.code == 3, ended.stderr
    assert summary_of(run)["verdict"] == "not_enough_data"
    assert summary_of(run)["counts"]["scheduled"] == 400
    assert (record["decided"]["look"], record["decided"]["looks"]) == (4, 4)  # 2, 3, 4.5 and 8 s
    assert record["decided"]["confidence"] == pytest.approx(0.9875)
    assert "more requests" in record["decided"]["looked"][0]["found"]


def test_ctrl_c_between_two_looks_keeps_what_was_measured(ran_apart: dict[str, tuple[Ended, Path]]) -> None:
    ended, run = ran_apart["interrupted"]
    record = record_of(run)

    assert ended.code == 4, ended.stderr
    assert record["status"] == "interrupted"
    assert record["decided"]["look"] is None
    assert record["decided"]["confidence"] == pytest.approx(1 - 0.05 / 6)
    assert summary_of(run)["counts"]["ok"] > 50


@pytest.mark.parametrize("name", ["easy", "borderline", "interrupted"])
def test_a_stored_run_judged_again_gives_the_same_verdict(name: str, ran_apart: dict[str, tuple[Ended, Path]]) -> None:
    run = ran_apart[name][1]

    again = reopen(RunFolder.open(run)).summary

    assert again.verdict == summary_of(run)["verdict"]
    assert [slo.reason for slo in again.slo] == [slo["reason"] for slo in summary_of(run)["slo"]]


def test_enough_is_no_stop_requests_in_flight_are_awaited(tmp_path: Path) -> None:
    async def slow(request: Request) -> bool:
        await asyncio.sleep(2.6)  # more than a stop waits for
        request.writer.write(OK)
        return True

    with raw_server(slow) as server:
        scenario = a_scenario(server.url, a_request(), rate=20.0, duration_s=60.0)
        process = start(Order(scenario, str(tmp_path), "run-1"))
        until_elapsed(process, 1.0)
        process.say_enough(0.8)
        found = ran(process, tmp_path)

    assert found.end["interrupted"] is False
    assert found.end["censored"] == 0
    assert found.end["measured_until_ns"] - found.end["measured_from_ns"] == 800_000_000
    assert len(found.samples) == found.end["sent"] >= 20


def until_elapsed(process: Any, elapsed_s: float) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        if any(line.get("elapsed_s", 0) >= elapsed_s for line in process.events(0.5)):
            return
    raise AssertionError("the load did not begin")


@pytest.mark.parametrize(
    ("most", "said"),
    [("2s", "is no longer than the scenario itself"), ("soon", "--until-decided:"), ("1 parsec", "--until-decided:")],
)
def test_a_longest_time_that_cannot_be_is_refused_at_once(most: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIO.format(name="s", target="http://127.0.0.1:9", slo="p50(latency) < 5s"))

    found = CliRunner().invoke(command, [str(tmp_path / "s.yaml"), "--until-decided", most])

    assert isinstance(found.exception, UsageError)
    assert said in found.exception.message
    assert found.exception.hint


def test_an_enough_that_comes_after_the_end_changes_nothing(service: Server, tmp_path: Path) -> None:
    process = start(Order(a_scenario(service.url, a_request(), duration_s=0.5), str(tmp_path), "run-1"), Crew())
    process.say_enough(60.0)
    found = ran(process, tmp_path)

    assert found.end["measured_until_ns"] - found.end["measured_from_ns"] == 500_000_000
