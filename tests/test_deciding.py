"""The looks at a run that goes on until its SLOs are decided: when, how sure, at which requests, and what follows."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.statistics.early_stopping import Decision, decide
from harness.deciding.cohort import cut, ended_s, measured_until
from harness.deciding.judging import judged
from harness.deciding.looks import MOST_LOOKS, Asked, Until, planned_looks, prolonged
from harness.deciding.watching import Watch
from harness.errors import UsageError
from harness.findings import Verdict
from harness.load.drive import Loaded
from harness.load.order import Crew
from harness.model import Arrivals, Replay, RunWarning, Scenario, SpanSpec, Step
from harness.report.live import progress
from harness.run_folder import RunFolder
from tests.builders import T0, a_sample, at, samples_table
from tests.load_support import a_scenario

HERE = "http://127.0.0.1:9"


def scenario_of(*slos: str, **load: Any) -> Scenario:
    """10 a second for 10 s after 2 s of warm-up, unless told otherwise."""
    made = replace(a_scenario(HERE, rate=10.0, duration_s=10.0, warmup_s=2.0), slo=slos or ("p95(latency) < 1s",))
    return replace(made, load=replace(made.load, **load), spans=SpanSpec(source="none"))


# --- when --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first_s", "most_s", "looks"),
    [
        (60, 290, (60, 90, 135, 202.5, 290)),
        (60, 61, (60, 61)),
        (60, 110, (60, 90, 110)),
        (60, 107, (60, 107)),  # a second look at 90 s would leave a last one of hardly more
        (1, 1024, (1, 4, 16, 64, 256, 1024)),  # half as long again each time would be too many
    ],
)
def test_each_look_comes_half_as_late_again_and_the_last_at_the_end(
    first_s: float, most_s: float, looks: tuple[float, ...]
) -> None:
    assert planned_looks(first_s, most_s) == pytest.approx(looks)


@given(st.floats(0.1, 1e5), st.floats(1.001, 1e4))
def test_looks_are_few_and_grow_from_the_first_to_the_last(first_s: float, times: float) -> None:
    looks = planned_looks(first_s, first_s * times)

    assert looks[0] == first_s
    assert looks[-1] == first_s * times
    assert 2 <= len(looks) <= MOST_LOOKS
    assert all(after > before for before, after in pairwise(looks))


def test_a_load_is_prolonged_to_the_longest_with_its_warm_up_in_it() -> None:
    longer, until = prolonged(scenario_of(), 47.0)

    assert longer.load.end_s == 47.0
    assert longer.load.steps == (Step(10.0, 45.0),)
    assert until == Until((12.0, 17.0, 24.5, 35.75, 47.0))
    assert until.confidence == pytest.approx(0.99)  # 1 - 0.05 / 5


def test_a_closed_loop_is_prolonged_too() -> None:
    closed = scenario_of(arrivals=Arrivals.USERS, steps=(Step(4.0, 10.0),))

    assert prolonged(closed, 20.0)[0].load.steps == (Step(4.0, 18.0),)


SEVERAL = (Step(1.0, 5.0), Step(2.0, 5.0), Step(3.0, 5.0))


@pytest.mark.parametrize(
    ("scenario", "max_s", "crew", "said"),
    [
        (scenario_of(), 12.0, Crew(), "12.0 s is no longer than the scenario itself: 12.0 s with its warm-up"),
        (scenario_of(warmup_s=0.0), 3.0, Crew(), "3.00 s is no longer than the scenario itself: 10.0 s"),
        (scenario_of(), 8 * 24 * 3600.0, Crew(), "is longer than a week"),
        (scenario_of(steps=(Step(9e5, 10.0),)), 60.0, Crew(), "52,200,000 requests would be planned"),
        (replace(scenario_of(), slo=()), 60.0, Crew(), "there is no SLO"),
        (scenario_of(steps=SEVERAL), 60.0, Crew(), "of 3 it is not clear which one is to go on"),
        (scenario_of(steps=(Step(1.0, 10.0, to=9.0),)), 60.0, Crew(), "a ramp: it ends where it ends"),
        (scenario_of(arrivals=Arrivals.REPLAY, replay=Replay("f", 1.0)), 60.0, Crew(), "a recording ends"),
        (scenario_of(), 60.0, Crew(expected=2), "does not go with --master"),
        (scenario_of("p95(inference) < 1s"), 60.0, Crew(), "spans of this scenario come after the run"),
    ],
)
def test_what_cannot_go_on_is_refused(scenario: Scenario, max_s: float, crew: Crew, said: str) -> None:
    with pytest.raises(UsageError, match="--until-decided") as refused:
        prolonged(scenario, max_s, crew)

    assert said in refused.value.message
    assert refused.value.hint


def test_an_slo_on_a_stage_is_looked_at_where_spans_come_meanwhile() -> None:
    for spans in (SpanSpec(), SpanSpec(source="server-timing", listen=None)):
        _, until = prolonged(replace(scenario_of("p95(inference) < 1s"), spans=spans), 60.0)
        assert until.stages


# --- how sure ----------------------------------------------------------------------------------------------


def share_decided(over: float, confidence: float, looks: tuple[int, ...], runs: int) -> tuple[float, float]:
    """Shares of simulated runs that stop with "within" and with "over" when a share `over` is beyond a p95 limit."""
    random = np.random.default_rng(11)
    parts = np.diff((0, *looks))
    ends = {Decision.WITHIN: 0, Decision.OVER: 0}
    for counts in random.binomial(parts, over, size=(runs, len(looks))).cumsum(axis=1):
        for count, n in zip(counts, looks, strict=True):
            found = decide(float(count), float(n), 0.95, confidence)
            if found is not Decision.UNDECIDED:
                ends[found] += 1
                break
    return ends[Decision.WITHIN] / runs, ends[Decision.OVER] / runs


LOOKS = (200, 300, 450, 675, 1012, 1500)


def test_six_looks_together_are_wrong_no_more_often_than_one() -> None:
    """Exactly at the limit either answer is wrong. 3,000 runs: the error of the share is 0.4 %."""
    passed, failed = share_decided(0.05, 1 - 0.05 / 6, LOOKS, 3000)

    assert passed <= 0.05
    assert failed <= 0.05


def test_six_looks_at_the_confidence_of_one_would_be_wrong_too_often() -> None:
    passed, _ = share_decided(0.05, 0.95, LOOKS, 3000)

    assert passed > 0.08


def test_most_runs_far_from_the_limit_end_at_the_first_look() -> None:
    assert share_decided(0.002, 1 - 0.05 / 6, LOOKS[:1], 1000)[0] > 0.95
    assert share_decided(0.15, 1 - 0.05 / 6, LOOKS[:1], 1000)[1] > 0.95


# --- at which requests -------------------------------------------------------------------------------------


def recorded(folder: Path, ids: range, **changes: Any) -> RunFolder:
    """A run folder with samples of constant arrivals, 10 a second, the first at T0."""
    run = RunFolder(folder)
    rows = [
        a_sample(i, **{"scheduled_ns": at(100 * i), "done_ns": at(100 * i + 50), **changes})
        for i in ids
    ]  # fmt: skip
    run.write_table("samples", samples_table(*rows))
    return run


def verdicts(run: RunFolder, scenario: Scenario, at_s: float, confidence: float = 0.95) -> list[Verdict]:
    asked = Asked(1, at_s, T0, confidence, stages=False)
    return [slo.verdict for slo in judged(run, scenario, {"loopback": True}, asked)]


SIXTY_OF_SIXTY = replace(scenario_of(), load=replace(scenario_of().load, warmup_s=0.0, steps=(Step(10.0, 30.0),)))


def test_a_look_judges_what_was_scheduled_before_it(tmp_path: Path) -> None:
    run = recorded(tmp_path, range(80))  # ... and 59 within the limit are needed

    assert verdicts(run, SIXTY_OF_SIXTY, 6.0) == [Verdict.PASSED]
    assert verdicts(run, SIXTY_OF_SIXTY, 5.8) == [Verdict.NOT_ENOUGH_DATA]


def test_a_look_that_has_to_be_surer_needs_more_requests(tmp_path: Path) -> None:
    run = recorded(tmp_path, range(120))  # 1 - 0.95 ** 104 > 0.995

    assert verdicts(run, SIXTY_OF_SIXTY, 10.0, confidence=0.995) == [Verdict.NOT_ENOUGH_DATA]
    assert verdicts(run, SIXTY_OF_SIXTY, 10.5, confidence=0.995) == [Verdict.PASSED]


def test_requests_in_flight_do_not_decide(tmp_path: Path) -> None:
    run = recorded(tmp_path, range(58))  # of 60 that were due: two may be slow

    assert verdicts(run, replace(SIXTY_OF_SIXTY, slo=("p50(latency) < 1s",)), 6.0) == [Verdict.PASSED]
    assert verdicts(run, replace(SIXTY_OF_SIXTY, slo=("max(latency) < 1s",)), 6.0) == [Verdict.NOT_ENOUGH_DATA]


def test_a_look_at_nothing_decides_nothing(tmp_path: Path) -> None:
    closed = replace(SIXTY_OF_SIXTY, load=replace(SIXTY_OF_SIXTY.load, arrivals=Arrivals.USERS))

    assert verdicts(recorded(tmp_path, range(0)), closed, 6.0) == [Verdict.NOT_ENOUGH_DATA]
    assert verdicts(recorded(tmp_path, range(0)), SIXTY_OF_SIXTY, 0.1) == [Verdict.NOT_ENOUGH_DATA]


def test_a_failed_request_counts_in_a_look(tmp_path: Path) -> None:
    run = recorded(tmp_path, range(60), status=500, failed_checks="status")

    assert verdicts(run, replace(SIXTY_OF_SIXTY, slo=("error_rate < 2%",)), 6.0) == [Verdict.FAILED]


def test_a_count_that_has_to_be_reached_is_not_missed_as_long_as_requests_come(tmp_path: Path) -> None:
    run = recorded(tmp_path, range(60))
    wanted = replace(SIXTY_OF_SIXTY, slo=("count(ok) >= 60", "count(ok) > 60", "count(ok) < 60"))

    assert verdicts(run, wanted, 6.0) == [Verdict.PASSED, Verdict.NOT_ENOUGH_DATA, Verdict.FAILED]


def test_what_was_sent_after_the_look_that_ended_the_run_is_not_measured() -> None:
    samples = samples_table(*(a_sample(i, scheduled_ns=at(1000 * i)) for i in range(4)))
    record = {"decided": {"look": 1, "looks": 3}, "load": {"measured_until_ns": at(2000)}}

    phases = measured_until(samples, record).column("phase").to_pylist()

    assert phases == ["measure", "measure", "drain", "drain"]


@pytest.mark.parametrize(
    "record",
    [
        {"load": {"measured_until_ns": at(2000)}},
        {"decided": {"look": 3, "looks": 3}, "load": {"measured_until_ns": at(2000)}},
        {"decided": {"look": None, "looks": 3}, "load": {"measured_until_ns": at(2000)}},
        {"decided": {"look": 1, "looks": 3}, "load": {}},
    ],
)
def test_runs_that_no_look_has_ended_stay_as_they_are(record: dict[str, object]) -> None:
    samples = samples_table(*(a_sample(i, scheduled_ns=at(1000 * i)) for i in range(4)))

    assert measured_until(samples, record) is samples


def test_the_plan_of_a_run_is_cut_to_what_was_measured() -> None:
    longer, _ = prolonged(scenario_of(), 47.0)

    assert cut(longer, 17.0).load.steps == (Step(10.0, 15.0),)
    assert cut(longer, None) is longer


def test_a_run_that_was_stopped_first_was_not_ended_by_a_look() -> None:
    assert ended_s(Loaded({"interrupted": False}, (), False, enough_s=17.0)) == 17.0
    assert ended_s(Loaded({"interrupted": True}, (), True, enough_s=17.0)) is None
    assert ended_s(Loaded({}, (), False, enough_s=17.0)) is None


# --- what follows ------------------------------------------------------------------------------------------

JUDGE = """
import json, sys
for line, slos in zip(sys.stdin, json.loads(sys.argv[1])):
    print(json.dumps({"look": 1, "slos": slos, "cpu_s": 0.5, "total_cpu_s": 2.0}), flush=True)
