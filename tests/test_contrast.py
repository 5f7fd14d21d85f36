"""What slow requests have in common: what was planted is found first, what means nothing is not shown."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from harness.analysis.slow import association
from harness.analysis.slow.contrast import contrasts
from harness.units import format_bytes
from tests.simulated_queues import Simulated, ledger_rows, simulate


def attributes(simulated: Simulated, seed: int) -> pd.DataFrame:
    """Attributes that mean nothing, the kind of the request, and how many others it met."""
    rng = np.random.default_rng(seed)
    n = len(simulated.scheduled_s)
    ended = np.sort(simulated.scheduled_s + simulated.latency_s)
    return pd.DataFrame(
        {
            "bytes_sent": 2e5 * rng.lognormal(0, 0.3, n),
            "name": pd.Categorical(simulated.names),
            "step": np.nan,
            "worker": pd.Categorical(rng.choice(["load-0", "load-1"], n)),
            "process": pd.Categorical(np.repeat(rng.choice(["api (pid 1)", "api (pid 2)"], n // 50 + 1), 50)[:n]),
            "new_connection": pd.array(rng.random(n) < 0.1, dtype="boolean"),
            "batch_size": rng.integers(1, 9, n).astype(float),
            "since_start_s": simulated.scheduled_s,
            "in_flight": np.arange(n) - np.searchsorted(ended, simulated.scheduled_s).astype(float),
            "gc_pause_s": np.repeat(rng.exponential(0.01, n // 50 + 1), 50)[:n],
        }
    )


def plain(latency: object, **columns: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.DataFrame({"latency_s": latency}), pd.DataFrame(columns)


def test_a_class_that_takes_five_times_as_long_comes_first_with_its_counts() -> None:
    simulated = simulate(3_000, 0.7, seed=1, servers=4, large=0.03)
    rows, large = ledger_rows(simulated), np.array(simulated.names) == "large"
    slow = rows["latency_s"] >= np.sort(rows["latency_s"])[2_849]  # the 2,850th of 3,000

    first, *_ = contrasts(rows, attributes(simulated, 1))

    assert (first.attribute, first.value) == ("name", "large")
    assert (first.slow, first.slow_of) == (int((slow & large).sum()), 151)
    assert first.with_s == pytest.approx(rows["latency_s"][large].mean())
    assert first.without_s == pytest.approx(rows["latency_s"][~large].mean())
    assert first.sentence.startswith(f"{first.slow} of 151 slow requests were of the kind large, of the typical ones ")


def test_large_payloads_of_any_size_are_shown_from_the_size_on_that_parts_them_best() -> None:
    rng = np.random.default_rng(2)
    large = rng.random(2_000) < 0.04
    sent = np.where(large, rng.uniform(2**20, 2**21, 2_000), rng.uniform(1e4, 1e5, 2_000))
    rows, known = plain(np.where(large, 0.5, 0.1) + rng.normal(0, 0.01, 2_000), bytes_sent=sent)

    (found,) = contrasts(rows, known)

    assert found.value == f"{format_bytes(sent[large].min())} or more"
    assert (found.slow, found.typical) == (int(large.sum()), 0)
    assert f" slow requests sent {found.value}, of the typical ones 0 of " in found.sentence


def test_payload_files_of_a_few_sizes_are_kinds_and_the_poisonous_one_may_lie_in_the_middle() -> None:
    rng = np.random.default_rng(3)
    sent = rng.choice([10_240.0, 20_480.0, 30_720.0], 1_000, p=[0.48, 0.04, 0.48])
    rows, known = plain(np.where(sent == 20_480.0, 0.4, 0.1) + rng.normal(0, 0.01, 1_000), bytes_sent=sent)

    (found,) = contrasts(rows, known)

    assert found.value == "20 KiB"
    assert 0 < found.effect <= 1


def test_what_goes_with_a_queue_says_that_it_is_a_sign_and_stands_last() -> None:
    simulated = simulate(10_000, 0.5, seed=1, large=0.03)

    found = contrasts(ledger_rows(simulated), attributes(simulated, 1))

    assert [c.attribute for c in found] == ["name", "in_flight"]
    assert "more requests were in flight" in found[-1].sentence
    assert "met 3 or more others in flight" in found[-1].sentence


def test_what_means_nothing_is_shown_in_few_of_many_runs_of_a_busy_queue() -> None:
    alarms = 0
    for seed in range(60):
        simulated = simulate(1_500, 0.8, seed=seed, settle=500)
        alarms += bool(contrasts(ledger_rows(simulated), attributes(simulated, seed).drop(columns="in_flight")))

    assert alarms <= 3  # 5 %


def test_first_requests_and_other_flags_are_told_in_words() -> None:
    first = np.random.default_rng(1).permutation(np.arange(400) < 12)
    flag = pd.array(first, dtype="boolean")
    rows, known = plain(np.where(first, 2.0, 0.1) + np.arange(400) * 1e-5, first_of_process=flag)

    (found,) = contrasts(rows, known)

    assert (found.value, found.slow, found.typical) == ("yes", 12, 0)
    assert "were among the first 5 that their service process served" in found.sentence


def test_a_load_step_is_told_as_people_count_and_a_request_named_like_a_flag_keeps_its_name() -> None:
    rng = np.random.default_rng(9)
    step = rng.choice([0.0, 1.0], 1_000, p=[0.95, 0.05])
    latency = np.where(step == 1.0, 0.4, 0.1) + rng.normal(0, 0.01, 1_000)
    rows, known = plain(latency, step=step, name=np.where(step == 1.0, "True", "False"))

    by_name = {c.attribute: c for c in contrasts(rows, known)}

    assert " were sent in load step 2, " in by_name["step"].sentence
    assert by_name["name"].value == "True"


def test_an_attribute_known_of_some_requests_is_counted_among_these() -> None:
    rng = np.random.default_rng(4)
    bad = rng.random(2_000) < 0.05
    batch = np.where(bad, 16.0, 2.0)
    batch[::2] = np.nan
    rows, known = plain(np.where(bad, 1.0, 0.1) + rng.normal(0, 0.01, 2_000), batch_size=batch)

    (found,) = contrasts(rows, known)

    assert found.slow_of < 101 < 1_001
    assert "were in a batch of 16 or more" in found.sentence
    assert found.without_s == pytest.approx(0.1, abs=0.02)


def test_at_most_five_are_shown_the_largest_difference_first() -> None:
    rng = np.random.default_rng(5)
    bad = rng.random(2_000) < 0.05
    columns = {f"mark{i}": pd.array(bad & (np.cumsum(bad) % 20 >= 2 * i), dtype="boolean") for i in range(7)}
    rows, known = plain(np.where(bad, 1.0, 0.1) + rng.normal(0, 0.01, 2_000), **columns)

    found = contrasts(rows, known)

    assert [c.attribute for c in found] == [f"mark{i}" for i in range(5)]


@pytest.mark.parametrize(
    "latency",
    [[], [0.1], [0.1] * 1_000, [math.inf] * 1_000, list(np.arange(100) / 100), [0.1] * 900 + [math.inf] * 100],
    ids=["none", "one", "all equal", "all failed", "few", "some failed"],
)
def test_where_there_is_nothing_to_compare_nothing_is_shown(latency: list[float]) -> None:
    n = len(latency)
    rows, known = plain(
        latency, name=pd.Categorical(["a"] * n), bytes_sent=np.arange(n) * 1.0, in_flight=np.full(n, np.nan),
        resent=pd.array([None] * n, dtype="boolean"), models=pd.array([None] * n, dtype="str"),
    )  # fmt: skip

    assert contrasts(rows, known) == ()
    assert contrasts(rows, known[[]]) == ()


def test_a_name_for_every_request_is_no_kind() -> None:
    rng = np.random.default_rng(6)
    rows, known = plain(rng.exponential(0.1, 1_000), name=[f"r{i}" for i in range(1_000)])

    assert contrasts(rows, known) == ()


# --- the figures behind it -------------------------------------------------------------------------------


def test_cliffs_delta_counts_pairs() -> None:
    one, other = np.array([3.0, 4.0]), np.array([1.0, 3.0, 5.0])

    delta, _ = association.cliffs_delta(one, other)

    # 3 > 1, 3 = 3, 3 < 5, 4 > 1, 4 > 3, 4 < 5
    assert delta == pytest.approx((3 - 2) / 6)
    assert association.cliffs_delta(np.ones(5), np.ones(9)) == (0.0, 0.0)
    assert association.delta_p(0.0, 0.0, 1.0) == 1.0


def test_the_rank_sum_has_its_textbook_p_value() -> None:
    one, other = np.arange(11.0, 21.0), np.arange(1.0, 11.0)  # U = 100, mean 50, variance 10 * 10 * 21 / 12 = 175

    delta, error = association.cliffs_delta(one, other)

    assert association.delta_p(delta, error, 1.0) == pytest.approx(math.erfc(50 / math.sqrt(175) / math.sqrt(2)))


def test_shares_are_tested_by_chi_square_and_small_counts_exactly() -> None:
    # Fisher's tea: 3 of 4 right against 1 of 4: P(at least 3) = 17 / 70
    assert association.share_p((3, 4, 1, 4)) == pytest.approx(2 * 17 / 70)
    # 30 of 100 against 10 of 100: chi2 = 200 * (30 * 90 - 10 * 70)^2 / (100 * 100 * 40 * 160) = 12.5
    assert association.share_p((30, 100, 10, 100)) == pytest.approx(math.erfc(math.sqrt(12.5 / 2)))
    assert association.share_p((0, 10, 0, 90)) == 1.0


def test_the_divergence_is_one_bit_where_nothing_is_in_common() -> None:
    assert association.divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1.0)
    assert association.divergence(np.array([0.3, 0.7]), np.array([0.3, 0.7])) == 0.0


def test_of_many_p_values_those_below_the_rising_line_are_believed() -> None:
    # Benjamini and Hochberg at 5 %: limits 0.0125, 0.025, 0.0375, 0.05; the third passes and takes the second along
    assert association.discoveries([0.30, 0.001, 0.037, 0.03], 0.05) == [False, True, True, True]
    assert association.discoveries([0.5, 0.2], 0.05) == [False, False]
    assert association.discoveries([], 0.05) == []


def test_requests_count_less_only_where_both_series_have_a_memory() -> None:
    rng = np.random.default_rng(7)
    bursts = np.repeat(rng.random(400) < 0.1, 10).astype(float)

    weight = association.weights(bursts)

    assert weight(np.repeat(rng.random(400) < 0.1, 10).astype(float)) == pytest.approx(1 / 7, rel=0.2)
    assert weight((rng.random(4_000) < 0.1).astype(float)) == pytest.approx(1.0, abs=0.2)
    assert weight(np.ones(4_000)) == 1.0
