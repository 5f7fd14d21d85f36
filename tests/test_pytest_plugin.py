"""The pytest plugin: figures, limits and verdicts of stored runs, and which runs are shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.findings import ABORTED, HealthState, Verdict
from harness.model import RunWarning
from harness.pytest_plugin import pytest_assertrepr_compare, runs
from harness.pytest_plugin.limits import limit_text
from harness.pytest_plugin.measured import Measured
from tests.measured_runs import measured

Failed = pytest.fail.Exception


@pytest.fixture(scope="module")
def sixty(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Enough for a p95 (59), not for a p99."""
    return measured(tmp_path_factory.mktemp("sixty"), 60)


# --- figures -----------------------------------------------------------------------------------------------


def test_a_percentile_is_compared_as_an_slo_is_judged(sixty: Measured) -> None:
    p95 = sixty.p95("latency")

    assert [bool(answer) for answer in (p95 < 0.2, p95 < 0.1, p95 <= 0.1)] == [True, False, True]
    assert [bool(answer) for answer in (p95 > 0.05, p95 > 0.2, p95 >= 0.1, p95 > 0.1)] == [True, False, True, False]
    assert bool(0.05 < p95 < "200ms")
    assert sixty.p95("latency", name="read", step=0) < 0.2
    assert sixty.percentile(95, "latency, name=read").name == "p95(latency, name=read)"


def test_what_the_requests_cannot_carry_fails_the_test_whichever_way_it_is_asked(sixty: Measured) -> None:
    for judged in (sixty.p99() < 5, sixty.p99() > 5, sixty.judge("p99(latency) < 5s")):
        with pytest.raises(Failed, match=r"not enough data\n.*deciding takes about 239 more requests"):
            bool(judged)
        with pytest.raises(Failed):
            assert not judged


def test_one_request_less_than_needed_decides_nothing(tmp_path: Path) -> None:
    assert measured(tmp_path, 59).p95() < 0.2
    with pytest.raises(Failed, match="not enough data"):
        bool(measured(tmp_path, 58).p95() < 0.2)


def test_a_figure_has_its_value_n_and_interval(sixty: Measured) -> None:
    p50 = sixty.p50()
    assert (float(p50), p50.n, p50.low, p50.high, p50.unit) == (0.1, 60, 0.1, 0.1, "s")
    assert str(p50) == "100 ms (95% interval 100 ms to 100 ms, n = 60)"
    assert f"{p50:.2f}" == "0.10"


def test_shares_and_rates_are_compared_in_their_own_units(sixty: Measured) -> None:
    assert sixty.error_rate < 0.1
    assert sixty.error_rate <= 0
    assert sixty.completed > "90%"
    assert sixty.throughput > 0.5
    with pytest.raises(Failed, match="no more than 1/s were offered"):
        bool(sixty.throughput > 50)
    assert sixty.mean() < 0.2


def test_what_cannot_be_known_has_no_value(sixty: Measured) -> None:
    inference = sixty.p95("inference")
    assert inference.value is None
    with pytest.raises(Failed, match="p95\\(inference\\) has no value: not known: "):
        float(inference)
    with pytest.raises(Failed, match="invalid"):
        bool(inference < 1)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda run: run.p95("latencyy"), "hint: did you mean 'latency'"),
        (lambda run: run.percentile(100), "write max"),
        (lambda run: run.figure("median", "latency"), "is not a statistic"),
        (lambda run: run.p95(name="it's"), "is named"),
        (lambda run: run.p95(step=7), "there is no step 7"),
        (lambda run: run.judge("p95(latency) < 1 parsec"), "unknown unit"),
        (lambda run: run.p95() < "1 parsec", "unknown unit"),
        (lambda run: run.p95() < -1, "negative"),
        (lambda run: run.p95() < float("nan"), "nan"),
        (lambda run: run.error_rate < 0, "can never be met"),
    ],
)
def test_a_mistake_fails_the_test_with_a_sentence(sixty: Measured, ask: object, says: str) -> None:
    assert callable(ask)
    with pytest.raises(Failed) as caught:
        ask(sixty)

    assert says in str(caught.value)


def test_two_figures_and_exact_values_are_not_compared(sixty: Measured) -> None:
    with pytest.raises(TypeError, match="harness ab"):
        sixty.p50() < sixty.p95()  # type: ignore[operator]  # noqa: B015
    with pytest.raises(TypeError, match="never exactly"):
        sixty.p50() == 0.1  # noqa: B015
    with pytest.raises(TypeError, match="compared with a number"):
        sixty.p50() < None  # type: ignore[operator]  # noqa: B015