"""
OPEN, FINE, BAD, UNKNOWN = (
    ["p95(latency) < 1s", verdict, "why"] for verdict in ("not_enough_data", "passed", "failed", "invalid")
)


@contextmanager
def watched(
    *answers: list[list[str]], accept: bool = False, looks_s: tuple[float, ...] = (10.0, 15.0, 20.0)
) -> Iterator[tuple[Watch, list[str]]]:
    """A watch whose judge gives these answers; and what it says to the user."""
    judge = subprocess.Popen(
        [sys.executable, "-c", JUDGE, json.dumps(answers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert judge.stdin is not None
    assert judge.stdout is not None
    os.set_blocking(judge.stdout.fileno(), False)
    said: list[str] = []
    try:
        yield Watch(Until(looks_s), judge, lambda event: said.append(str(event["look"])), accept), said
    finally:
        judge.kill()
        judge.wait()
        judge.stdin.close()
        judge.stdout.close()


def after(watch: Watch, elapsed_s: float, invalid: bool = False) -> float | None:
    """What a watch says to lines of progress at one instant, when its judge has had the time to answer."""
    line = {"elapsed_s": elapsed_s, "phase": "measure", "started_ns": T0}
    found = watch(line, invalid)
    for _ in range(200):
        if found is not None or not watch.waiting:
            return found
        subprocess.run(["sleep", "0.02"], check=True)
        found = watch(line, invalid)
    raise AssertionError("the judge did not answer")


def test_a_run_ends_at_the_look_at_which_all_slos_have_passed() -> None:
    with watched([OPEN], [FINE]) as (watch, said):
        assert after(watch, 11.0) is None  # samples are written once a second
        assert after(watch, 12.0) is None
        assert after(watch, 17.0) == 15.0

        written = watch.written(Loaded({"interrupted": False}, (), False, enough_s=15.0))
    assert said == [
        "look 1 of 3, 10.0 s: p95(latency) < 1s: why",
        "look 2 of 3, 15.0 s: decided: every SLO has passed",
    ]
    assert (written["look"], written["looks"], written["at_s"], written["max_s"]) == (2, 3, 15.0, 20.0)
    assert (written["confidence"], written["cpu_s"]) == (pytest.approx(1 - 0.05 / 3), 2.0)


def test_one_slo_that_has_failed_ends_the_run() -> None:
    with watched([["max(latency) < 1s", "not_enough_data", ""], BAD]) as (watch, said):
        assert after(watch, 12.0) == 10.0
    assert said == ["look 1 of 3, 10.0 s: decided: p95(latency) < 1s has failed"]


def test_a_run_that_is_undecided_goes_on_to_its_end() -> None:
    with watched([OPEN], [OPEN]) as (watch, _):
        assert [after(watch, s) for s in (12.0, 17.0, 19.9)] == [None] * 3
        assert watch({"elapsed_s": 20.0, "phase": "drain", "started_ns": T0}, False) is None

        written = watch.written(Loaded({"interrupted": False}, (), False))
    assert (written["look"], written["at_s"]) == (3, 20.0)


def test_a_run_that_was_interrupted_was_not_decided_by_a_look() -> None:
    with watched([OPEN]) as (watch, _):
        written = watch.written(Loaded({"interrupted": True}, (), True))
    assert (written["look"], written["at_s"]) == (None, None)


def test_a_run_that_was_aborted_did_not_come_to_its_last_look() -> None:
    aborted = RunWarning("aborted", "80% of the requests failed", "")
    with watched([OPEN]) as (watch, _):
        written = watch.written(Loaded({"interrupted": False}, (aborted,), False))
    assert (written["look"], written["at_s"]) == (None, None)


def test_a_measurement_that_is_invalid_already_ends_at_the_first_look() -> None:
    with watched([OPEN]) as (watch, said):
        assert after(watch, 3.0, invalid=True) is None
        assert after(watch, 12.0, invalid=True) == 10.0
    assert said == ["look 1 of 3, 10.0 s: the measurement is invalid, which more requests cannot change"]


def test_an_invalid_measurement_that_is_accepted_is_looked_at() -> None:
    with watched([OPEN], accept=True) as (watch, _):
        assert after(watch, 12.0, invalid=True) is None


def test_a_stage_without_its_spans_is_judged_again_when_they_may_be_there() -> None:
    with watched([UNKNOWN], [FINE]) as (watch, said):
        assert after(watch, 12.0) is None
        assert said == []
        assert after(watch, 16.4) is None
        assert said == []


def test_a_stage_that_stays_unknown_ends_the_run() -> None:
    with watched(*[[UNKNOWN]] * 4, looks_s=(10.0, 30.0, 50.0)) as (watch, said):
        assert [after(watch, s) for s in (12.0, 18.0, 32.0)] == [None] * 3
        assert after(watch, 38.0) == 30.0
    assert len(said) == 2


def test_a_judge_that_ends_leaves_the_run_alone_and_is_told() -> None:
    with watched() as (watch, _):
        assert after(watch, 12.0) is None
        assert after(watch, 17.0) is None
        (warning,) = watch.warnings()
    assert "the judge ended with exit code 0" in warning.message
    assert not warning.invalidates


def test_a_look_that_the_next_one_has_overtaken_is_left_out() -> None:
    with watched([FINE]) as (watch, said):
        assert after(watch, 18.0) == 15.0
    assert len(said) == 1


# --- what is seen of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [True, False])
def test_each_look_is_a_line_of_its_own(terminal: bool) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    out = Screen()
    with progress(stream=out) as show:
        show({"look": "look 1 of 3, 10.0 s: p95(latency) < 1s: [bold]too few\x1b requests"})

    assert "look 1 of 3, 10.0 s: p95(latency) < 1s: [bold]too few⟨ESC⟩ requests\n" in out.getvalue()
