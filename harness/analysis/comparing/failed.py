"""The error rate as one of the metrics of a comparison."""

from __future__ import annotations

from harness.analysis.comparing import words
from harness.analysis.comparing.failures import (
    SMALL,
    TRIVIAL,
    Failures,
    FailureTest,
    excess_at_most,
    is_ruled_out,
    usable,
)
from harness.analysis.comparing.family import Tested
from harness.analysis.comparing.spread import LEAST_PAIRS
from harness.comparison import Change, MetricChange
from harness.estimates import Estimate
from harness.units import format_share

UNSUSPICIOUS = 0.05
"""A difference too small to matter is still not `within` when it would be odd by chance: more pairs tell."""


def failure_p(found: FailureTest | None) -> float:
    """The p that enters the family: a difference too small to matter never falls."""
    return 1.0 if found is None or found.excess < TRIVIAL else found.p_value


def failure_change(
    failures: Failures, found: FailureTest | None, test: Tested, alpha: float, strict_limit: float, *, gating: bool
) -> MetricChange:
    """The shares of failed requests over all pairs. Their ratio has no interval: that of the counts would be too narrow
    where runs differ, and nothing says so much as the limit of the difference, which stands in the reason.
    """
    if found is None:
        pairs = len(usable(failures).n_a)
        refusal = f"needs {LEAST_PAIRS} pairs with requests on both sides, has {pairs}"
        nothing = Estimate(None, None, None, pairs, 1.0 - alpha, refusal=refusal)
        return MetricChange(
            "error_rate", "ratio", gating, None, None, nothing, None, None, None, None, None, Change.UNKNOWN, refusal
        )
    none_of_a = "no request of A failed" if found.ratio is None else None
    ratio = Estimate(found.ratio, None, None, found.pairs, 1.0 - alpha, refusal=none_of_a)
    excess = excess_at_most(failures, alpha)
    change = Change.NOT_FOUND
    if test.rejected:
        change = Change.WORSE
    elif found.p_value > UNSUSPICIOUS and (excess < SMALL or is_ruled_out(failures, 1.0 + strict_limit, alpha)):
        change = Change.WITHIN
    return MetricChange(
        "error_rate", "ratio", gating, found.share_a, found.share_b, ratio, None,
        None, None, found.p_value, None, change, _reason(found, change, excess),
    )  # fmt: skip


def _reason(found: FailureTest, change: Change, excess: float) -> str:
    shares = f"{format_share(found.share_b)} of the requests of B failed, {format_share(found.share_a)} of A"
    if change is Change.WORSE:
        why = "in every run more than in any of A" if found.plain else f"by chance only with p = {found.p_value:.2g}"
        return f"{shares}: {why}"
    points = f"at most {words.points(excess)} percentage points more"
    return f"{shares}: {points}" if change is Change.WITHIN else f"{shares}: not clearly more, {points}"
