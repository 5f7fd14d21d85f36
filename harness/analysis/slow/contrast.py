"""What slow requests have in common and typical ones do not.

Slow are the requests from the p95 on, typical those between the quartiles. Each attribute is tested once; an attribute
is shown when its effect is large and its p-value survives the control of false discoveries over all attributes tested.
Neighbouring requests share their fate, so the p-values are those of the effective number of requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.slow import contrast_words as words
from harness.analysis.slow.association import (
    Counts,
    cliffs_delta,
    cuts,
    delta_p,
    discoveries,
    divergence,
    gap_p,
    share_p,
    weights,
)
from harness.analysis.statistics.quantiles import quantile
from harness.diagnosis import Contrast

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

SHOWN = 5
FALSE_DISCOVERIES = 0.01
LEAST_SLOW = 10
"""Fewer slow (or typical) requests of which an attribute is known say nothing about it."""
LEAST_DELTA = 0.3
LEAST_RATIO, LEAST_DIFFERENCE = 1.5, 0.15
"""Of the share among slow requests against that among typical ones."""
_FITTED = 0.02  # a cut was chosen among many: of two that are nearly equal the kind comes first
_FEW = 12
_MOST_KINDS = 100  # a name for every request is no kind


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    latency: Floats
    slow: Flags
    typical: Flags
    weight: Callable[[Floats], float]  # what each request is worth beside a series of requests that have something

    def p_value(self, of_weight: Callable[[float], float], has: Flags) -> float:
        """The p-value of what `has` says; looking for memory is spared where there is nothing to believe without it."""
        p_value = of_weight(1.0)
        if p_value <= FALSE_DISCOVERIES:
            p_value = of_weight(self.weight(has.astype(np.float64)))
        return min(1.0, p_value)


@dataclass(frozen=True, slots=True, eq=False)
class _Tested:
    """An attribute and the value of it that tells slow from typical requests best. `has` is of all requests."""

    attribute: str
    value: words.Value
    counts: Counts
    has: Flags
    known: Flags
    effect: float
    p_value: float
    large: bool

    @property
    def rank(self) -> tuple[bool, float]:
        """What comes first is smallest: causes before symptoms, then by how much the shares differ."""
        slow, slow_of, typical, typical_of = self.counts
        fitted = _FITTED if isinstance(self.value, words.Cut) else 0.0
        return self.attribute in words.SYMPTOMS, fitted + typical / typical_of - slow / slow_of


def contrasts(rows: pd.DataFrame, attributes: pd.DataFrame) -> tuple[Contrast, ...]:
    """At most five contrasts of ledger rows in time order; `attributes` has a row for each, in the same order.

    The largest difference in shares comes first, and what merely goes with a queue behind all others.
    """
    groups = _grouped(rows["latency_s"].to_numpy(dtype=np.float64))
    if groups is None:
        return ()
    tested = [t for name in attributes.columns if (t := _test(str(name), attributes[name], groups)) is not None]
    believed = discoveries([t.p_value for t in tested], FALSE_DISCOVERIES)
    shown = [t for t, is_real in zip(tested, believed, strict=True) if is_real and t.large]
    return tuple(_contrast(t, groups.latency) for t in sorted(shown, key=lambda t: t.rank)[:SHOWN])


def _grouped(latency: Floats) -> _Groups | None:
    finite = np.isfinite(latency)
    if finite.sum() < 20 * LEAST_SLOW:
        return None
    ordered = np.sort(latency[finite])
    first, third, p95 = (quantile(ordered, p) for p in (0.25, 0.75, 0.95))
    if p95 <= third:
        return None
    slow = finite & (latency >= p95)
    return _Groups(latency, slow, (latency >= first) & (latency <= third), weights(slow.astype(np.float64)))


def _contrast(tested: _Tested, latency: Floats) -> Contrast:
    finite = np.isfinite(latency)
    having, others = latency[finite & tested.has], latency[finite & tested.known & ~tested.has]
    with_s, without_s = float(having.mean()), float(others.mean()) if len(others) else None
    slow, slow_of, typical, typical_of = tested.counts
    return Contrast(
        attribute=tested.attribute,
        value=words.value_text(tested.attribute, tested.value),
        slow=slow,
        slow_of=slow_of,
        typical=typical,
        typical_of=typical_of,
        effect=tested.effect,
        p_value=tested.p_value,
        with_s=with_s,
        without_s=without_s,
        sentence=words.sentence(tested.attribute, tested.value, tested.counts, with_s, without_s),
    )


# --- one attribute -----------------------------------------------------------------------------------------


def _test(attribute: str, column: pd.Series, groups: _Groups) -> _Tested | None:
    """The attribute tested; None where it is not known of enough requests, or the same in all of them."""
    known = column.notna().to_numpy()
    if min((known & groups.slow).sum(), (known & groups.typical).sum()) < LEAST_SLOW:
        return None
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return _test_kinds(attribute, column, known, groups)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if attribute in words.FIXED and len(np.unique(values[known])) <= _FEW:
        return _test_kinds(attribute, column, known, groups)
    return _test_numbers(attribute, values, known, groups)


def _test_numbers(attribute: str, values: Floats, known: Flags, groups: _Groups) -> _Tested | None:
    slow, typical = values[known & groups.slow], values[known & groups.typical]
    delta, error = cliffs_delta(slow, typical)
    if error == 0.0:
        return None
    number, gap = cuts(slow, typical, delta >= 0.0)
    value = words.Cut(number, delta >= 0.0)
    has = known & (values >= number if value.or_more else values <= number)
    p_value = groups.p_value(
        lambda weight: 2.0 * min(delta_p(delta, error, weight), gap_p(gap, len(slow), len(typical), weight)), has
    )
    counts = _counts(has, known, groups)
    return _Tested(
        attribute, value, counts, has, known, delta, p_value, large=abs(delta) >= LEAST_DELTA or _is_large(counts)
    )


def _test_kinds(attribute: str, column: pd.Series, known: Flags, groups: _Groups) -> _Tested | None:
    codes, kinds = pd.factorize(column)
    kept = len(kinds)
    slow, typical = (
        np.bincount(codes[known & group], minlength=kept).astype(np.float64) for group in (groups.slow, groups.typical)
    )
    if kept < 2:
        return None
    most = np.argsort(-(slow + typical), kind="stable")[:_MOST_KINDS]
    p, q = slow / slow.sum(), typical / typical.sum()
    best = int(most[np.argmax(p[most] - q[most])])
    has = codes == best
    counts = _counts(has, known, groups)
    p_value = groups.p_value(lambda weight: share_p(counts, weight) * len(most), has)
    effect = divergence(p, q) * float(known.mean())
    return _Tested(attribute, words.Kind(kinds[best]), counts, has, known, effect, p_value, _is_large(counts))


def _counts(has: Flags, known: Flags, groups: _Groups) -> Counts:
    slow, typical = known & groups.slow, known & groups.typical
    return int((has & slow).sum()), int(slow.sum()), int((has & typical).sum()), int(typical.sum())


def _is_large(counts: Counts) -> bool:
    slow, slow_of, typical, typical_of = counts
    one, other = slow / slow_of, typical / typical_of
    return one >= LEAST_RATIO * other and one - other >= LEAST_DIFFERENCE
