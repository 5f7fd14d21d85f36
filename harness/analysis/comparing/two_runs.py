"""Two stored runs side by side: each figure of one against that of the other, with what their requests allow to say.

The intervals are of the requests: each side's own, on its effective sample size, put together by MOVER. How much two
runs of the same thing differ is in none of them, so no change found here is evidence that the code is slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pandas as pd

from harness.analysis.comparing import compare_words
from harness.analysis.comparing.mover import difference, ratio, tells, unknown
from harness.analysis.comparing.shift import levels
from harness.analysis.comparing.tail_delta import AtP95, at_p95
from harness.analysis.load_steps.steps import share_of
from harness.analysis.stages import ORDER
from harness.analysis.statistics.quantiles import estimate_mean
from harness.comparison import Change, MetricChange, StageChange
from harness.estimates import Estimate, LatencyFindings

LATENCY = "latency"
"""The last row of the stages: what they add up to."""
MOST_MODELS = 20
_OF_LATENCY = ("p50", "p95", "p99", "mean")
_Compared: TypeAlias = Callable[[Estimate, Estimate], Estimate]


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What a comparison needs of one run; small, whatever the run's size.

    `failed` is the share of the due requests that are not ok, `count` their number; `stages` are means over the
    requests with a server half, ending with LATENCY, empty where nothing may be said about stages (`silence` says why);
    `models` are means per request of that set, None where no call is known.
    """

    latency: LatencyFindings
    failed: Estimate
    count: int
    completed_per_s: Estimate
    stages: tuple[tuple[str, Estimate], ...]
    models: tuple[tuple[str, Estimate], ...] | None
    levels: tuple[Estimate, ...]
    tail: AtP95 | str
    silence: str | None


def side(
    due: pd.DataFrame,
    latency: LatencyFindings,
    rows: pd.DataFrame,
    calls: pd.DataFrame,
    completed_per_s: float | None,
    silence: str | None,
) -> Side:
    """Of one run: `due` are the requests of the measured phase in time order (ok, latency_s, step, scheduled_ns),
    `rows` the ledger rows with a server half and `calls` the model calls; rows of `model.ModelCall`.
    """
    ok, steps = due["ok"].to_numpy(np.bool_), due["step"].to_numpy(np.int64)
    series = np.where(ok, due["latency_s"], np.inf).astype(np.float64)
    if silence is None and rows.empty:
        silence = "no request has a server half"
    rows = rows if silence is None else rows.iloc[:0]
    return Side(
        latency=latency,
        failed=share_of(~ok) if len(ok) else Estimate(None, None, None, 0, refusal="no request was due"),
        count=int((~ok).sum()),
        completed_per_s=_completed(due, completed_per_s),
        stages=_stages(rows),
        models=_models(rows, calls),
        levels=levels(series, steps),
        tail=at_p95(rows),
        silence=silence,
    )


def _completed(due: pd.DataFrame, per_s: float | None) -> Estimate:
    """Ok answers per second, with the interval of the count per second of schedule (whole seconds of each step)."""
    n = int(due["ok"].sum())
    if per_s is None:
        return Estimate(None, None, None, len(due), refusal="nothing was measured")
    if not n:
        return Estimate(0.0, None, None, len(due))
    counts, steps = [], []
    for step, part in due.groupby("step"):
        at = part["scheduled_ns"].to_numpy(np.int64)
        second = (at - at.min()) // 1_000_000_000
        whole = np.bincount(second, weights=part["ok"].to_numpy(np.float64))[:-1]
        counts.append(whole)
        steps.append(np.full(len(whole), step, np.int64))
    found = estimate_mean(np.concatenate(counts), strata=np.concatenate(steps))
    if not found.value or found.low is None or found.high is None:
        return Estimate(per_s, None, None, n)
    return Estimate(per_s, per_s * found.low / found.value, per_s * found.high / found.value, n)


def _stages(rows: pd.DataFrame) -> tuple[tuple[str, Estimate], ...]:
    """The mean of each stage that is known of every request, in ORDER, and that of the latency."""
    if rows.empty:
        return ()
    steps = rows["step"].to_numpy(np.int64)
    found = []
    for stage in (*ORDER, LATENCY):
        values = rows[f"{stage}_s"].to_numpy(np.float64)
        if stage == "queue_est" and not np.isnan(values).all():
            values = np.nan_to_num(values)  # a request without an estimate has that wait in its upload
        if not np.isnan(values).any():
            found.append((stage, estimate_mean(values, strata=steps)))
    return tuple(found)