@pytest.mark.parametrize(
    ("limit", "unit", "text"),
    [(0.2, "s", "0.2s"), (1e-05, "s", "0.00001s"), (0.02, "ratio", "2.00%"), (50, "1/s", "50/s"), (3, "", "3")],
)
def test_a_limit_keeps_its_exact_value_in_the_slo_language(limit: float | str, unit: str, text: str) -> None:
    assert limit_text(limit, unit) == text


# --- what a failed test shows ------------------------------------------------------------------------------


def test_a_failed_comparison_shows_verdict_reason_and_report(sixty: Measured) -> None:
    shown = pytest_assertrepr_compare("<", sixty.p95(), 0.05)

    assert shown == [
        "p95(latency) < 0.05s: failed",
        "  100 ms; n = 60: 60 of 60 requests are beyond 50.0 ms",
        f"  report: {sixty.folder}",
    ]
    assert pytest_assertrepr_compare(">", 0.05, sixty.p95()) == shown
    assert pytest_assertrepr_compare("<", 1, 2) is None


def test_the_other_direction_names_what_does_not_hold(sixty: Measured) -> None:
    shown = pytest_assertrepr_compare(">", sixty.p95(), 1)

    assert shown is not None
    assert shown[:2] == ["p95(latency) > 1 does not hold:", "  p95(latency) <= 1s: passed"]


# --- the verdict -------------------------------------------------------------------------------------------


def test_assert_slo_names_every_limit_that_is_not_met(sixty: Measured) -> None:
    sixty.assert_slo("p95(latency) < 200ms and error_rate < 10%", "mean(latency) < 1s")
    with pytest.raises(Failed) as caught:
        sixty.assert_slo("p95(latency) < 50ms and mean(latency) < 1s", "p99(latency) < 1s")

    lines = str(caught.value).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "p95(latency) < 50ms: failed", "p99(latency) < 1s: not enough data"
    ]  # fmt: skip


def test_the_scenarios_own_slos_are_the_verdict(tmp_path: Path) -> None:
    met = measured(tmp_path, 60, slo=("p95(latency) < 1s",))
    missed = measured(tmp_path, 60, latency_ms=2_000.0, slo=("p95(latency) < 1s",))

    assert (met.verdict, met.passed) == (Verdict.PASSED, True)
    assert (missed.verdict, missed.passed) == (Verdict.FAILED, False)
    met.assert_slo()
    with pytest.raises(Failed, match=r"p95\(latency\) < 1s: 60 of 60"):
        missed.assert_slo()


def test_an_undecided_verdict_and_no_slo_at_all_are_not_passed(tmp_path: Path, sixty: Measured) -> None:
    undecided = measured(tmp_path, 60, slo=("p99(latency) < 1s",))

    for run, says in ((undecided, "tiny: not enough data"), (sixty, "has no SLO")):
        with pytest.raises(Failed, match=says):
            bool(run.passed)


def test_a_bare_run_is_its_verdict_and_a_bare_figure_is_a_mistake(tmp_path: Path, sixty: Measured) -> None:
    assert measured(tmp_path, 60, slo=("p95(latency) < 1s",))
    for asked in (lambda: bool(sixty), lambda: sixty.verdict == "passed"):
        with pytest.raises(Failed, match="has no SLO: nothing was judged"):
            asked()
    with pytest.raises(TypeError, match="is neither true nor false"):
        assert sixty.p95()
    assert sixty.line.startswith("measured: tiny")
    lost = replace(sixty.summary, verdict=Verdict.INVALID)
    assert Measured(sixty.folder, lost, lambda: None).line.startswith("invalid measurement: tiny")


def test_a_fixture_that_was_not_called_says_so(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    run = runs.HarnessRun(pytestconfig, tmp_path, parallel=False)

    with pytest.raises(AttributeError, match=r"measures first: harness_run\('scenario.yaml'\).p95"):
        run.p95("latency")


def test_an_invalid_measurement_is_unusable_unless_accepted_and_an_aborted_one_always(sixty: Measured) -> None:
    late = replace(sixty.summary.health, state=HealthState.INVALID, reasons=("cpu is 0.99",))
    lost = RunWarning("lost", "a load process died", "", invalidates=True)
    doubtful = Measured(sixty.folder, replace(sixty.summary, health=late, warnings=(lost,)), lambda: None)

    assert doubtful.unusable(accept_suspect=False) == ("a load process died", "cpu is 0.99")
    assert doubtful.unusable(accept_suspect=True) == ()
    aborted = RunWarning(ABORTED, "stopped: half of the answers failed", "", invalidates=True)
    stopped = Measured(sixty.folder, replace(sixty.summary, warnings=(aborted,)), lambda: None)
    assert stopped.unusable(accept_suspect=True) == ("stopped: half of the answers failed",)
    assert sixty.unusable(accept_suspect=False) == ()
