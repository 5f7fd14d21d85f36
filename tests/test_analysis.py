"""The statistics behind the verdict, against numbers worked by hand or published tables."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.slow.tail import attribute_tail
from harness.analysis.stages import model_findings, name_findings, stage_findings, wait_findings
from harness.analysis.statistics import binomial, early_stopping, quantiles
from harness.analysis.statistics.early_stopping import Decision, decide
from harness.model import LedgerRow, Wait, columns


def ledger_rows(**stages: list[float]) -> pd.DataFrame:
    """Ledger rows that spend the given seconds in the given stages and nothing elsewhere."""
    n = len(next(iter(stages.values())))
    frame = pd.DataFrame({name: [0.0] * n for name in columns(LedgerRow) if name.endswith("_s")})
    frame["queue_est_s"] = np.nan
    frame["request_id"], frame["step"] = range(n), 0
    for stage, seconds in stages.items():
        frame[f"{stage}_s"] = seconds
    frame["latency_s"] = np.sum([np.array(s) for s in stages.values()], axis=0)
    return frame


def test_an_estimated_wait_that_only_some_requests_have_still_adds_up() -> None:
    rows = ledger_rows(inference=[0.1, 0.1, 0.1, 0.1], upload=[0.01, 0.01, 0.01, 0.01])
    rows["transfer_s"] = rows["upload_s"]
    rows["queue_est_s"] = [np.nan, np.nan, 0.02, 0.04]
    rows["latency_s"] += rows["queue_est_s"].fillna(0.0)

    found = {stage.stage: stage for stage in stage_findings(rows)}

    assert found["queue_est"].mean.value == pytest.approx(0.015)
    assert found["queue_est"].estimated
    assert sum(s.mean.value or 0.0 for s in found.values() if s.part_of is None) == pytest.approx(
        rows["latency_s"].mean()
    )


def test_a_quantile_is_an_observation_and_never_interpolated() -> None:
    ordered = np.array([1.0, 2.0, 3.0, 4.0])

    assert [quantiles.quantile(ordered, p) for p in (0.25, 0.5, 0.51, 1.0)] == [1.0, 2.0, 3.0, 4.0]


def test_the_p95_of_twenty_is_the_nineteenth() -> None:
    assert quantiles.quantile(np.arange(1.0, 21.0), 0.95) == 19.0


def test_an_empty_series_has_no_quantile_and_no_mean() -> None:
    empty = np.array([])

    assert quantiles.estimate_quantile(empty, 0.5).value is None
    assert quantiles.estimate_mean(empty).value is None
    assert quantiles.latency_findings(empty).max_s is None


def test_a_p99_of_300_requests_is_refused_and_says_how_many_it_needs() -> None:
    series = np.random.default_rng(1).permutation(np.arange(300.0))

    refused = quantiles.estimate_quantile(series, 0.99)

    assert refused.value is None
    assert refused.refusal is not None
    assert refused.refusal.startswith("needs ")


@pytest.mark.parametrize(("p", "n"), [(0.95, 72), (0.99, 368), (0.999, 3688)])
def test_the_number_of_requests_an_interval_needs_is_the_published_one(p: float, n: int) -> None:
    assert quantiles.needed(p) == n


def test_the_interval_of_a_p99_of_1000_lies_between_ranks_983_and_997() -> None:
    assert quantiles._rank_limits(1000, 0.99, 0.95) == (983, 997)


def test_a_failed_request_takes_its_rank_but_is_never_printed_as_infinite() -> None:
    series = np.array([0.1] * 80 + [math.inf] * 20)

    estimate = quantiles.estimate_quantile(series, 0.95)

    assert estimate.value is None
    assert "failed" in (estimate.refusal or "")


def test_the_interval_of_a_mean_of_independent_values_is_students() -> None:
    series = np.random.default_rng(2).normal(10.0, 1.0, 101)

    estimate = quantiles.estimate_mean(series)

    # t(0.975, 100) = 1.984; the series is independent, so nearly all 101 count.
    half = 1.984 * series.std(ddof=1) / math.sqrt(101)
    assert estimate.high is not None
    assert estimate.value is not None
    assert estimate.high - estimate.value == pytest.approx(half, rel=0.25)
    assert estimate.high - estimate.value >= half * 0.99


def test_repeating_each_value_ten_times_adds_no_information() -> None:
    once = np.random.default_rng(3).normal(size=200)

    assert quantiles.effective_size(np.repeat(once, 10)) < 500


def test_a_constant_series_counts_in_full() -> None:
    assert quantiles.effective_size(np.full(50, 3.0)) == 50.0
    rounding = 1e-17 * np.repeat([0.0, 1.0], 25)
    assert quantiles.effective_size(np.full(50, 0.03) + rounding) == 50.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_an_interval_holds_its_value(values: list[float], p: float) -> None:
    estimate = quantiles.estimate_quantile(np.array(values), p)

    if estimate.value is not None:
        assert estimate.low is not None
        assert estimate.low <= estimate.value
        assert estimate.high is None or estimate.value <= estimate.high


def test_the_binomial_distribution_matches_a_hand_count() -> None:
    # Three tosses of a fair coin: 1, 3, 3, 1 of 8.
    assert binomial.cdf(3, 0.5) == pytest.approx([0.125, 0.5, 0.875, 1.0])


@given(st.integers(1, 5_000), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_the_part_of_the_binomial_that_matters_is_that_of_the_whole(n: int, p: float) -> None:
    first, near = binomial.cdf_near(n, p)

    assert near == pytest.approx(binomial.cdf(n, p)[first : first + len(near)], abs=1e-9)


def test_the_interval_of_the_mean_of_durations_does_not_begin_below_zero() -> None:
    skewed = np.array([0.001] * 9 + [1.0])

    assert quantiles.estimate_mean(skewed).low == 0.0
    assert (quantiles.estimate_mean(skewed - 0.5).low or 0.0) < -0.5


@pytest.mark.parametrize(
    ("p", "confidence", "expected"),
    [
        (0.99, 0.99, [459, 662, 838, 1001]),
        (0.95, 0.99, [90, 130, 165, 198]),
        (0.95, 0.95, [59, 93, 124]),
        (0.99, 0.95, [299, 473, 628]),
    ],
)
def test_early_stopping_needs_the_published_numbers(p: float, confidence: float, expected: list[int]) -> None:
    assert [early_stopping.needed(over, p, confidence) for over in range(len(expected))] == expected


def test_a_limit_is_decided_at_the_needed_number_and_not_one_before() -> None:
    assert decide(0, 59, 0.95) is Decision.WITHIN
    assert decide(0, 58, 0.95) is Decision.UNDECIDED


def test_many_requests_over_the_limit_decide_against_it() -> None:
    # 5 % allowed, 15 % seen: P(X >= 9 of 60) = 0.002.
    assert decide(9, 60, 0.95) is Decision.OVER


def test_no_request_decides_nothing() -> None:
    assert decide(0, 0, 0.95) is Decision.UNDECIDED


@given(st.integers(1, 400), st.data())
def test_a_limit_is_never_decided_both_ways(n: int, data: st.DataObject) -> None:
    over = data.draw(st.integers(0, n))
    decisions = [decide(k, n, 0.9) for k in range(n + 1)]

    assert decisions[over] in (Decision.WITHIN, Decision.UNDECIDED, Decision.OVER)
    # More requests over the limit never make the answer kinder.
    order = [Decision.WITHIN, Decision.UNDECIDED, Decision.OVER]
    assert [order.index(d) for d in decisions] == sorted(order.index(d) for d in decisions)


@given(st.integers(1, 300), st.data())
def test_the_continued_binomial_equals_the_summed_one_at_whole_numbers(n: int, data: st.DataObject) -> None:
    k, p = data.draw(st.integers(0, n)), data.draw(st.sampled_from([0.01, 0.05, 0.5, 0.9]))
    summed = binomial.cdf(n, p)

    assert binomial.at_most(k, n, p) == pytest.approx(summed[k], abs=1e-9)
    assert binomial.at_least(k, n, p) == pytest.approx(1.0 - (summed[k - 1] if k else 0.0), abs=1e-9)


def test_the_incomplete_beta_function_has_its_closed_values() -> None:
    assert binomial.incomplete_beta(1.0, 1.0, 0.3) == pytest.approx(0.3)  # uniform
    assert binomial.incomplete_beta(2.5, 1.0, 0.4) == pytest.approx(0.4**2.5)
    assert binomial.incomplete_beta(3.5, 3.5, 0.5) == pytest.approx(0.5)


def test_groups_that_differ_are_told_from_groups_that_do_not() -> None:
    rng = np.random.default_rng(11)
    a, b = pd.Series(rng.normal(1, 0.1, 200)), pd.Series(rng.normal(1, 0.1, 60))

    assert not quantiles.differ(a, b)
    assert quantiles.differ(a, b + 0.1)
    assert not quantiles.differ(a, (b + 9).head(10))  # too few to say


def test_stage_means_add_up_to_the_mean_latency() -> None:
    rows = ledger_rows(preprocess=[1.0, 2.0], inference=[3.0, 5.0], other=[0.5, 0.5])

    found = {f.stage: f for f in stage_findings(rows)}

    assert found["inference"].mean.value == 4.0
    assert sum(f.mean.value or 0.0 for f in found.values() if f.part_of is None) == 6.0
    assert found["inference"].share == pytest.approx(4.0 / 6.0)


def test_a_stage_that_is_not_known_for_every_request_has_no_mean() -> None:
    rows = ledger_rows(inference=[1.0, 2.0])
    rows["upload_s"] = [np.nan, 0.0]

    assert "upload" not in {f.stage for f in stage_findings(rows)}
    assert stage_findings(rows.iloc[0:0]) == ()


def test_models_are_charged_over_all_requests_of_the_set() -> None:
    rows = ledger_rows(inference=[1.0, 1.0, 2.0, 4.0])
    calls = pd.DataFrame(
        {"request_id": [0, 1, 1, 99], "model": ["det", "det", "rec", "det"], "duration_s": [1.0, 1.0, 4.0, 9.0]}
    )

    found = {m.model: m for m in model_findings(calls, rows)}

    assert found["rec"].mean_per_request_s == 1.0
    assert found["det"].mean_per_request_s == 0.5
    assert found["det"].calls == 2
    assert found["rec"].share == 0.5


def test_waits_are_charged_to_their_resource_over_all_requests_of_the_set() -> None:
    rows = ledger_rows(queue=[1.0, 1.0, 0.0, 0.0], inference=[1.0, 1.0, 2.0, 2.0])
    waits = pd.DataFrame(
        {
            "request_id": [0, 0, 1, 1, 99],
            "resource": ["model_lock", "model_lock", "threadpool", None, "threadpool"],
            "duration_s": [0.3, 0.5, 0.4, 0.2, 9.0],
        }
    )

    found = wait_findings(waits, rows)

    assert [w.resource for w in found] == ["model_lock", "threadpool", None]
    assert [(w.waits, w.requests) for w in found] == [(2, 1), (1, 1), (1, 1)]
    assert [w.mean_wait_s for w in found] == pytest.approx([0.4, 0.4, 0.2])
    assert [w.mean_per_request_s for w in found] == pytest.approx([0.2, 0.1, 0.05])  # 0.8, 0.4 and 0.2 s over 4
    assert [w.share for w in found] == pytest.approx([0.1, 0.05, 0.025])  # of a mean latency of 2 s


def test_a_name_for_every_request_makes_no_table_of_all_of_them() -> None:
    rows = ledger_rows(queue=[1.0] * 1000)
    waits = pd.DataFrame({"request_id": range(1000), "resource": [f"r{i}" for i in range(1000)], "duration_s": 0.5})
    calls = waits.rename(columns={"resource": "model"})

    found, models = wait_findings(waits, rows), model_findings(calls, rows)

    assert (len(found), len(models)) == (101, 101)
    assert (found[-1].resource, found[-1].waits, found[-1].requests) == ("900 others", 900, 900)
    assert models[-1].mean_per_request_s == pytest.approx(0.45)


def test_without_waits_or_requests_there_is_nothing_to_say_about_waits() -> None:
    none = pd.DataFrame({name: [] for name in columns(Wait)})

    assert wait_findings(none, ledger_rows(inference=[1.0])) == ()
    assert wait_findings(none, ledger_rows(inference=[1.0]).iloc[0:0]) == ()


def test_the_stage_that_makes_slow_requests_slow_is_named() -> None:
    rng = np.random.default_rng(4)
    inference = np.where(rng.random(600) < 0.1, 0.5, 0.1) + rng.normal(0, 0.001, 600)
    rows = ledger_rows(inference=list(inference), preprocess=list(rng.normal(0.05, 0.001, 600)))

    found = attribute_tail(rows)

    assert found is not None
    assert found.clear is not None
    assert found.clear.stage == "inference"
    assert found.gap_s == pytest.approx(0.4, abs=0.01)
    assert sum(s.share for s in found.shares) == pytest.approx(1.0)


def test_no_stage_is_named_when_three_share_the_blame() -> None:
    rng = np.random.default_rng(5)
    slow = rng.random(900) < 0.1
    parts = {s: list(np.where(slow, 0.2, 0.1) + rng.normal(0, 0.01, 900)) for s in ("queue", "preprocess", "inference")}

    found = attribute_tail(ledger_rows(**parts))

    assert found is not None
    assert found.clear is None


@pytest.mark.parametrize("n", [0, 1, 50])
def test_too_few_requests_have_no_attribution(n: int) -> None:
    assert attribute_tail(ledger_rows(inference=[0.1] * n)) is None


def test_requests_that_are_all_equal_have_no_attribution() -> None:
    assert attribute_tail(ledger_rows(inference=[0.1] * 500)) is None


def test_each_kind_of_request_is_counted_and_timed_on_its_own() -> None:
    rows = ledger_rows(inference=[0.1] * 100 + [0.4] * 100, preprocess=[0.2] * 100 + [0.1] * 100)
    rows["name"] = ["short"] * 100 + ["long"] * 100
    rows["ok"] = [True] * 95 + [False] * 5 + [True] * 100

    long, short = name_findings(rows, rows[rows["ok"]])

    assert (short.name, short.ok, short.failed) == ("short", 95, 5)
    assert short.p50.value == pytest.approx(0.3)
    assert (short.bottleneck, long.bottleneck) == ("preprocess", "inference")
    assert long.bottleneck_share == pytest.approx(0.8)


def test_the_waits_for_a_batcher_are_split_by_what_they_were_about() -> None:
    rows = ledger_rows(queue=[0.1] * 2, inference=[0.1] * 2)
    waits = pd.DataFrame(
        [(0, "batcher", 0.02, "busy"), (1, "batcher", 0.03, "window"), (1, "batcher", 0.02, "window"),
         (1, "lock", 0.01, None), (99, "batcher", 1.0, "busy")],
        columns=["request_id", "resource", "duration_s", "kind"],
    )  # fmt: skip

    batcher, lock = wait_findings(waits, rows)

    assert batcher.kinds == (("window", pytest.approx(0.025)), ("busy", pytest.approx(0.010)))
    assert lock.kinds == ()
    assert wait_findings(waits.drop(columns="kind"), rows)[0].kinds == ()


def test_the_rarest_of_very_many_kinds_of_requests_are_taken_together() -> None:
    rows = ledger_rows(inference=[0.1] * 400).assign(ok=True, name=["usual"] * 200 + [f"n{i}" for i in range(200)])

    found = name_findings(rows, rows)

    assert len(found) == 100
    assert {f.name: f.ok for f in found}["102 others"] == 102
    assert sum(f.ok for f in found) == 400
