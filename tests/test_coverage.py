"""Server halves that are missing at random, for the slow requests, or together in time are told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.analysis.coverage import Kinds, find, rank_test
from harness.findings import Coverage, Loss

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
START_NS = 1_790_000_000_000_000_000


def covered(at_s: Floats, latency_s: Floats, matched: Flags, sampled: float = 1.0) -> Coverage:
    found = find(START_NS + (at_s * 1e9).astype(np.int64), latency_s, matched, sampled)
    assert found is not None
    return found


def an_ar1_service(rng: np.random.Generator, n: int, rate: float) -> tuple[Floats, Floats]:
    """Poisson arrivals; log latencies of which each remembers 70 % of the one before."""
    noise, memory = rng.normal(size=n), np.empty(n)
    memory[0] = noise[0]
    for i in range(1, n):
        memory[i] = 0.7 * memory[i - 1] + 0.51**0.5 * noise[i]
    return np.cumsum(rng.exponential(1 / rate, n)), 0.1 * np.exp(0.5 * memory)


def a_single_server(rng: np.random.Generator, n: int, rate: float) -> tuple[Floats, Floats]:
    """M/G/1 at 70 % of its capacity: log-normal service, waits that pile up."""
    gaps, service = rng.exponential(1 / rate, n), rng.lognormal(0.0, 0.8, n)
    service *= 0.7 / rate / service.mean()
    wait = np.zeros(n)
    for i in range(1, n):
        wait[i] = max(0.0, wait[i - 1] + service[i - 1] - gaps[i])
    return np.cumsum(gaps), wait + service


SERVICES = (an_ar1_service, a_single_server)


@pytest.mark.parametrize("service", SERVICES)
def test_random_loss_makes_no_false_alarm_and_loss_of_the_slow_is_always_seen(
    service: Callable[[np.random.Generator, int, float], tuple[Floats, Floats]],
) -> None:
    random, slowest = Counter[Loss](), Counter[Loss]()
    for seed in range(300):
        rng = np.random.default_rng(seed)
        at_s, latency_s = service(rng, 600, 20.0)
        if seed < 150:  # thousands of draws each, where the loss of the slow needs none
            random[covered(at_s, latency_s, rng.random(600) >= 0.2).loss] += 1
        slowest[covered(at_s, latency_s, latency_s < np.quantile(latency_s, 0.8)).loss] += 1

    print(f"{service.__name__}: random loss {dict(random)}, slowest fifth {dict(slowest)}")  # noqa: T201 - the evidence
    assert random[Loss.BIASED] <= 2
    assert random[Loss.CLUSTERED] <= 2
    assert slowest == {Loss.BIASED: 300}


def fifty_a_second(n: int) -> tuple[Floats, Floats]:
    return np.arange(n) / 50.0, np.random.default_rng(5).lognormal(-2.0, 0.5, n)


def test_a_fifth_lost_at_random_is_printed_and_named_as_that() -> None:
    at_s, latency_s = fifty_a_second(3000)
    matched = np.random.default_rng(1).random(3000) >= 0.2

    found = covered(at_s, latency_s, matched)

    assert (found.loss, found.expected, found.matched) == (Loss.UNIFORM, 3000, int(matched.sum()))
    share, worst = matched.mean() * 100, matched.reshape(60, 50).mean(axis=1).min() * 100
    assert found.sentence == (
        f"{share:.3g}% of 3,000 requests have a server half (worst second {worst:.3g}%); the others are missing at "
        "random, as with a sampling service"
    )


def test_the_slowest_fifth_lost_is_a_bias_and_said_to_be_one() -> None:
    at_s, latency_s = fifty_a_second(3000)

    found = covered(at_s, latency_s, latency_s < np.quantile(latency_s, 0.8))

    assert (found.loss, found.delta) == (Loss.BIASED, 1.0)
    assert found.sentence.startswith("80% of 3,000 requests have a server half (worst second ")
    assert found.sentence.endswith(
        "%): the missing ones are slower (Cliff's delta 1.00): stage figures describe the fast requests"
    )


def test_the_fastest_lost_is_a_bias_too() -> None:
    at_s, latency_s = fifty_a_second(1000)

    found = covered(at_s, latency_s, latency_s > np.quantile(latency_s, 0.2))

    assert "the missing ones are faster (Cliff's delta -1.00)" in found.sentence


def test_loss_of_the_slowest_hundredth_is_seen_behind_much_random_loss() -> None:
    at_s, latency_s = fifty_a_second(3000)
    matched = (latency_s < np.quantile(latency_s, 0.99)) & (np.random.default_rng(2).random(3000) >= 0.2)

    found = covered(at_s, latency_s, matched)

    assert found.loss is Loss.BIASED
    assert found.delta is not None
    assert abs(found.delta) < 0.1
    assert "of the slowest 5%" in found.sentence


def test_a_difference_too_small_to_matter_is_none_however_many_requests() -> None:
    rng = np.random.default_rng(3)
    latency_s = rng.lognormal(-2.0, 0.5, 200_000)
    # The slower half is lost in 21 % of all cases, the faster one in 19 %: certain, and of no weight.
    matched = rng.random(200_000) >= np.where(latency_s > np.median(latency_s), 0.21, 0.19)
    delta, chance = rank_test(latency_s[~matched], latency_s[matched])

    assert chance < 1e-9
    assert 0.0 < delta < 0.1
    assert covered(np.arange(200_000) / 500.0, latency_s, matched).loss is Loss.UNIFORM


def test_one_silent_second_is_clustered() -> None:
    at_s, latency_s = fifty_a_second(1000)
    matched = ~((at_s >= 7.0) & (at_s < 8.0))

    found = covered(at_s, latency_s, matched)

    assert found.loss is Loss.CLUSTERED
    assert (found.worst_second, found.worst_second_at_s) == (0.0, 7.0)
    assert "come together in time" in found.sentence


def test_six_lost_in_one_burst_are_enough_to_be_clustered() -> None:
    at_s, latency_s = fifty_a_second(3000)
    matched = ~((at_s >= 7.0) & (at_s < 7.12))

    assert covered(at_s, latency_s, matched).loss is Loss.CLUSTERED


def test_a_run_of_three_seconds_says_that_it_compares_no_seconds() -> None:
    at_s, latency_s = fifty_a_second(150)

    found = covered(at_s, latency_s, (at_s < 1.0) | (at_s >= 2.0))

    assert found.loss is Loss.UNIFORM
    assert "2.98 s are too short to compare seconds" in found.sentence


@pytest.mark.parametrize(("missing", "loss"), [(0, Loss.NONE), (1, Loss.UNTESTED), (4, Loss.UNTESTED)])
def test_a_handful_is_not_tested(missing: int, loss: Loss) -> None:
    at_s, latency_s = fifty_a_second(300)

    found = covered(at_s, latency_s, np.arange(300) >= missing)

    assert (found.loss, found.delta) == (loss, None)


def test_where_even_the_worst_loss_could_be_chance_nothing_is_said() -> None:
    at_s, latency_s = fifty_a_second(14)

    slowest = np.argsort(np.argsort(-latency_s))

    # The largest z there can be is sqrt(3 * missing * there / (all + 1)); a thousandth needs 3.29, squared 10.8.
    assert covered(at_s, latency_s, slowest >= 7).loss is Loss.UNTESTED  # 3 * 7 * 7 / 15 = 9.8
    more_s, more_latency_s = fifty_a_second(16)
    slowest = np.argsort(np.argsort(-more_latency_s))
    assert covered(more_s, more_latency_s, slowest >= 8).loss is Loss.BIASED  # 3 * 8 * 8 / 17 = 11.3


def test_requests_that_were_not_asked_to_be_recorded_are_not_lost() -> None:
    at_s, latency_s = fifty_a_second(300)
    few = np.arange(300) < 3

    assert covered(at_s, latency_s, few, sampled=0.01).loss is Loss.UNIFORM
    assert covered(at_s, latency_s, few, sampled=0.5).loss is Loss.UNTESTED
    assert "60% asked to be recorded" in covered(at_s, latency_s, np.arange(300) % 5 < 3, sampled=0.6).sentence


def test_nothing_asked_for_has_no_coverage() -> None:
    empty = np.array([])

    assert find(empty.astype(np.int64), empty, empty.astype(np.bool_)) is None
    assert find(np.array([START_NS]), np.array([0.1]), np.array([False]), sampled=0.0) is None


def test_a_service_that_sends_nothing_covers_nothing() -> None:
    at_s, latency_s = fifty_a_second(100)

    found = covered(at_s, latency_s, np.zeros(100, dtype=bool))

    assert (found.loss, found.matched, found.worst_second) == (Loss.UNTESTED, 0, 0.0)
    assert found.sentence == "none of 100 requests has a server half"


def test_a_second_with_few_requests_is_not_the_worst() -> None:
    at_s = np.concatenate([np.arange(20) / 20.0, [1.5], 2.0 + np.arange(20) / 20.0])
    matched = np.array([True] * 20 + [False] + [True] * 18 + [False] * 2)

    found = covered(at_s, np.full(41, 0.1), matched)

    assert (found.worst_second, found.worst_second_at_s) == (0.9, 2.0)  # 18 of 20, not 0 of 1


def test_the_rank_test_gives_the_published_numbers() -> None:
    # Worked by hand: a beats b in 8 of 9 pairs, loses 1; U = 8, mean 4.5, deviation sqrt(9 * 7 / 12) = 2.291.
    delta, chance = rank_test(np.array([2.0, 5.0, 6.0]), np.array([1.0, 3.0, 1.5]))

    assert delta == pytest.approx(7 / 9)
    assert chance == pytest.approx(0.1266, abs=1e-4)  # 2 * P(Z > 1.5275)


def test_ties_count_half_and_narrow_the_deviation() -> None:
    # a = 1 1 2, b = 1 2 2: pairs won 1, lost 4, tied 4; delta -1/3. Ties of 3 and 3: 48 / 30 = 1.6; deviation
    # sqrt(9 / 12 * (7 - 1.6)) = 2.0125, U = 3, z = -0.7454.
    delta, chance = rank_test(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 2.0]))

    assert delta == pytest.approx(-1 / 3)
    assert chance == pytest.approx(0.4560, abs=1e-4)
    assert rank_test(np.ones(9), np.ones(4)) == (0.0, 1.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 9), st.booleans()), min_size=1, max_size=80))
def test_coverage_counts_every_request_once_and_has_a_sentence(requests: list[tuple[float, float, bool]]) -> None:
    at_s, latency_s, matched = (np.array(column) for column in zip(*requests, strict=True))

    found = covered(at_s, latency_s, matched)

    assert (found.expected, found.matched) == (len(requests), int(matched.sum()))
    assert (found.loss is Loss.NONE) == bool(matched.all())
    assert found.sentence
    assert found.worst_second is None or 0.0 <= found.worst_second <= 1.0


def test_a_kind_of_request_that_never_has_a_half_is_no_sampling() -> None:
    rng = np.random.default_rng(3)
    of = rng.integers(0, 2, 400)
    at_ns, latency_s = START_NS + np.arange(400) * 50_000_000, rng.exponential(0.1, 400)

    found = find(at_ns, latency_s, of == 0, kinds=Kinds(of, ("read", "big")))

    assert found is not None
    assert found.loss is Loss.BIASED
    assert "100% of the requests 'big' are missing" in found.sentence


def test_kinds_that_lose_alike_are_sampled_unless_other_traces_have_holes() -> None:
    rng = np.random.default_rng(4)
    of, matched = rng.integers(0, 3, 900), rng.random(900) < 0.8
    at_ns, latency_s = START_NS + np.arange(900) * 50_000_000, rng.exponential(0.1, 900)
    kinds = Kinds(of, ("a", "b", "c"))

    sampled = find(at_ns, latency_s, matched, kinds=kinds)
    dropped = find(at_ns, latency_s, matched, kinds=kinds, dropping=True)

    assert sampled is not None
    assert dropped is not None
    assert sampled.loss is dropped.loss is Loss.UNIFORM
    assert "as with a sampling service" in sampled.sentence
    assert dropped.sentence.endswith("were recorded and then lost: other traces have holes")
