"""An SLO is about the requests it names, and about no others."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.evidence import Evidence
from harness.evidence.stretches import Stretch, stretches
from harness.findings import Coverage, Loss, SloFindings, Verdict
from harness.gate import judge_slo
from harness.model import Arrivals, LoadProfile, Step
from harness.slo import parse_slo
from tests.builders import T0
from tests.test_gate import evidence, requests

SECOND_NS = 1_000_000_000


def mixed(fast: int, slow: int, **changes: Any) -> Evidence:
    """Requests of 100 ms named "page", then of 900 ms named "receipt", a second apart: steps 0 and 1."""
    n = fast + slow
    rows = requests(n).assign(
        latency_s=np.repeat([0.1, 0.9], [fast, slow]),
        name=np.repeat(["page", "receipt"], [fast, slow]),
        step=np.repeat([0, 1], [fast, slow]),
        phase="measure",
        scheduled_ns=T0 + np.arange(n) * SECOND_NS,
        failed_checks=None,
    )
    rows["inference_s"] = rows["latency_s"]
    known: dict[str, Any] = {
        "calls": calls_of(rows),
        "measured_s": float(n),
        "stretches": (
            Stretch("warmup", 0, T0 - 10 * SECOND_NS, 10.0),
            Stretch("measure", 0, T0, float(fast)),
            Stretch("measure", 1, T0 + fast * SECOND_NS, float(slow)),
        ),
    }
    return dataclasses.replace(evidence(rows), **{**known, **changes})


def calls_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Each request calls "det" for a third of its inference and, if it is a receipt, "ocr" twice for as long."""
    det = rows.assign(model="det", duration_s=rows["inference_s"] / 3, start_ns=rows["scheduled_ns"])
    receipts = det[(det["name"] == "receipt").to_numpy()].assign(model="ocr")
    ocr = [receipts.assign(start_ns=receipts["start_ns"] + after) for after in (1, 2)]
    return pd.concat([det, *ocr])[["request_id", "model", "start_ns", "duration_s"]]


def judged(expression: str, found: Evidence) -> SloFindings:
    return judge_slo(parse_slo(expression), found)


@pytest.mark.parametrize(
    ("expression", "n", "expected"),
    [
        ("p95(latency) < 500ms", 160, Verdict.FAILED),
        ("p95(latency, name=page) < 500ms", 80, Verdict.PASSED),
        ("p95(latency, name=receipt) < 500ms", 80, Verdict.FAILED),
        ("p95(latency, step=0) < 500ms", 80, Verdict.PASSED),
        ("mean(inference, step=1) < 500ms", 80, Verdict.FAILED),
        ("max(latency, name=page, step=1) < 1s", 0, Verdict.NOT_ENOUGH_DATA),
    ],
)
def test_a_name_and_a_step_narrow_the_requests_down(expression: str, n: int, expected: Verdict) -> None:
    found = judged(expression, mixed(80, 80))

    assert (found.n, found.verdict) == (n, expected)


def test_an_error_rate_of_one_name_counts_the_failures_of_that_name_alone() -> None:
    rows = mixed(200, 200)
    rows.requests.loc[rows.requests["name"] == "receipt", "ok"] = False

    assert judged("error_rate(name=page) < 2%", rows).verdict is Verdict.PASSED
    assert judged("error_rate(name=receipt) < 2%", rows).verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("p95(latency, name=recipt) < 1s", "no request is named 'recipt': did you mean 'receipt'?"),
        ("p95(latency, step=7) < 1s", "there is no step 7: the run has steps 0 to 1"),
        ("p95(inference, model=dett) < 1s", "no model is named 'dett': did you mean 'det'?"),
        ("p95(call, model=zzz) < 1s", "no model is named 'zzz': valid names: det, ocr"),
    ],
)
def test_what_the_run_does_not_have_is_invalid_with_the_nearest_name(expression: str, reason: str) -> None:
    found = judged(expression, mixed(80, 80))

    assert (found.verdict, found.reason) == (Verdict.INVALID, reason)


def test_a_name_of_the_mix_that_was_not_drawn_yet_is_no_mistake() -> None:
    rows = mixed(80, 80, names=("page", "receipt", "rare"))

    assert judged("p95(latency, name=rare) < 1s", rows).verdict is Verdict.NOT_ENOUGH_DATA


def test_a_planned_step_that_the_run_did_not_get_to_is_no_mistake() -> None:
    rows = mixed(80, 80)
    later = dataclasses.replace(rows, stretches=(*rows.stretches, Stretch("measure", 2, T0, 0.0)))

    assert judged("p95(latency, step=2) < 1s", later).verdict is Verdict.NOT_ENOUGH_DATA


