"""Which load a stepped run was shown to hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.capacity import capacity
from harness.diagnosis import Steadiness, StepFindings
from harness.estimates import Estimate, LatencyFindings
from harness.findings import Verdict
from harness.slo import parse_slos

P95 = parse_slos("p95(latency) < 200ms")
NONE = Estimate(None, None, None, 3, refusal="needs 59 requests, has 3")


def step(
    number: int,
    level: float,
    p95: tuple[float, float, float] | None = (0.1, 0.09, 0.12),
    state: Steadiness = Steadiness.STEADY,
    failed: tuple[float, float, float] = (0.0, 0.0, 0.01),
) -> StepFindings:
    """A load step with only the figures that are asked for."""
    found = NONE if p95 is None else Estimate(*p95, 300)
    latency = LatencyFindings(found, found, found, found, found, None)
    error = Estimate(*failed, 300)
    return StepFindings(
        number, level, 300, 300, error, level, level, state, "", None, None, latency, latency, (), None, None
    )


def verdicts(*steps: StepFindings) -> list[Verdict]:
    return [each.verdict for each in capacity(steps, P95, closed_loop=False).levels]


def test_the_capacity_is_the_highest_level_whose_whole_interval_is_within_the_limit() -> None:
    found = capacity(
        [step(0, 10), step(1, 20, (0.15, 0.14, 0.19)), step(2, 30, (0.5, 0.3, 0.9))], P95, closed_loop=False
    )

    assert (found.confirmed, found.broken) == (20, 30)
    assert found.sentence == "A load of 20/s meets the SLOs, 30/s misses them."


def test_an_interval_that_holds_the_limit_decides_nothing() -> None:
    assert verdicts(step(0, 10, (0.19, 0.15, 0.25))) == [Verdict.NOT_ENOUGH_DATA]


def test_an_unstable_step_misses_every_percentile() -> None:
    assert verdicts(step(0, 10, None, Steadiness.UNSTABLE)) == [Verdict.FAILED]


def test_a_percentile_that_is_refused_is_not_enough_data() -> None:
    found = capacity([step(0, 10, None)], P95, closed_loop=False)

    assert found.levels[0].reason == "p95(latency) < 200ms: needs 59 requests, has 3"
    assert (found.confirmed, found.broken) == (None, None)
    assert found.sentence.startswith("Not enough data")


def test_a_level_above_one_that_failed_is_not_confirmed() -> None:
    found = capacity([step(0, 10, (0.5, 0.4, 0.6)), step(1, 20)], P95, closed_loop=False)

    assert (found.confirmed, found.broken) == (None, 10)
    assert found.sentence == "No load was shown to meet the SLOs; 10/s misses them."


def test_steps_are_ordered_by_their_level() -> None:
    found = capacity([step(0, 30), step(1, 10)], P95, closed_loop=True)

    assert [each.level for each in found.levels] == [10, 30]
    assert found.sentence == "A load of 30 users meets the SLOs, and no step missed them: the service may hold more."


def test_undecided_steps_between_the_two_are_said() -> None:
    steps = [step(0, 10), step(1, 20, (0.19, 0.15, 0.25)), step(2, 30, (0.5, 0.3, 0.9))]

    assert capacity(steps, P95, closed_loop=False).sentence.endswith("Between the two 1 step is undecided.")


def test_failed_requests_count_against_the_error_rate_of_their_step() -> None:
    slos = parse_slos("error_rate < 2%")

    found = capacity([step(0, 10), step(1, 20, failed=(0.1, 0.07, 0.14))], slos, closed_loop=False)

    assert [each.verdict for each in found.levels] == [Verdict.PASSED, Verdict.FAILED]


@pytest.mark.parametrize(
    "expression", ["p95(inference) < 1s", "p95(latency, name=a) < 1s", "throughput > 3/s", "p99.9(latency) < 1s"]
)
def test_what_a_step_cannot_answer_is_left_out_and_named(expression: str) -> None:
    found = capacity([step(0, 10)], parse_slos(expression), closed_loop=False)

    assert found.left_out == (expression,)
    assert found.levels == ()
    assert found.sentence.startswith("No SLO can be asked")


def test_a_step_without_a_request_is_no_level() -> None:
    assert capacity([], P95, closed_loop=False).levels == ()


def test_two_steps_at_one_level_confirm_it_only_when_none_failed() -> None:
    found = capacity([step(0, 5), step(1, 10), step(2, 10, (0.5, 0.4, 0.6))], P95, closed_loop=False)

    assert (found.confirmed, found.broken) == (5, 10)


def test_a_percentile_among_failed_requests_misses_any_limit() -> None:
    """Of 300 requests a fifth failed, surely more than a twentieth."""
    refused = step(0, 10, None, failed=(0.2, 0.16, 0.25))
    found = capacity([refused, step(1, 20)], P95, closed_loop=False)

    assert (found.confirmed, found.broken) == (None, 10)
    assert found.levels[0].reason == "p95(latency) < 200ms: 20% failed, so it lies among these"


def test_a_few_failed_requests_leave_a_percentile_undecided() -> None:
    assert verdicts(step(0, 10, None, failed=(0.06, 0.03, 0.1))) == [Verdict.NOT_ENOUGH_DATA]


def test_a_mean_of_a_step_with_failed_requests_is_missed_as_in_the_gate() -> None:
    slos = parse_slos("mean(latency) < 200ms")

    found = capacity([step(0, 10), replace(step(1, 20), ok=297)], slos, closed_loop=False)

    assert (found.confirmed, found.broken) == (10, 20)
    assert found.levels[1].reason == "mean(latency) < 200ms: 3 failed requests, which a mean would hide"


def test_a_ramp_is_at_no_level() -> None:
    found = capacity([step(0, 10), step(1, 50)], P95, closed_loop=False, ramps={1})
    only = capacity([step(0, 10)], P95, closed_loop=False, ramps={0})

    assert (found.confirmed, len(found.levels)) == (10, 1)
    assert only.sentence.startswith("No load step stayed at one level")
