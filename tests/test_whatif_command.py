"""`harness whatif` as a user runs it: a stored run, its text, its JSON, its exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from harness.commands.whatif import _parsed, command
from harness.diagnosis import Level, WhatIfFindings
from harness.errors import RunFolderError, UsageError
from harness.report import whatif_text
from tests import simulated_queues as queues
from tests import stored_queues
from tests.cli import harness

N = 500


def store(path: Path, arrivals: str = "poisson", n: int = N) -> Path:
    """A run of requests that waited for one of two workers, as it lies on disk."""
    step = {"level": 100.0, "duration_s": 60.0, "to": None}
    simulated = queues.simulate(n, 0.8, 5, servers=2, settle=0)
    return stored_queues.store(path, simulated, load={"arrivals": arrivals, "steps": [step]})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("whatif") / "stored")


class Whatif:
    """The command in this process; `code` and `stdout` of the last call."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.code, self.stdout = 0, ""

    def __call__(self, *arguments: str | Path) -> Whatif:
        self.code = command.main([str(a) for a in arguments], standalone_mode=False)
        self.stdout = self.capsys.readouterr().out
        return self


@pytest.fixture
def whatif(capsys: pytest.CaptureFixture[str]) -> Whatif:
    return Whatif(capsys)


def test_one_change_is_answered_in_one_sentence(run: Path) -> None:
    ended = harness("whatif", run, "--stage", "inference=0.8", cwd=run.parent)

    assert (ended.code, ended.stderr) == (0, "")
    (sentence,) = [line for line in ended.stdout.splitlines() if line.startswith("inference x 0.8: p50 ")]
    assert " ms -> " in sentence
    assert "threadpool then carries at most" in sentence
    assert "n = 500 (measured, ok, with server half)" in ended.stdout
    assert "replayed with nothing changed, requests wait" in ended.stdout


def test_json_has_all_changes_together_and_each_alone(run: Path, whatif: Whatif) -> None:
    ended = whatif(run, "--stage", "inference=0.8", "--stage", "preprocess=0.5", "--workers", "3", "--json")

    assert ended.code == 0
    shown = json.loads(ended.stdout)
    together = "inference x 0.8 and preprocess x 0.5 and one more worker than the 2 that fit this run"
    assert [change["change"] for change in shown["changes"]] == [
        together, "inference x 0.8", "preprocess x 0.5", "one more worker than the 2 that fit this run",
    ]  # fmt: skip
    assert shown["n"] == N
    assert all(c["then"]["mean_s"] < c["now"]["mean_s"] for c in shown["changes"])
    assert [change["servers"] for change in shown["changes"]] == [3, 2, 2, 3]


def test_without_a_change_the_usual_ones_are_tried_best_first(run: Path, whatif: Whatif) -> None:
    ended = whatif(run, "--json")

    changes = json.loads(ended.stdout)["changes"]
    assert {change["change"] for change in changes} == {
        *(f"{stage} x {factor}" for stage in queues.WORK for factor in ("0.8", "0.5")),
        "one more worker than the 2 that fit this run",
    }  # fmt: skip
    gains = [change["now"]["mean_s"] - change["then"]["mean_s"] for change in changes]
    assert gains == sorted(gains, reverse=True)


def test_a_misspelt_stage_is_told_the_nearest_one(run: Path, whatif: Whatif) -> None:
    with pytest.raises(UsageError) as refused:
        whatif(run, "--stage", "inferense=0.8")

    assert refused.value.message == "'inferense' is no stage of this run that can be scaled"
    assert refused.value.hint == "did you mean 'inference'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inference", "--stage 'inference' has no factor"),
        ("=0.5", "--stage '=0.5' has no factor"),
        ("inference=fast", "--stage 'inference=fast': 'fast' is not a factor above 0"),
        ("inference=0", "--stage 'inference=0': '0' is not a factor above 0"),
        ("inference=-1", "--stage 'inference=-1': '-1' is not a factor above 0"),
        ("inference=nan", "--stage 'inference=nan': 'nan' is not a factor above 0"),
        ("inference=inf", "--stage 'inference=inf': 'inf' is not a factor above 0"),
    ],
)
def test_what_is_no_factor_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        _parsed((text,))

    assert refused.value.message == message


