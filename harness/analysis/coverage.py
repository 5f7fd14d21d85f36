"""How many requests have a server half, and whether those without one are missing at random.

A service that samples loses requests at random: what is left still stands for all. A queue that overflows loses those
of its busiest seconds, an exporter that times out the slow ones: what is left is then of other requests.

Every test asks how likely the loss is if it had been drawn at random over these very requests (a permutation test in
all three cases). That the latencies themselves come in waves therefore makes no false alarm, and a long run makes no
small difference a large one, because the difference has to matter, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from harness.analysis.statistics import binomial
from harness.findings import Coverage, Loss
from harness.units import format_count, format_duration, format_share

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

LEVEL = 0.001
"""Random loss looks like this or worse once in a thousand runs: rarer than that is not taken for chance."""
LEAST_DELTA = 0.1
"""A smaller Cliff's delta changes no stage figure worth a word."""
LEAST_EXCESS = 0.1
"""So much larger must the missing share of the slowest requests be to matter."""
SLOWEST = 0.05
LEAST_MISSING = 5
"""With fewer on one side nothing can be said about the difference."""
LEAST_IN_SECOND = 10
LEAST_SECONDS = 5
MOST_SLICES = 600
"""Longer runs are cut into so many slices instead of seconds."""
DRAWS = 4000
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Slow:
    """Cliff's delta of latency, and the missing share of the slowest requests; `biased` when either is no chance."""

    delta: float
    tail_missing: float
    by_delta: bool
    by_tail: bool


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kind of each request, a position in `names`."""

    of: Ints
    names: tuple[str, ...]


def find(
    scheduled_ns: Ints,
    latency_s: Floats,
    matched: Flags,
    sampled: float = 1.0,
    kinds: Kinds | None = None,
    dropping: bool = False,
) -> Coverage | None:
    """The coverage of measured ok requests, from equally long arrays in any order; None when nothing was asked for.

    `sampled` is the share of requests that asked to be recorded, drawn at random. `dropping`: there are traces with
    holes in them, so that what is missing was lost and not left out.
    """
    n, found = len(matched), int(matched.sum())
    if n == 0 or sampled <= 0.0:
        return None
    missing = n - found
    at_s = (scheduled_ns - scheduled_ns.min()) / SECOND_NS
    worst, worst_at = _worst_second(at_s, matched)
    if missing == 0:
        return Coverage(n, found, Loss.NONE, worst, worst_at, None, f"each of {_requests(n)} has a server half")
    slow = _slow(latency_s, matched) if _testable(missing, found) else None
    loss = _loss(at_s, matched, slow, sampled)
    lacking = _lacking_kind(kinds, ~matched) if slow is not None and kinds is not None else None
    if lacking is not None:
        name, share = lacking
        loss = Loss.BIASED
        said = (
            f": {format_share(share)} of the requests '{name}' are missing: stage figures describe the other requests"
        )
    else:
        said = _tail(loss, slow, missing, found, float(at_s.max()), sampled, dropping)
    delta = slow.delta if slow else None
    return Coverage(n, found, loss, worst, worst_at, delta, _head(n, found, worst) + said, lacking and lacking[0])


def _loss(at_s: Floats, matched: Flags, slow: _Slow | None, sampled: float) -> Loss:
    if slow is None:
        asked = sampled < 1.0 and _as_asked(matched, sampled)
        return Loss.UNIFORM if asked else Loss.UNTESTED
    if slow.by_delta or slow.by_tail:
        return Loss.BIASED
    return Loss.CLUSTERED if _clustered(at_s, ~matched) else Loss.UNIFORM


def _as_asked(matched: Flags, sampled: float) -> bool:
    """Whether no more are missing than were not asked for, as far as a draw can tell."""
    return binomial.at_least(int((~matched).sum()), len(matched), 1.0 - sampled) >= LEVEL


def _testable(missing: int, found: int) -> bool:
    """Whether the most extreme loss could be told from chance at all: else its absence says nothing."""
    if min(missing, found) < LEAST_MISSING:
        return False
    return NormalDist().cdf(-math.sqrt(3.0 * missing * found / (missing + found + 1))) * 2.0 < LEVEL


# --- in latency --------------------------------------------------------------------------------------------


def _slow(latency_s: Floats, matched: Flags) -> _Slow:
    delta, chance = rank_test(latency_s[~matched], latency_s[matched])
    slowest = latency_s >= np.quantile(latency_s, 1.0 - SLOWEST, method="higher")
    lost, of = int((slowest & ~matched).sum()), int(slowest.sum())
    usual = float((~matched).mean())
    return _Slow(
        delta=delta,
        tail_missing=lost / of,
        by_delta=abs(delta) > LEAST_DELTA and chance < LEVEL,
        # Loss of the few slowest requests alone hardly moves delta, yet takes away what a p99 is made of. The binomial
        # is wider than the true hypergeometric distribution: it errs towards chance.
        by_tail=lost / of - usual > LEAST_EXCESS and binomial.at_least(lost, of, usual) < LEVEL,
    )


def rank_test(one: Floats, other: Floats) -> tuple[float, float]:
    """Cliff's delta P(a > b) - P(a < b) for a of `one`, b of `other`; and its two-sided p-value without a difference.

    From the rank sum with its normal approximation, corrected for ties (Mann & Whitney 1947; Cliff 1993; Lehmann,
    Nonparametrics, 1.4). Both groups must have a member.
    """
    n, m = len(one), len(other)
    total = n + m
    _, place, ties = np.unique(np.concatenate([one, other]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2.0)[place]
    u = float(ranks[:n].sum()) - n * (n + 1) / 2.0
    counts = ties.astype(np.float64)
    tied = float((counts**3 - counts).sum()) / (total * (total - 1.0))
    deviation = math.sqrt(max(0.0, n * m / 12.0 * (total + 1.0 - tied)))
    delta = 2.0 * u / (n * m) - 1.0
    if deviation == 0.0:
        return delta, 1.0
    return delta, 2.0 * NormalDist().cdf(-abs(u - n * m / 2.0) / deviation)


# --- in time -----------------------------------------------------------------------------------------------


def _worst_second(at_s: Floats, matched: Flags) -> tuple[float | None, float | None]:
    """The lowest share in a second with enough requests, and when that second begins."""
    second = at_s.astype(np.int64)
    requests = np.bincount(second)
    shares = np.bincount(second, weights=matched) / np.maximum(requests, 1)
    enough = np.flatnonzero(requests >= LEAST_IN_SECOND)
    if len(enough) == 0:
        return None, None
    worst = int(enough[np.argmin(shares[enough])])
    return float(shares[worst]), float(worst)


def _clustered(at_s: Floats, missing: Flags) -> bool:
    """Whether the missing requests stand closer together in time than a draw without replacement puts them.

    The dispersion of their counts per second, sum of (missing - expected)**2 / requests, against that of random draws:
    no approximation, so that it holds for a handful, too.
    """
    if at_s.max() < LEAST_SECONDS - 1:
        return False
    length_s = max(1.0, math.ceil(at_s.max() / MOST_SLICES))
    slices = (at_s / length_s).astype(np.int64)
    requests = np.bincount(slices)
    kept = requests > 0
    lost = np.bincount(slices, weights=missing)[kept].astype(np.int64)
    requests = requests[kept]
    return _uneven(requests, lost)


def _uneven(requests: Ints, lost: Ints) -> bool:
    """Whether the lost requests are spread over groups of so many requests less evenly than a draw spreads them."""
    expected = requests * (lost.sum() / requests.sum())
    seen = _dispersion(lost, expected, requests)
    # The sum above has this mean for random draws: what lies below it need not be compared.
    share = lost.sum() / requests.sum()
    if seen <= share * (1.0 - share) * (len(requests) - 1):
        return False
    rng = np.random.default_rng(0)
    drawn = rng.multivariate_hypergeometric(requests, int(lost.sum()), size=DRAWS, method="marginals")
    as_large = int((_dispersion(drawn, expected, requests) >= seen * (1.0 - 1e-12)).sum())
    return (as_large + 1) / (DRAWS + 1) < LEVEL


def _dispersion(lost: Ints, expected: Floats, requests: Ints) -> Floats:
    return np.asarray(((lost - expected) ** 2 / requests).sum(axis=-1))


def _lacking_kind(kinds: Kinds, missing: Flags) -> tuple[str, float] | None:
    """Which kind of request is missing far more often than the others, if that is no chance, and its missing share."""
    requests = np.bincount(kinds.of, minlength=len(kinds.names))
    lost = np.bincount(kinds.of, weights=missing, minlength=len(kinds.names)).astype(np.int64)
    enough = np.flatnonzero(requests >= LEAST_IN_SECOND)
    if len(enough) < 2:
        return None
    shares = lost[enough] / requests[enough]
    worst = int(np.argmax(shares))
    if shares[worst] - lost.sum() / requests.sum() <= LEAST_EXCESS or not _uneven(requests[enough], lost[enough]):
        return None
    return kinds.names[int(enough[worst])], float(shares[worst])


# --- in words ----------------------------------------------------------------------------------------------


def _requests(n: int) -> str:
    return f"{format_count(n)} request{'s' if n != 1 else ''}"


def _head(n: int, found: int, worst: float | None) -> str:
    if found == 0:
        return f"none of {_requests(n)} has a server half"
    seen = f" (worst second {format_share(worst)})" if worst is not None else ""
    if n - found < LEAST_MISSING:  # so few are clearer as a number
        return f"{format_count(found)} of {_requests(n)} have a server half{seen}"
    return f"{format_share(found / n)} of {_requests(n)} have a server half{seen}"


def _tail(
    loss: Loss, slow: _Slow | None, missing: int, found: int, span_s: float, sampled: float, dropping: bool
) -> str:
    asked = f"; {format_share(sampled)} asked to be recorded" if sampled < 1.0 else ""
    if loss is Loss.BIASED and slow is not None:
        return asked + _bias(slow)
    if loss is Loss.CLUSTERED:
        return asked + ": the missing ones come together in time: stage figures describe the rest of the run"
    if loss is Loss.UNIFORM:
        if slow is None:
            return asked
        alone = span_s < LEAST_SECONDS - 1
        why = (
            ", but were recorded and then lost: other traces have holes" if dropping else ", as with a sampling service"
        )
        how = f" as far as their latency says ({format_duration(span_s)} are too short to compare seconds)"
        return f"{asked}; the others are missing at random{how if alone else ''}{why}"
    if found == 0:
        return asked
    few = missing if missing < found else found
    which = "missing" if missing < found else "there"
    return f"{asked}; {format_count(few)} {which}: too few to compare them with the others"


def _bias(slow: _Slow) -> str:
    if not slow.by_delta:
        return (
            f": of the slowest {format_share(SLOWEST)}, {format_share(slow.tail_missing)} are missing: stage figures "
            "describe the fast requests"
        )
    missing, kept = ("slower", "fast") if slow.delta > 0 else ("faster", "slow")
    return (
        f": the missing ones are {missing} (Cliff's delta {slow.delta:.2f}): stage figures describe the {kept} requests"
    )
