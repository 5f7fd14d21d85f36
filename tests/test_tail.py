"""Which stage makes slow requests slow: the parts add up to the gap, whatever the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.analysis.slow.tail import LEAST_FOR_QUANTILE, STAGES_BLAMED, attribute_tail
from harness.analysis.statistics.quantiles import quantile
from harness.diagnosis import TailFindings
from tests.simulated_queues import ledger_rows, simulate


def rows_of(**stages: object) -> pd.DataFrame:
    """Ledger rows that spend the given seconds in the given stages and nothing elsewhere."""
    n = len(next(iter(stages.values())))  # type: ignore[arg-type]
    frame = pd.DataFrame({f"{stage}_s": np.zeros(n) for stage in STAGES_BLAMED})
    frame["queue_est_s"] = np.nan
    for stage, seconds in stages.items():
        frame[f"{stage}_s"] = seconds
    frame["latency_s"] = frame.sum(axis=1)
    return frame


def shares_of(found: TailFindings | None) -> dict[str, float]:
    assert found is not None
    return {s.stage: s.share for s in found.shares}


@pytest.mark.parametrize("servers", [1, 4])
@pytest.mark.parametrize("load", [0.5, 0.7, 0.9])
def test_contributions_sum_to_the_gap_between_the_quantiles(servers: int, load: float) -> None:
    rows = ledger_rows(simulate(6_000, load, seed=3, servers=servers, large=0.03, settle=500))
    ordered = np.sort(rows["latency_s"].to_numpy())

    found = attribute_tail(rows, bootstraps=20)

    assert found is not None
    assert found.of == "p99 - p50"
    assert found.gap_s == pytest.approx(quantile(ordered, 0.99) - quantile(ordered, 0.50), rel=1e-9)
    assert sum(s.share for s in found.shares) == pytest.approx(1.0)
    assert all(s.low <= s.share <= s.high for s in found.shares)


def test_means_over_the_windows_alone_are_within_two_percent_of_the_gap() -> None:
    rows = ledger_rows(simulate(20_000, 0.7, seed=1))
    by_latency = rows.sort_values("latency_s")
    slow, typical = by_latency.iloc[19_700:19_900], by_latency.iloc[9_000:11_000]
    parts = {s: float(slow[f"{s}_s"].mean() - typical[f"{s}_s"].mean()) for s in ("queue", "inference", "transfer")}

    found = attribute_tail(rows, bootstraps=10)

    assert found is not None
    assert slow["latency_s"].mean() - typical["latency_s"].mean() == pytest.approx(found.gap_s, rel=0.02)
    for stage, seconds in parts.items():
        assert shares_of(found)[stage] == pytest.approx(seconds / found.gap_s, abs=0.02)


def test_few_requests_are_split_at_the_slowest_twentieth_and_say_so() -> None:
    inference = np.r_[np.full(380, 0.1), np.full(20, 0.5)]  # 5 % of 400
    found = attribute_tail(rows_of(inference=np.random.default_rng(1).permutation(inference), preprocess=[0.05] * 400))

    assert found is not None
    assert found.of == "the slowest 5% - typical requests"
    assert (found.n, found.n_slow) == (400, 20)
    assert (found.slow_s, found.typical_s, found.gap_s) == pytest.approx((0.55, 0.15, 0.4))
    assert found.clear is not None
    assert (found.clear.stage, found.clear.share) == ("inference", pytest.approx(1.0))


def test_no_stage_is_named_when_three_share_the_blame() -> None:
    rng = np.random.default_rng(5)
    slow = rng.random(900) < 0.1
    stages = ("queue", "preprocess", "inference")
    found = attribute_tail(rows_of(**{s: np.where(slow, 0.2, 0.1) + rng.normal(0, 0.01, 900) for s in stages}))

    assert found is not None
    assert found.clear is None


def test_intervals_are_those_of_a_bootstrap_that_gathers_the_rows() -> None:
    rows = ledger_rows(simulate(LEAST_FOR_QUANTILE, 0.7, seed=2, servers=4, cv=1.0))
    found = attribute_tail(rows)
    assert found is not None

    low, high = gathered_intervals(rows, [s.stage for s in found.shares], draws=400)

    assert [s.low for s in found.shares] == pytest.approx(low, abs=0.06)
    assert [s.high for s in found.shares] == pytest.approx(high, abs=0.06)
    assert found.shares[0].high - found.shares[0].low > 0.05  # there is something to get wrong


def gathered_intervals(rows: pd.DataFrame, stages: list[str], draws: int) -> tuple[list[float], list[float]]:
    """Blocks of sqrt(n) neighbours drawn, put one after the other, sorted, windows cut out."""
    latency = rows["latency_s"].to_numpy()
    parts = rows[[f"{s}_s" for s in stages]].to_numpy(dtype=float)
    n, length = len(latency), round(len(latency) ** 0.5)
    blocks = np.array_split(np.arange(n), np.arange(length, n, length))
    rng = np.random.default_rng(11)
    drawn = []
    for _ in range(draws):
        index = np.concatenate([blocks[b] for b in rng.integers(0, len(blocks), len(blocks))])
        ranked = parts[index[np.argsort(latency[index], kind="stable")]]
        m = len(index)
        gaps = ranked[round(0.985 * m) : round(0.995 * m)].mean(0) - ranked[round(0.45 * m) : round(0.55 * m)].mean(0)
        drawn.append(gaps / gaps.sum())
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return list(low), list(high)


def test_the_same_seed_gives_the_same_intervals() -> None:
    rows = ledger_rows(simulate(1_000, 0.5, seed=4))

    assert attribute_tail(rows, 7, bootstraps=50) == attribute_tail(rows, 7, bootstraps=50)
    assert attribute_tail(rows, 7, bootstraps=50) != attribute_tail(rows, 8, bootstraps=50)


@pytest.mark.parametrize("n", [0, 1, 199])
def test_too_few_requests_have_no_attribution(n: int) -> None:
    assert attribute_tail(rows_of(inference=np.arange(n) / 10)) is None


@pytest.mark.parametrize("n", [500, 5_000])
def test_requests_that_are_all_equal_have_no_attribution(n: int) -> None:
    rows = rows_of(inference=np.full(n, 0.1), preprocess=np.full(n, 0.2))

    assert attribute_tail(rows) is None


def test_many_ties_still_add_up() -> None:
    inference = np.random.default_rng(3).choice([0.1, 0.2, 0.4], 4_000, p=[0.6, 0.3, 0.1])

    found = attribute_tail(rows_of(inference=inference, preprocess=np.full(4_000, 0.01)))

    assert found is not None
    assert found.gap_s == pytest.approx(0.3)
    assert shares_of(found)["inference"] == pytest.approx(1.0)


def test_a_stage_nobody_records_is_left_out_and_one_known_of_some_requests_leaves_its_time_to_other() -> None:
    rng = np.random.default_rng(6)
    rows = rows_of(inference=rng.exponential(0.1, 1_000), preprocess=rng.exponential(0.1, 1_000))
    rows["queue_s"] = np.nan
    rows.loc[rows.index % 2 == 0, "preprocess_s"] = np.nan

    shares = shares_of(attribute_tail(rows))

    assert "queue" not in shares
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["other"] > 0.1


def test_requests_that_never_came_back_are_left_out() -> None:
    rows = rows_of(inference=np.random.default_rng(8).exponential(0.1, 400))
    failed = rows.iloc[:50].assign(latency_s=np.inf)

    found = attribute_tail(pd.concat([failed, rows]))

    assert found is not None
    assert found.n == 400
    assert np.isfinite([[s.share, s.low, s.high] for s in found.shares]).all()


def test_nothing_but_the_latency_known_is_no_attribution() -> None:
    rows = rows_of(inference=np.random.default_rng(8).exponential(0.1, 400))
    rows[[f"{s}_s" for s in STAGES_BLAMED]] = np.nan

    assert attribute_tail(rows) is None
