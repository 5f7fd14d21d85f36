"""The verdict of a run: what may be accepted, what strict asks for, and what early looks cost."""

from __future__ import annotations

import itertools

import pytest

from harness.findings import Health, HealthState, SloFindings, Verdict
from harness.gate import Judged, judge_run, judge_slo
from harness.model import RunWarning
from harness.slo import parse_slo
from tests.test_gate import ABORTED, HEALTHY, evidence, requests

SICK = Health(HealthState.INVALID, (), ("lateness p99 is 80 ms",))
UNWELL = Health(HealthState.SUSPECT, (), ("cpu is 85%",))
STEPPED = RunWarning("clock_step", "the clock was stepped by 3 s", "", invalidates=True)


def slo(verdict: Verdict) -> SloFindings:
    return SloFindings("p95(latency) < 1s", verdict, 0.1, 1.0, "s", 100, "why")


@pytest.mark.parametrize("verdict", [Verdict.PASSED, Verdict.FAILED, Verdict.NOT_ENOUGH_DATA])
def test_accepted_doubts_are_returned_and_the_run_is_judged_as_usual(verdict: Verdict) -> None:
    found = judge_run([slo(verdict)], SICK, [STEPPED], 100, accept=True)

    assert found.verdict is verdict
    assert found.accepted == (STEPPED.message, "lateness p99 is 80 ms")


def test_nothing_is_accepted_of_a_sound_measurement() -> None:
    assert judge_run([slo(Verdict.PASSED)], HEALTHY, [], 100, accept=True) == Judged(Verdict.PASSED)


@pytest.mark.parametrize("code", ["cut_short", "not_stored", "load_process", "blocked", "recorder"])
def test_a_run_that_did_not_end_cannot_be_accepted(code: str) -> None:
    ended = RunWarning(code, "it did not end", "", invalidates=True)

    assert judge_run([slo(Verdict.PASSED)], SICK, [ended], 100, accept=True) == Judged(
        Verdict.INVALID, ("it did not end", "lateness p99 is 80 ms")
    )


def test_a_run_without_an_ok_request_cannot_be_accepted() -> None:
    assert judge_run([slo(Verdict.FAILED)], SICK, [], 0, accept=True).verdict is Verdict.INVALID


def test_an_invalid_measurement_is_never_passed_or_failed_unless_it_is_accepted_by_name() -> None:
    slos = [[], *([slo(verdict)] for verdict in Verdict), [slo(Verdict.PASSED), slo(Verdict.FAILED)]]
    doubts = [(SICK, []), (HEALTHY, [STEPPED]), (UNWELL, [STEPPED, ABORTED]), (SICK, [ABORTED])]
    for judged, (health, warnings), ok, accept, strict in itertools.product(
        slos, doubts, (0, 100), (False, True), (False, True)
    ):
        found = judge_run(judged, health, warnings, ok, accept, strict)
        assert found.verdict in (Verdict.INVALID, Verdict.NOT_ENOUGH_DATA) or found.accepted
        assert found.reasons or found.verdict is Verdict.PASSED


def test_strict_wants_a_healthy_generator_and_an_slo() -> None:
    passed = [slo(Verdict.PASSED)]

    assert judge_run(passed, UNWELL, [], 100).verdict is Verdict.PASSED
    assert judge_run(passed, UNWELL, [], 100, strict=True) == Judged(Verdict.INVALID, ("cpu is 85%",))
    assert judge_run(passed, UNWELL, [], 100, accept=True, strict=True).accepted == ("cpu is 85%",)
    assert judge_run(passed, HEALTHY, [], 100, strict=True).verdict is Verdict.PASSED
    assert judge_run([], HEALTHY, [], 100, strict=True).verdict is Verdict.NOT_ENOUGH_DATA
    assert judge_run([*passed, slo(Verdict.NOT_ENOUGH_DATA)], HEALTHY, [], 100, strict=True).verdict is (
        Verdict.NOT_ENOUGH_DATA
    )


def test_a_doubtful_generator_without_a_reason_still_has_one() -> None:
    assert judge_run([], Health(HealthState.INVALID, (), ()), [], 9).reasons == ("the load generator is invalid",)


@pytest.mark.parametrize(
    ("expression", "n", "needs"),
    [("p95(latency) < 500ms", 59, 90), ("p99(latency) < 500ms", 299, 459), ("error_rate < 2%", 149, 228)],
)
def test_a_run_that_is_looked_at_several_times_is_judged_by_a_stricter_rule(
    expression: str, n: int, needs: int
) -> None:
    """needs: of MLPerf's table at 99 %; for the error rate 0.98^228 = 0.00999."""
    limit = parse_slo(expression)

    assert judge_slo(limit, evidence(requests(n))).verdict is Verdict.PASSED
    assert judge_slo(limit, evidence(requests(n)), confidence=0.99).verdict is Verdict.NOT_ENOUGH_DATA
    assert judge_slo(limit, evidence(requests(needs)), confidence=0.99).verdict is Verdict.PASSED