def test_a_stage_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="names inference twice"):
        _parsed(("inference=0.5", "inference=0.8"))


def test_no_workers_are_refused(run: Path, whatif: Whatif) -> None:
    with pytest.raises(click.UsageError):
        whatif(run, "--workers", "0")


def test_a_closed_loop_is_no_answer(tmp_path: Path, whatif: Whatif) -> None:
    ended = whatif(store(tmp_path / "closed", arrivals="users", n=50))

    assert ended.code == 3
    assert ended.stdout == "no answer: a closed loop cannot be replayed: its requests come because others have ended\n"


def test_a_refusal_is_json_too(tmp_path: Path, whatif: Whatif) -> None:
    ended = whatif(store(tmp_path / "closed", arrivals="users", n=50), "--json")

    (change,) = json.loads(ended.stdout)["changes"]
    assert ended.code == 3
    assert change["then"] is None
    assert change["refusal"].startswith("a closed loop cannot be replayed")


def test_what_is_no_run_is_a_mistake_of_the_user(tmp_path: Path, whatif: Whatif) -> None:
    with pytest.raises(RunFolderError):
        whatif(tmp_path / "nothing")


def test_help_has_examples(whatif: Whatif) -> None:
    assert "--stage inference=0.8" in whatif("--help").stdout


# --- the text ----------------------------------------------------------------------------------------------


def an_answer(**changes: Any) -> WhatIfFindings:
    known: dict[str, Any] = {
        "change": "inference x 0.8", "resource": "threadpool", "servers": 2, "pools": 1, "n": 1_000,
        "measured_wait_s": (0.030, 0.200), "replayed_wait_s": (0.031, 0.190),
        "now": Level(0.060, 0.045, 0.480), "then": Level(0.040, 0.023, 0.210), "most_per_s": 90.6, "refusal": None,
    }  # fmt: skip
    return WhatIfFindings(**{**known, **changes})


def test_the_sentence_has_p50_p99_and_the_highest_rate() -> None:
    assert whatif_text.sentence(an_answer()) == (
        "inference x 0.8: p50 45.0 ms -> 23.0 ms and p99 480 ms -> 210 ms. "
        "threadpool then carries at most 90.6/s of this mix."
    )


def test_without_a_p99_the_sentence_has_the_mean_and_the_text_says_why() -> None:
    few = an_answer(n=100, now=Level(0.060, 0.045, None), then=Level(0.040, 0.023, None))

    text = whatif_text.render([few], "run")

    assert "p50 45.0 ms -> 23.0 ms and mean 60.0 ms -> 40.0 ms" in text
    assert "needs 368 requests, has 100: p50 and mean only" in text
    assert "needs 368 independent requests, these 500 are worth fewer" in whatif_text.render([replace(few, n=500)], "r")


def test_an_answer_that_there_is_not_is_a_row_and_a_sentence() -> None:
    refused = an_answer(change="inference x 9", then=None, refusal="its queue would grow without end")

    first, second = (whatif_text.render(each, "run") for each in ([refused, an_answer()], [an_answer(), refused]))

    assert "inference x 9: no answer, its queue would grow without end." in first
    assert "  no answer    inference x 9: its queue would grow without end" in second


def test_names_from_outside_cannot_move_the_cursor() -> None:
    text = whatif_text.render([an_answer(resource="pool\x1b[2J")], "run\x1b[2J")

    assert "\x1b" not in text


def test_doubts_are_lines_of_their_own() -> None:
    text = whatif_text.render([an_answer()], "run", ["3 workers on 2 cores: ..."])

    assert text.splitlines()[-1] == "  warning      3 workers on 2 cores: ..."
