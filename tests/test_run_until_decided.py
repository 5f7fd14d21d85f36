"""`harness run --until-decided` against a real server: it ends early, goes on to its longest, is interrupted."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from harness.commands.run import command
from harness.errors import UsageError
from harness.interrupt import Interrupt
from harness.load.launch import start
from harness.load.order import Crew, Order
from harness.report import json_report
from harness.run import Outcome, execute, reopen
from harness.run_folder import RunFolder
from harness.scenario import load_scenario
from tests.load_support import OK, Request, Server, a_request, a_scenario, ran, raw_server

SCENARIO = """
scenario: {name}
target: {target}
requests:
  - {{name: get, http: GET /{name}}}
load: {{arrivals: constant, rate: 50/s, warmup: 1s, duration: 2s, drain: 3s}}
spans: {{source: none}}
slo: ['{slo}']
"""
SLOS = {"easy": "p50(latency) < 5s", "borderline": "p90(latency) < 150ms", "interrupted": "p90(latency) < 150ms"}
number: defaultdict[str, itertools.count[int]] = defaultdict(itertools.count)


async def now_and_then_slow(request: Request) -> bool:
    """One of ten takes 0.3 s: as many as a limit on the p90 allows, so that nothing can decide it."""
    await asyncio.sleep(0.3 if next(number[request.path]) % 10 == 9 else 0.005)
    request.writer.write(OK)
    return True


@pytest.fixture(scope="module")
def service() -> Iterator[Server]:
    with raw_server(now_and_then_slow) as server:
        yield server


@dataclass(frozen=True)
class Ran:
    """How a run ended: its outcome, its folder, and what was said of its looks."""

    outcome: Outcome
    said: list[str]

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.outcome.folder.run_json.read_text())
        return found


def run_of(name: str, service: Server, folder: Path) -> Ran:
    (folder / f"{name}.yaml").write_text(SCENARIO.format(name=name, target=service.url, slo=SLOS[name]))
    interrupt, said = Interrupt(), []

    def listen(event: Mapping[str, object]) -> None:
        if "look" in event:
            said.append(str(event["look"]))
            interrupt.presses += name == "interrupted"

    return Ran(
        execute(
            load_scenario(folder / f"{name}.yaml"),
            folder / name,
            listen,
            interrupt,
            crew=Crew(processes=2 if name == "easy" else 1),
            reports=("json",),
            until_s=60.0 if name == "interrupted" else 9.0,
        ),
        said,
    )


@pytest.fixture(scope="module")
def three_runs(service: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """At the same time: one that is easy to decide, one that cannot be, and one of these interrupted at a look."""
    folder = tmp_path_factory.mktemp("until")
    with ThreadPoolExecutor(len(SLOS)) as threads:
        return dict(zip(SLOS, threads.map(lambda name: run_of(name, service, folder), SLOS), strict=True))


def test_a_run_that_is_decided_at_the_first_look_ends_there(three_runs: dict[str, Ran]) -> None:
    found = three_runs["easy"]
    samples = pd.read_parquet(found.outcome.folder.samples)

    assert found.outcome.summary.verdict == "passed", found.outcome.summary.reasons
    assert (found.record["status"], found.record["decided"]["look"]) == ("finished", 1)
    assert found.record["decided"]["at_s"] == 3.0
    assert found.record["plan"]["load"]["steps"][0]["duration_s"] == 2.0
    assert (samples["phase"] == "measure").sum() == 100  # all of 2 s at 50 a second, and no other
    assert not samples["censored"].any()
    assert not (found.outcome.folder.path / "deciding.log").exists()
    assert found.said == ["look 1 of 4, 3.00 s: decided: every SLO has passed"]


def test_what_was_measured_is_what_is_counted(three_runs: dict[str, Ran]) -> None:
    counts = three_runs["easy"].outcome.summary.counts

    assert (counts.scheduled, counts.ok, counts.censored) == (100, 100, 0)
    assert counts.offered_per_s == pytest.approx(50.0)


def test_a_run_that_nothing_decides_goes_on_to_its_longest(three_runs: dict[str, Ran]) -> None:
    found = three_runs["borderline"]
    decided = found.record["decided"]

    assert found.outcome.summary.verdict == "not_enough_data"
    assert found.outcome.summary.counts.scheduled == 400
    assert (decided["look"], decided["looks"]) == (4, 4)  # 2, 3, 4.5 and 8 s
    assert decided["confidence"] == pytest.approx(0.9875)
    assert "p90(latency) < 150ms" in found.said[0]


def test_ctrl_c_between_two_looks_keeps_what_was_measured(three_runs: dict[str, Ran]) -> None:
    found = three_runs["interrupted"]

    assert found.record["status"] == "interrupted"
    assert found.outcome.summary.interrupted
    assert found.record["decided"]["look"] is None
    assert found.record["decided"]["confidence"] == pytest.approx(1 - 0.05 / 6)
    assert found.outcome.summary.counts.ok > 50


@pytest.mark.parametrize("name", SLOS)
def test_a_stored_run_judged_again_gives_the_same_verdict(name: str, three_runs: dict[str, Ran]) -> None:
    first = three_runs[name].outcome

    again = reopen(RunFolder.open(first.folder.path))

    assert json_report.render(again.summary) == json_report.render(first.summary)


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