def _models(rows: pd.DataFrame, calls: pd.DataFrame) -> tuple[tuple[str, Estimate], ...] | None:
    """Seconds of each model per request, the most expensive ones; a request that never called it counts as zero."""
    place = pd.Series(np.arange(len(rows)), index=rows["request_id"])
    position = place.reindex(calls["request_id"]).to_numpy(np.float64)
    of_rows = ~np.isnan(position) & calls["model"].notna().to_numpy()
    if not of_rows.any():
        return None
    position = position[of_rows].astype(np.int64)
    model_of, names = pd.factorize(calls["model"].to_numpy(object)[of_rows])
    seconds = calls["duration_s"].to_numpy(np.float64)[of_rows]
    totals = np.bincount(model_of, seconds)
    steps = rows["step"].to_numpy(np.int64)
    found = []
    for k in np.argsort(-totals, kind="stable")[:MOST_MODELS].tolist():
        mine = model_of == k
        per_request = np.bincount(position[mine], seconds[mine], minlength=len(rows)).astype(np.float64)
        found.append((str(names[k]), estimate_mean(per_request, strata=steps)))
    return tuple(found)


# --- both sides --------------------------------------------------------------------------------------------


def metrics(a: Side, b: Side) -> tuple[MetricChange, ...]:
    """The whole request: percentiles with failed requests as slowest, the mean of the answered ones, failures, rate."""
    found = [
        _metric(name, "s", getattr(a.latency, name), getattr(b.latency, name), ratio) for name in _OF_LATENCY
    ]  # fmt: skip
    found.append(_metric("error_rate", "ratio", a.failed, b.failed, _failures))
    found.append(_metric("throughput", "1/s", a.completed_per_s, b.completed_per_s, _rates))
    return tuple(found)


def _metric(name: str, unit: str, a: Estimate, b: Estimate, compared: _Compared) -> MetricChange:
    found = compared(a, b)
    return MetricChange(
        metric=name, unit=unit, gating=False, a=a.value, b=b.value, ratio=found, at_most=None, at_least=None,
        detectable=None, p_value=None, sign_flip_p=None, change=Change.UNKNOWN,
        reason=compare_words.metric_reason(name, found, a, b),
    )  # fmt: skip


def _failures(a: Estimate, b: Estimate) -> Estimate:
    if a.value == 0.0 and b.value == 0.0:
        return Estimate(None, None, None, min(a.n, b.n), refusal="no request failed")
    return ratio(a, b)


def _rates(a: Estimate, b: Estimate) -> Estimate:
    """A / B: less is worse."""
    found = ratio(a, b)
    value, low, high = (None if x is None or x <= 0.0 else 1.0 / x for x in (found.value, found.high, found.low))
    return replace(found, value=value, low=low, high=high)


def stages(a: Side, b: Side) -> tuple[StageChange, ...]:
    """The mean of each stage, B less A, ending with LATENCY; none where one side may not be asked about stages.

    Parts of transfer stand below it; the others add up to the change of LATENCY. Shares only where that is known to
    have changed.
    """
    if not a.stages or not b.stages:
        return ()
    of_a, of_b = dict(a.stages), dict(b.stages)
    whole = difference(of_a[LATENCY], of_b[LATENCY])
    found = []
    for stage in (*ORDER, LATENCY):
        mean_a, mean_b = of_a.get(stage), of_b.get(stage)
        if not any(mean is not None and mean.value for mean in (mean_a, mean_b)):
            continue  # of neither run
        found.append(_changed(stage, mean_a, mean_b, whole, works=stage not in (*compare_words.WAITING, LATENCY)))
    return tuple(found)


def models(a: Side, b: Side) -> tuple[StageChange, ...]:
    """Each model of the chain, seconds per request, B less A, the largest change first.

    A model that one side never called took no time there, if that side told of any call.
    """
    if a.models is None or b.models is None or not a.stages or not b.stages:
        return ()
    of_a, of_b = dict(a.models), dict(b.models)
    all_a, all_b = dict(a.stages)[LATENCY], dict(b.stages)[LATENCY]
    whole = difference(all_a, all_b)
    never_a, never_b = _uncalled(of_a, all_a.n), _uncalled(of_b, all_b.n)
    found = [
        _changed(name, of_a.get(name, never_a), of_b.get(name, never_b), whole, works=True)
        for name in dict.fromkeys([*of_a, *of_b])
    ]
    return tuple(sorted(found, key=lambda model: -abs(model.change.value or 0.0))[:MOST_MODELS])


def _uncalled(models: Mapping[str, Estimate], n: int) -> Estimate | None:
    """What a model that is not listed took: nothing, unless the list ends before the cheap ones."""
    return Estimate(0.0, 0.0, 0.0, n) if len(models) < MOST_MODELS else None


def _changed(name: str, a: Estimate | None, b: Estimate | None, whole: Estimate, *, works: bool) -> StageChange:
    nothing = Estimate(None, None, None, 0, refusal="not known for every request")
    mean_a, mean_b = a or nothing, b or nothing
    change = difference(mean_a, mean_b) if a and b else unknown(mean_a, mean_b)
    known = tells(whole) != 0 and whole.value and change.value is not None
    share = change.value / whole.value if known and change.value is not None and whole.value else None
    return StageChange(name, mean_a.value, mean_b.value, change, share, works)
