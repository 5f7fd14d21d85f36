"""Whether two runs sent the same: kinds of requests in the same shares, payloads of the same sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from harness.comparison import Difference
from harness.units import format_bytes, format_share

Sizes = NDArray[np.int64]

SURE = 0.001
"""Chance of a difference where there is none: a handful of tests, all to be right."""
LITTLE = 0.02
"""A mix that moves the mean latency by no more than this is as good as the same."""
MANY = 0.10
"""Share of requests of another kind, or with a payload of another size, that makes two runs different ones."""
WITHIN, WITHIN_BYTES = 0.05, 64
"""Sizes that differ by no more are the same: the name of a host or of a file stands in what is sent."""
LEAST = 20
"""Requests of a kind on each side, below which their sizes are not held against each other."""
MOST_NAMED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """What was sent in the measured phase: by kind of request how many, their mean latency (ok ones), payload bytes."""

    counts: Mapping[str, int]
    mean_s: Mapping[str, float]
    sizes: Mapping[str, Sizes]  # in ascending order, of the answered requests


def mix_differences(a: Sent, b: Sent) -> list[Difference]:
    """The kinds of requests and their payloads, as far as they differ beyond what drawing them explains."""
    return [*_kinds(a, b), *_payloads(a, b)]


def _kinds(a: Sent, b: Sent) -> list[Difference]:
    n_a, n_b = sum(a.counts.values()), sum(b.counts.values())
    if not n_a or not n_b:
        return []
    names = sorted({*a.counts, *b.counts}, key=lambda name: -(a.counts.get(name, 0) + b.counts.get(name, 0)))
    share_a, share_b = ({name: side.counts.get(name, 0) / n for name in names} for side, n in ((a, n_a), (b, n_b)))
    if chance_of_counts([(a.counts.get(name, 0), b.counts.get(name, 0)) for name in names]) >= SURE:
        return []
    moved = sum(abs(share_b[name] - share_a[name]) for name in names) / 2.0
    effect = _effect(a, share_a, share_b)
    matters = moved > MANY or effect is None or abs(effect) > LITTLE
    largest = sorted(names, key=lambda name: -abs(share_b[name] - share_a[name]))[:MOST_NAMED]
    shown_a, shown_b = (", ".join(f"{n} {format_share(s[n])}" for n in largest) for s in (share_a, share_b))
    told = "" if effect is None else f", which alone would change the mean latency of A by {effect:+.1%}"
    sentence = f"{format_share(moved)} of the requests are of another kind{told}"
    return [Difference("mix", shown_a, shown_b, matters, sentence)]


def _effect(a: Sent, share_a: Mapping[str, float], share_b: Mapping[str, float]) -> float | None:
    """What B's shares would do to A's mean latency; None when a kind of B was never answered in A."""
    if any(share and name not in a.mean_s for name, share in share_b.items()):
        return None
    before, after = (sum(share * a.mean_s.get(n, 0.0) for n, share in s.items()) for s in (share_a, share_b))
    return after / before - 1.0 if before > 0.0 else None


def chance_of_counts(counts: list[tuple[int, int]]) -> float:
    """Probability of counts that differ so much between two sides that draw from the same shares.

    Pearson's chi-square, rare kinds pooled until 5 are expected of each; its distribution by Wilson & Hilferty (1931).
    """
    n_a, n_b = sum(a for a, _ in counts), sum(b for _, b in counts)
    if not n_a or not n_b:
        return 1.0
    pooled = np.array(_pooled(counts, min(n_a, n_b) / (n_a + n_b)), dtype=np.float64)
    freedom = len(pooled) - 1
    if freedom < 1:
        return 1.0
    expected = pooled.sum(axis=1, keepdims=True) * np.array([n_a, n_b]) / (n_a + n_b)
    chi2 = float((np.square(pooled - expected) / expected).sum())
    spread = 2.0 / (9.0 * freedom)
    z = (math.cbrt(chi2 / freedom) - (1.0 - spread)) / math.sqrt(spread)
    return 1.0 - NormalDist().cdf(z)


def _pooled(counts: list[tuple[int, int]], smaller: float) -> list[tuple[int, int]]:
    """Kinds of which at least 5 are expected on the side with fewer requests; the others together."""
    kept = [each for each in counts if sum(each) * smaller >= 5.0]
    rare = [each for each in counts if sum(each) * smaller < 5.0]
    rest = (sum(a for a, _ in rare), sum(b for _, b in rare))
    if sum(rest) * smaller >= 5.0 or not kept:
        return [*kept, rest]
    kept[-1] = (kept[-1][0] + rest[0], kept[-1][1] + rest[1])
    return kept


# --- payloads ----------------------------------------------------------------------------------------------


def _payloads(a: Sent, b: Sent) -> list[Difference]:
    """One difference for all kinds of requests, which names the one that differs most."""
    found = []
    for name in a.sizes.keys() & b.sizes.keys():
        of_a, of_b = a.sizes[name], b.sizes[name]
        n, m = len(of_a), len(of_b)
        if min(n, m) < LEAST:
            continue
        apart = share_apart(of_a, of_b)
        if apart > max(MANY, math.sqrt(-math.log(SURE / 2.0) / 2.0 * (n + m) / (n * m))):
            found.append((apart, name))
    if not found:
        return []
    apart, name = max(found)
    more = f" (and {len(found) - 1} more kinds)" if len(found) > 1 else ""
    sentence = (
        f"the payloads of {name}{more} have other sizes: {format_share(apart)} of them in one run have no match "
        "in the other"
    )
    return [Difference("payloads", _sizes(a.sizes[name]), _sizes(b.sizes[name]), True, sentence)]


def _sizes(ordered: Sizes) -> str:
    low, middle, high = (format_bytes(float(ordered[round(p * (len(ordered) - 1))])) for p in (0.05, 0.5, 0.95))
    return f"{middle}" if low == high else f"{middle} (90%: {low} … {high})"


def share_apart(a: Sizes, b: Sizes) -> float:
    """The largest difference of two distributions, where sizes within WITHIN and WITHIN_BYTES count as equal; 0..1.

    Kolmogorov's and Smirnov's statistic with that tolerance; both sides in ascending order, none empty. Never larger
    than without it, so that its usual limit holds.
    """
    return max(_larger(a, b), _larger(b, a), 0.0)


def _larger(small: Sizes, large: Sizes) -> float:
    """How much larger the share of `small` up to a size is than that of `large` up to a bit more than this size."""
    up_to = np.unique(small)
    reached = np.searchsorted(small, up_to, side="right") / len(small)
    beyond = np.searchsorted(large, up_to * (1.0 + WITHIN) + WITHIN_BYTES, side="right") / len(large)
    return float((reached - beyond).max())
