"""Load processes that hang: how long they are waited for, and what is kept of their run."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.interrupt import Interrupt
from harness.load import drive, stack
from harness.load.order import ALONE, Crew
from harness.load.patience import Limits, Patience
from harness.run import Outcome, execute
from harness.scenario import load_scenario
from tests.load_support import OK, Request, raw_server

# --- patience ----------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def over_after(clock: Clock, patience: Patience, most_s: float, talks: bool = False) -> float | None:
    """After how many seconds, looked at once a second, it is over."""
    for second in range(1, int(most_s) + 1):
        clock.now += 1.0
        if talks:
            patience.heard()
        if patience.is_over():
            return float(second)
    return None


LIMITS = Limits(overdue_s=60.0, silent_s=20.0, stop_s=10.0)


def test_a_silent_load_process_is_given_up_after_its_limit() -> None:
    clock = Clock()
    patience = Patience(LIMITS, clock)
    patience.begin()

    assert over_after(clock, patience, 100) == 21.0


def test_starting_up_may_take_as_long_as_it_takes() -> None:
    clock = Clock()

    assert over_after(clock, Patience(LIMITS, clock), 1000) is None


def test_a_load_process_that_talks_and_never_ends_is_given_up() -> None:
    clock = Clock()
    patience = Patience(LIMITS, clock)
    patience.begin()

    assert over_after(clock, patience, 100, talks=True) == 61.0


def test_a_stop_has_its_own_limit_also_before_the_load_began() -> None:
    clock = Clock()
    patience = Patience(LIMITS, clock)
    patience.ask_to_stop()

    assert over_after(clock, patience, 100, talks=True) == 11.0


def test_time_in_which_we_did_not_run_counts_against_nobody() -> None:
    clock = Clock()
    patience = Patience(LIMITS, clock)
    patience.begin()
    assert over_after(clock, patience, 15) is None
    clock.now += 3600.0  # the lid was closed
    assert not patience.is_over()

    assert over_after(clock, patience, 100) == 21.0


# --- a check that does not return --------------------------------------------------------------------------

CHECK = """
calls = 0

def sometimes(answer):
    global calls
    calls += 1
    while calls >= 50:
        pass
    return True
"""

SCENARIO = """
scenario: hangs
target: {target}
requests:
  - {{name: post, http: POST /predict, json: {{x: 1}}, expect: {{status: 200, python: check.py:sometimes}}}}
load: {{arrivals: constant, rate: 40/s, warmup: 0s, duration: 20s, drain: 2s}}
spans: {{source: none}}
"""


async def answer(request: Request) -> bool:
    await asyncio.sleep(0.005)
    request.writer.write(OK)
    return True


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Outcome, list[str]]]:
    folder = tmp_path_factory.mktemp("blocked")
    with raw_server(answer) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(drive, "_limits", lambda order, crew: Limits(overdue_s=60.0, silent_s=4.0))
        yield hung(folder, server.url, Interrupt(), ALONE)


def hung(folder: Path, target: str, interrupt: Interrupt, crew: Crew) -> tuple[Outcome, list[str]]:
    """A run of a check that hangs, and what was said meanwhile."""
    (folder / "check.py").write_text(CHECK)
    path = folder / "hangs.yaml"
    path.write_text(SCENARIO.format(target=target))
    said: list[str] = []

    def tell(event: object) -> None:
        assert isinstance(event, dict)
        said.append(str(event.get("message", "")))

    return execute(load_scenario(str(path)), folder / "runs", tell, interrupt, crew=crew), said


def test_a_check_that_never_returns_ends_the_run_as_invalid(blocked: tuple[Outcome, list[str]]) -> None:
    outcome, _ = blocked
    (warning,) = [w for w in outcome.summary.warnings if w.code == "blocked"]

    assert outcome.summary.verdict == "invalid"
    assert warning.invalidates
    assert "code in a check or a task does not return" in warning.message


def test_the_place_where_it_hangs_is_named_while_the_run_is_watched(blocked: tuple[Outcome, list[str]]) -> None:
    assert any("is blocked" in text and "(sometimes in check.py, line " in text for text in blocked[1])


def test_what_was_recorded_before_it_hung_is_reported(blocked: tuple[Outcome, list[str]]) -> None:
    outcome, _ = blocked

    assert 10 <= outcome.summary.counts.ok <= 49
    assert json.loads(outcome.folder.run_json.read_text())["status"] == "broken"
    assert (outcome.folder.path / "report.html").exists()


SPIN = """
from harness.load import stack
stack.say_when_asked()
print("ready", flush=True)
def forever():
    while True: pass
forever()
"""


def test_a_process_that_hangs_says_where(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "spin.py").write_text(SPIN)
    with log.open("wb") as stderr:
        child = subprocess.Popen([sys.executable, tmp_path / "spin.py"], stdout=subprocess.PIPE, stderr=stderr)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.1)  # it is on its way from the line it wrote to the loop
        assert stack.of_blocked(child.pid, log) in ("forever in spin.py, line 6", "<module> in spin.py, line 7")
    finally:
        child.kill()
        child.communicate()


def test_a_process_that_is_gone_says_nothing(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    (tmp_path / "log").touch()

    assert stack.of_blocked(child.pid, tmp_path / "log") is None
