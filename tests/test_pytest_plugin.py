"""The pytest plugin: figures, limits and verdicts of stored runs, and which runs are shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import TypeAdapter

from harness.conclude import conclude
from harness.findings import ABORTED, HealthState, Verdict
from harness.model import RequestSpec, RunWarning, Sample, Scenario, SpanSpec, Step
from harness.pytest_plugin import pytest_assertrepr_compare, runs
from harness.pytest_plugin.limits import limit_text
from harness.pytest_plugin.measured import Measured
from harness.report import json_report
from harness.run import Outcome
from harness.run_folder import SCHEMA_VERSION, RunFolder
from tests.builders import a_sample, at, samples_table
from tests.test_conclude import CPU, a_scenario

Failed = pytest.fail.Exception

SCENARIO = """
scenario: page
target: http://127.0.0.1:9
requests: [{name: page, http: GET /page.txt}]
load: {rate: 100/s, warmup: 0s, duration: 1s, drain: 1s}
spans: {source: none}
"""


def measured(folder: Path, n: int, latency_ms: float = 100.0, slow: int = 0, slo: tuple[str, ...] = ()) -> Measured:
    """A stored run of `n` requests of one length, a second apart, and `slow` ones among them of 10 s."""
    run = RunFolder(folder / f"{n}-{latency_ms:g}-{slow}")
    run.path.mkdir()
    run.write_table("samples", samples_table(*(one(i, 10_000.0 if i < slow else latency_ms) for i in range(n))))
    load = replace(a_scenario().load, steps=(Step(1.0, float(n)),))
    requests = (RequestSpec("read", "GET", "/read"),)
    scenario = a_scenario(slo=slo, load=load, requests=requests, spans=SpanSpec(source="none"))
    record = {
        "schema_version": SCHEMA_VERSION, "run_id": run.path.name, "status": "finished", "started_ns": at(0),
        "loopback": True, "plan": TypeAdapter(Scenario).dump_python(scenario, mode="json"), "source": "",
        "environment": {}, "warnings": [], "load": {"readings": [CPU]},
    }  # fmt: skip
    run.write_json("run.json", record)
    summary = conclude(run, scenario, record).summary
    run.write_text("summary.json", json_report.render(summary))
    return Measured(run.path, summary, lambda: None)


def one(number: int, latency_ms: float) -> Sample:
    sent, done = at(1_000 * number), at(1_000 * number + latency_ms)
    return a_sample(
        number, scheduled_ns=sent, start_ns=sent, resolved_ns=sent, tcp_ns=sent, connected_ns=sent, send_ns=sent,
        sent_ns=sent, first_byte_ns=done, done_ns=done, done_user_ns=done,
    )  # fmt: skip


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


# --- runs --------------------------------------------------------------------------------------------------


class Stub:
    """Instead of a load run: counts, and hands out a stored one."""

    def __init__(self, run: Measured) -> None:
        self.run = run
        self.asked: list[Any] = []

    def __call__(self, wanted: Any) -> Outcome:
        self.asked.append(wanted)
        return Outcome(RunFolder(self.run.folder), self.run.summary, pd.DataFrame())


@pytest.fixture
def stub(sixty: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    (tmp_path / "page.yaml").write_text(SCENARIO)
    made = Stub(sixty)
    monkeypatch.setattr(runs, "_executed", made)
    return made


def test_equal_calls_are_measured_once_and_others_anew(
    stub: Stub, tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, page = runs.HarnessRun(pytestconfig, tmp_path, parallel=False), tmp_path / "page.yaml"

    assert run(page, rate=20) is run(page, rate="20/s")
    run(page, rate=21)
    run(page, rate=20, service="serve {port}")
    run(page, rate=20, fresh=True)
    assert [wanted.scenario.load.steps[0].level for wanted in stub.asked] == [20, 21, 20, 20]


def test_another_process_of_the_session_takes_what_was_measured(
    stub: Stub, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    page, one_process = tmp_path / "page.yaml", runs.HarnessRun(pytestconfig, tmp_path, parallel=True)
    with pytest.warns(runs.ParallelLoadWarning, match="measure those, too"):
        first = one_process(page)
    other_process = runs.HarnessRun(pytestconfig, tmp_path, parallel=False)

    assert other_process(page).folder == first.folder
    assert other_process(page).p95() < 0.2
    assert len(stub.asked) == 1


def test_an_invalid_measurement_fails_the_call_unless_it_is_accepted(
    stub: Stub, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    lost = RunWarning("lost", "a load process died", "", invalidates=True)
    stub.run = Measured(stub.run.folder, replace(stub.run.summary, warnings=(lost,)), lambda: None)
    run, page = runs.HarnessRun(pytestconfig, tmp_path, parallel=False), tmp_path / "page.yaml"

    with pytest.raises(
        Failed, match=r"says nothing about the service:\na load process died\nhint: accept_suspect=True"
    ):
        run(page)
    assert run(page, accept_suspect=True).p95() < 0.2
    assert [wanted.accept_suspect for wanted in stub.asked] == [False, True]


def test_a_call_is_read_like_the_flags_of_the_command(stub: Stub, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    run, page = runs.HarnessRun(pytestconfig, tmp_path, parallel=False), tmp_path / "page.yaml"
    run(page, target="http://127.0.0.1:81", users=3, duration=30, warmup="2s", seed=9, slo="p95(latency) < 1s")

    (wanted,), load = stub.asked, stub.asked[0].scenario.load
    assert (load.steps[0].level, load.steps[0].duration_s, load.warmup_s, load.seed) == (3, 30, 2, 9)
    assert (wanted.scenario.target, wanted.scenario.slo) == ("http://127.0.0.1:81", ("p95(latency) < 1s",))
    with pytest.raises(Failed, match="go together"):
        run(page, rate=1, users=3)