def test_the_warm_up_is_judged_when_it_is_asked_for() -> None:
    rows = mixed(80, 80)
    warm = rows.requests.iloc[80:150].assign(phase="warmup", step=0)
    found = dataclasses.replace(rows, others=warm, others_split=rows.split_rows.iloc[80:150].assign(phase="warmup"))

    assert judged("p95(latency, phase=warmup) < 500ms", found).n == 70
    assert judged("p95(inference, phase=warmup) < 500ms", found).verdict is Verdict.FAILED
    assert judged("p95(inference, phase=drain) < 500ms", found).verdict is Verdict.NOT_ENOUGH_DATA
    assert judged("p95(latency, phase=measure, name=page) < 500ms", found).n == 80


def test_missing_server_halves_of_one_name_leave_the_others_judged() -> None:
    rows = mixed(80, 80)
    halves = rows.split_rows[(rows.split_rows["name"] == "page").to_numpy()]
    biased = dataclasses.replace(
        rows, split_rows=halves, coverage=Coverage(160, 80, Loss.BIASED, None, None, None, "receipts lack theirs")
    )

    assert judged("p95(inference) < 500ms", biased).verdict is Verdict.INVALID
    assert judged("p95(inference, name=receipt) < 500ms", biased).verdict is Verdict.INVALID
    assert judged("p95(inference, name=page) < 500ms", biased).verdict is Verdict.PASSED


# --- models ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "observed", "n"),
    [
        ("max(inference, model=det) < 1s", 0.3, 160),  # a third of 0.9 s
        ("max(inference, model=ocr) < 1s", 0.6, 80),  # two calls a receipt; pages never call it
        ("mean(inference, model=ocr) < 1s", 0.6, 80),
        ("max(call) < 1s", 0.3, 320),
        ("max(call, model=ocr) < 1s", 0.3, 160),
        ("p50(call, name=page) < 1s", 0.1 / 3, 80),
        ("share(inference, model=ocr) < 99%", 0.6, 160),  # 0.6 s of each receipt; all requests count: 48 of 80 s
    ],
)
def test_the_calls_of_a_model_are_a_request_together_or_each_alone(expression: str, observed: float, n: int) -> None:
    found = judged(expression, mixed(80, 80))

    assert found.observed == pytest.approx(observed)
    assert found.n == n


def test_a_failed_request_is_one_call_that_did_not_end() -> None:
    rows = mixed(80, 0)
    rows.requests["ok"] = np.random.default_rng(3).permutation(np.arange(80)) >= 20
    halves = dataclasses.replace(rows, split_rows=rows.split_rows[rows.requests["ok"].to_numpy()])

    found = judged("p95(call, model=det) < 1s", halves)

    assert (found.verdict, found.n) == (Verdict.FAILED, 80)
    assert "20 of them because they failed" in found.reason


def test_a_run_without_model_calls_says_so() -> None:
    found = judged("p95(call) < 1s", mixed(80, 80, calls=calls_of(mixed(1, 0).requests).iloc[:0]))

    assert (found.verdict, found.reason) == (Verdict.INVALID, "no call of a model was recorded")


@pytest.mark.parametrize(("missing", "expected"), [(2, Verdict.PASSED), (4, Verdict.NOT_ENOUGH_DATA)])
def test_calls_that_did_not_arrive_must_not_decide(missing: int, expected: Verdict) -> None:
    rows = mixed(124, 0)
    coverage = Coverage(124, 124 - missing, Loss.UNTESTED, None, None, None, "")
    halves = rows.split_rows.drop([10, 40, 77, 101][:missing])
    few = dataclasses.replace(rows, split_rows=halves, coverage=coverage)

    found = judged("p95(call, model=det) < 200ms", few)

    assert found.verdict is expected  # 2 of 124 may be beyond a p95, 4 are too many
    assert found.reason.endswith("without a server half " + ("change nothing" if missing == 2 else "decide"))


# --- when it was measured ----------------------------------------------------------------------------------


def a_load(*seconds: float) -> LoadProfile:
    return LoadProfile(Arrivals.CONSTANT, tuple(Step(10.0, s) for s in seconds), warmup_s=5.0, drain_s=1.0, seed=1)


def test_steps_follow_each_other_from_the_begin_of_the_measured_phase() -> None:
    found = stretches(a_load(10.0, 20.0), T0, 30.5)

    assert [(s.phase, s.step, (s.from_ns - T0) / 1e9, s.seconds) for s in found] == [
        ("warmup", 0, -5.0, 5.0),
        ("measure", 0, 0.0, 10.0),
        ("measure", 1, 10.0, 20.5),
    ]


def test_steps_that_a_run_did_not_get_to_have_no_length() -> None:
    assert [s.seconds for s in stretches(a_load(10.0, 20.0, 30.0), T0, 12.0)] == [5.0, 10.0, 2.0, 0.0]
