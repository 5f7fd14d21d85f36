"""Which stage changed, over pairs of runs, and which one to name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.analysis.comparing import words
from harness.analysis.comparing.spread import LEAST_PAIRS, spread_of
from harness.comparison import Blame, StageChange
from harness.estimates import Estimate
from harness.model import TRANSFER

Floats = NDArray[np.float64]

WAITS = ("queue", "queue_est", "backlog")
"""They grow because something else does: named only where nothing that works changed."""
_TIERS: tuple[tuple[str, ...], ...] = (
    ("preprocess", "inference", "postprocess", "other"),
    (*TRANSFER, "unsplit"),
    ("transfer",),
    WAITS,
)
"""The service's own work comes before the way to it: an upload also waits for a service that is busy."""
MATTERS = 0.1
"""A stage that explains less of the change of the latency than this is passed over for one that explains more."""
ALSO = 0.3
"""A second stage is named beside the first if its change is at least so large a part of the first one's."""


def stage_changes(
    a_s: Mapping[str, Floats], b_s: Mapping[str, Floats], latency_a: Floats, latency_b: Floats, confidence: float
) -> tuple[StageChange, ...]:
    """The change of each stage's mean over the pairs, with Student's interval at `confidence`.

    Each stage, and the latency, has shape (pairs,): the mean of a run in seconds, NaN where not known. A stage has a
    share of the latency's change only where that is clearly not zero.
    """
    whole = spread_of(_differences(latency_a, latency_b))
    tail = (1.0 - confidence) / 2.0
    is_clear = whole is not None and whole.limit(tail, upper=False) * whole.limit(tail, upper=True) > 0.0
    whole_s = whole.mean if whole is not None and is_clear else None
    return tuple(_stage_change(stage, a_s[stage], b_s[stage], whole_s, confidence) for stage in a_s if stage in b_s)


def _differences(a: Floats, b: Floats) -> Floats:
    known = np.isfinite(a) & np.isfinite(b)
    return np.asarray(b[known] - a[known], np.float64)


def _stage_change(stage: str, a: Floats, b: Floats, whole_s: float | None, confidence: float) -> StageChange:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    known = np.isfinite(a) & np.isfinite(b)
    difference = _differences(a, b)
    n, spread = len(difference), spread_of(difference)
    if n == 0:
        nothing = Estimate(None, None, None, 0, confidence, refusal="not known on both sides of any pair")
        return StageChange(stage, None, None, nothing, None, stage not in WAITS)
    mean = float(difference.mean())
    if spread is None:
        refusal = f"needs {LEAST_PAIRS} pairs, has {n}"
        change = Estimate(mean, None, None, n, confidence, refusal=refusal)
    else:
        tail = (1.0 - confidence) / 2.0
        change = Estimate(mean, spread.limit(tail, upper=False), spread.limit(tail, upper=True), n, confidence)
    share = mean / whole_s if whole_s is not None else None
    return StageChange(stage, float(a[known].mean()), float(b[known].mean()), change, share, stage not in WAITS)


def blame(stages: Sequence[StageChange], models: Sequence[StageChange]) -> Blame | None:
    """The stage that clearly takes longer on B; None when none does. For a change that is for the worse.

    Work comes before waits, because a queue grows when the work behind it does, and by more than the work.
    """
    slower = sorted((each for each in stages if _low(each) > 0.0), key=_value, reverse=True)
    tiers = [[each for each in slower if each.stage in tier] for tier in _TIERS]
    found = [tier for tier in tiers if tier]
    if not found:
        return None
    telling = [tier for tier in found if tier[0].share is None or tier[0].share >= MATTERS]
    best, *others = (telling or found)[0]
    model = _model(models) if best.stage == "inference" else None
    also = [each for each in others if _value(each) >= ALSO * _value(best)]
    waits = [each for each in tiers[-1] if each is not best] if best.works else []
    return Blame(best.stage, model, best.change, best.share, _sentence(best, model, also, waits))


def _model(models: Sequence[StageChange]) -> str | None:
    """The one whose time grew most among those whose grew clearly."""
    slower = [each for each in models if _low(each) > 0.0]
    return max(slower, key=_value).stage if slower else None


def _low(each: StageChange) -> float:
    return -math.inf if each.change.low is None else each.change.low


def _value(each: StageChange) -> float:
    return 0.0 if each.change.value is None else each.change.value


def _sentence(best: StageChange, model: str | None, also: Sequence[StageChange], waits: Sequence[StageChange]) -> str:
    low, high = best.change.low or 0.0, best.change.high or 0.0
    name = f"{best.stage} (most of all {model})" if model else best.stage
    verb = "takes" if best.works else "waits"
    said = f"{name} {verb} {words.more(_value(best))} a request ({words.more(low)} to {words.more(high)})"
    if best.share is not None and 0.0 < best.share <= 1.0:
        said += f", {words.percent(round(best.share, 2))} of the change of the mean latency"
    if also:
        said += "; " + _listed(also) + " as well"
    if waits:
        said += "; " + _listed(waits) + " as a consequence"
    return f"{said}."


def _listed(stages: Sequence[StageChange]) -> str:
    return " and ".join(f"{each.stage} {words.more(_value(each))}" for each in stages)
