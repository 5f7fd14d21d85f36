"""Two runs with known truth: what changed is found and named, what did not is not, and hardly anything is no crash."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from harness.analysis.comparing import compare_words, two_runs
from harness.analysis.comparing.mover import tells
from harness.analysis.comparing.shift import shift
from harness.analysis.comparing.tail_delta import tail_delta
from harness.analysis.comparing.two_runs import LATENCY, Side
from harness.analysis.statistics.quantiles import latency_findings
from harness.comparison import Change
from harness.model import TRANSFER
from tests import simulated_queues as queues

N = 600
WORK = {"preprocess": 0.002, "inference": 0.010, "postprocess": 0.001}
NO_CALLS = pd.DataFrame({"request_id": [], "model": [], "duration_s": []})


@cache
def a_side(seed: int, n: int = N, inference: float = 1.0, failed: int = 0) -> Side:
    """Requests at half of what the service holds; with `inference` times the work at the same rate."""
    hold = sum(WORK.values()) + (inference - 1.0) * WORK["inference"]
    means = (WORK["preprocess"], WORK["inference"] * inference, WORK["postprocess"])
    return side_of(queues.ledger_rows(queues.simulate(n, 0.5 * hold / 0.013, seed, means_s=means, settle=200)), failed)


def side_of(rows: pd.DataFrame, failed: int = 0, calls: pd.DataFrame | None = None) -> Side:
    """Of which the first `failed` requests failed."""
    due = rows.assign(ok=np.arange(len(rows)) >= failed)
    if calls is None:
        calls = pd.DataFrame({"request_id": rows["request_id"], "model": "rec", "duration_s": rows["inference_s"]})
    latency = latency_findings(np.where(due["ok"], due["latency_s"], np.inf))
    return two_runs.side(due, latency, due[due["ok"]], calls, due["ok"].sum() / 10.0 if len(due) else None, None)


def said(a: Side, b: Side) -> tuple[str, ...]:
    tail = None if isinstance(a.tail, str) or isinstance(b.tail, str) else tail_delta(a.tail, b.tail)
    silences = [(name, side.silence) for name, side in (("A", a), ("B", b)) if side.silence]
    found = two_runs.metrics(a, b), two_runs.stages(a, b), two_runs.models(a, b)
    return compare_words.sentences(*found, tail, silences)


def test_a_slower_inference_is_named_and_the_queue_is_its_consequence() -> None:
    a, b = a_side(1, 3_000), a_side(2, 3_000, inference=1.4)

    stages = {change.stage: change for change in two_runs.stages(a, b)}
    p50 = two_runs.metrics(a, b)[0]

    assert stages["inference"].change.value == pytest.approx(0.004, abs=0.0006)
    assert tells(stages["inference"].change) == 1
    assert (stages["inference"].works, stages["queue"].works) == (True, False)
    assert (p50.metric, tells(p50.ratio, 1.0), p50.gating, p50.change) == ("p50", 1, False, Change.UNKNOWN)
    sentences = said(a, b)
    assert sentences[0].startswith("In these two runs B is slower than A: p50 by ")
    assert any(s.startswith("inference takes 4.") and "longer in B" in s for s in sentences)
    assert any(s.startswith("Requests wait ") and "waiting for others is a consequence" in s for s in sentences)
    assert not any("regress" in s for s in sentences)


def test_the_other_way_round_the_same_is_faster() -> None:
    a, b = a_side(2, 3_000, inference=1.4), a_side(1, 3_000)

    sentences = said(a, b)

    assert sentences[0].startswith("In these two runs B is faster than A: p50 by ")
    assert any(s.startswith("inference takes 4.") and "less in B" in s for s in sentences)


def test_a_fifth_more_inference_is_found_in_most_runs_of_a_minute() -> None:
    found = [
        {c.stage: tells(c.change) for c in two_runs.stages(a_side(seed), a_side(seed + 8, inference=1.2))}
        for seed in range(8)
    ]

    # 97 of 100 of such pairs find it.
    assert sum(stages["inference"] == 1 for stages in found) >= 6


def test_intervals_of_the_same_truth_twice_hold_nothing_changed() -> None:
    missed = {"p50": 0, "p95": 0, "mean": 0, "inference": 0, "queue": 0, LATENCY: 0, "shift": 0}
    pairs = [(a_side(seed), a_side(seed + 16)) for seed in range(16)]
    for a, b in pairs:
        for metric in two_runs.metrics(a, b):
            missed[metric.metric] = missed.get(metric.metric, 0) + (tells(metric.ratio, 1.0) != 0)
        for stage in two_runs.stages(a, b):
            missed[stage.stage] = missed.get(stage.stage, 0) + (tells(stage.change) != 0)
        missed["shift"] += sum(tells(point.change) != 0 for point in shift(a.levels, b.levels))

    # At 5 % each: one of 16 on average, more than 4 in one of 1,000 drawings.
    assert all(count <= 4 for name, count in missed.items() if name != "shift")
    assert missed["shift"] <= 0.12 * 16 * 10


def test_the_changes_of_the_stages_add_up_to_that_of_the_latency() -> None:
    stages = two_runs.stages(a_side(1), a_side(2, inference=1.2))

    *parts, whole = [change for change in stages if change.stage not in TRANSFER]

    assert whole.stage == LATENCY
    assert sum(part.change.value or 0.0 for part in parts) == pytest.approx(whole.change.value, abs=1e-9)


def test_shares_are_of_a_change_that_is_known() -> None:
    known = two_runs.stages(a_side(1, 3_000), a_side(2, 3_000, inference=1.4))
    same = two_runs.stages(a_side(1), a_side(2))

    assert sum(c.share or 0.0 for c in known if c.stage not in (*TRANSFER, LATENCY)) == pytest.approx(1.0)
    assert {change.share for change in same} == {None}


def test_a_run_against_itself_shows_no_change() -> None:
    a = a_side(1)

    assert all(m.ratio.value in (None, 1.0) for m in two_runs.metrics(a, a))
    assert all(change.change.value == 0.0 for change in two_runs.stages(a, a))
    assert said(a, a)[0].startswith("These requests do not tell B from A: p50 is between ")


# --- models -------------------------------------------------------------------------------------------------


def chain(**seconds: float) -> pd.DataFrame:
    ids = np.arange(N)
    calls = [pd.DataFrame({"request_id": ids, "model": m, "duration_s": s}) for m, s in seconds.items()]
    return pd.concat(calls)


def test_of_a_chain_the_model_that_changed_comes_first() -> None:
    rows = queues.ledger_rows(queues.simulate(N, 0.5, 1))
    slower = rows.assign(inference_s=rows["inference_s"] + 0.03, latency_s=rows["latency_s"] + 0.03)
    a = side_of(rows, calls=chain(det=0.010, rec=0.020))
    b = side_of(slower, calls=chain(det=0.010, rec=0.050))

    models = two_runs.models(a, b)

    assert [(m.stage, m.change.value) for m in models] == [("rec", pytest.approx(0.03)), ("det", 0.0)]
    assert any(s.startswith("In the chain of models, rec takes 30.0 ms longer in B") for s in said(a, b))


def test_a_model_that_was_never_called_took_no_time() -> None:
    rows = queues.ledger_rows(queues.simulate(N, 0.5, 1))
    a, b = side_of(rows, calls=chain(det=0.01)), side_of(rows, calls=chain(det=0.01, nms=0.002))

    assert next((m.stage, m.a_s, m.b_s) for m in two_runs.models(a, b)) == ("nms", 0.0, pytest.approx(0.002))


def test_where_one_side_tells_of_no_call_models_are_not_compared() -> None:
    rows = queues.ledger_rows(queues.simulate(N, 0.5, 1))

    assert two_runs.models(side_of(rows, calls=NO_CALLS), side_of(rows, calls=chain(det=0.01))) == ()


# --- hardly anything ----------------------------------------------------------------------------------------


def test_failures_are_counted_against_each_other_with_what_they_may_be() -> None:
    reason = next(m.reason for m in two_runs.metrics(a_side(1), a_side(2, failed=60)) if m.metric == "error_rate")

    assert reason.startswith("60 of 600 (")
    assert reason.endswith(" against 0 of 600 (0% to 0.636%) in A")


def test_failed_requests_rank_as_slowest_and_are_not_in_the_mean() -> None:
    found = {m.metric: m for m in two_runs.metrics(a_side(1), a_side(1, failed=60))}

    assert found["p95"].b is None
    assert "among the requests that failed" in found["p95"].reason
    assert found["mean"].b is not None


RUNS = {
    "empty": lambda: side_of(queues.ledger_rows(queues.simulate(N, 0.5, 1)).iloc[:0]),
    "one request": lambda: side_of(queues.ledger_rows(queues.simulate(N, 0.5, 1)).iloc[:1]),
    "all failed": lambda: a_side(3, failed=N),
    "all equal": lambda: side_of(pd.concat([queues.ledger_rows(queues.simulate(N, 0.5, 1)).iloc[:1]] * 400)
                                 .assign(request_id=np.arange(400))),
    "usual": lambda: a_side(1),
}  # fmt: skip


@pytest.mark.parametrize("b", RUNS)
@pytest.mark.parametrize("a", RUNS)
def test_hardly_anything_is_refused_in_words_and_never_nan(a: str, b: str) -> None:
    one, other = RUNS[a](), RUNS[b]()

    metrics, stages = two_runs.metrics(one, other), two_runs.stages(one, other)
    sentences = said(one, other)

    for change in (*(m.ratio for m in metrics), *(s.change for s in (*stages, *two_runs.models(one, other)))):
        figures = (change.value, change.low, change.high)
        assert all(figure is None or np.isfinite(figure) for figure in figures)
        assert change.value is not None or change.refusal
    assert sentences
    assert not any("nan" in text or "None" in text for text in (*sentences, *(m.reason for m in metrics)))


def test_a_stage_that_one_run_does_not_know_is_not_compared() -> None:
    rows = queues.ledger_rows(queues.simulate(N, 0.5, 1))
    stages = {c.stage: c for c in two_runs.stages(side_of(rows), side_of(rows.assign(upload_s=np.nan)))}

    assert (stages["upload"].b_s, stages["upload"].change.value) == (None, None)
    assert stages["upload"].change.refusal == "B: not known for every request"
    assert stages["transfer"].change.value == 0.0


# --- words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        ((1.06, 1.03, 1.09), "slower by 3.0% to 9.0%"),
        ((0.8, 0.7, 0.9), "faster by 10% to 30%"),
        ((1.5, 1.5, 1.501), "slower by 50%"),
        ((1.01, 0.95, 1.08), "between 5.0% faster and 8.0% slower"),
        ((1.5, 1.2, None), "slower by at least 20%"),
        ((6.0, 5.0, 7.25), "slower by 5 times to 7.25 times"),
        ((1.2, None, None), "slower by 20%, with too few independent requests for an interval"),
        ((1.0, 1.0, 1.0), "the same"),
    ],
)
def test_a_ratio_is_told_in_percent(ratio: tuple[float, float | None, float | None], text: str) -> None:
    one = two_runs.Estimate(1.0, 1.0, 1.0, 10)

    assert compare_words.metric_reason("p50", two_runs.Estimate(*ratio, 20), one, one) == text


def test_what_one_run_a_side_cannot_show_is_said_with_a_figure() -> None:
    # 1.96 x sqrt(2) x 3 % is 8.3 % of the logarithm.
    assert pytest.approx(0.0867, abs=0.0005) == compare_words.RUN_TO_RUN
    assert "two runs of the same thing differ by up to about 9% on a quiet machine" in compare_words.CAVEAT
