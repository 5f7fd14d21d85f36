"""A new run against the runs of other days: what they predict for it, and whether it is worse than that."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from harness.analysis.comparing import family, words
from harness.analysis.comparing.change_points import LEAST, Floats, change_points
from harness.analysis.comparing.failures import SMALL
from harness.analysis.comparing.paired import ERROR_RATE, TURNED
from harness.analysis.comparing.prediction import LEAST_RUNS, judge_against
from harness.baseline.alike import circumstances, percentile, unlike
from harness.baseline.stored import Stored
from harness.comparison import BaselineFindings, BaselineMetric, Change, RunRef
from harness.errors import RunFolderError
from harness.findings import Verdict
from harness.units import format_count

MOST_RUNS = 100
"""Of more runs the newest are used: older ones say more about the code of that time."""
CONFIDENCE = 0.95
STRICT_LIMIT = 0.15

LeftOut = tuple[str, str]  # (run id, why)


def judge(
    new: Stored,
    runs: Iterable[Stored],
    allowed: float = 0.05,
    strict: bool = False,
    left_out: Sequence[LeftOut] = (),
) -> BaselineFindings:
    """Whether `new` is slower than the comparable ones of `runs` predict, by more than `allowed` (0.05 is 5 %).

    A prediction interval for one more run, at a chance of 5 % of a false alarm over all metrics together. `left_out`
    names runs that could not even be read. With `strict`, a slow-down of 15 % has to be ruled out.
    """
    used, unfit = _comparable(new, runs)
    out = (*left_out, *unfit)
    if new.invalid:
        reason = "the run itself is an invalid measurement: it was not held against others"
        return BaselineFindings(Verdict.INVALID, (reason,), (), out, (), allowed, ())
    values = {name: _values(used, name) for name in _names(new)}
    metrics = _metrics(new, values, allowed)
    verdict, reasons = _verdict(metrics, len(used), allowed, strict)
    refs = tuple(run.run for run in used)
    sentences = (*_sentences(metrics, refs), *_moved(used, values))
    return BaselineFindings(verdict, reasons, refs, out, metrics, allowed, sentences)


def _comparable(new: Stored, runs: Iterable[Stored]) -> tuple[list[Stored], list[LeftOut]]:
    """The newest that stand for the new run, oldest first; the others with the reason."""
    around = circumstances(new)
    used: dict[int, Stored] = {}
    out: list[LeftOut] = []
    for run in sorted(runs, key=lambda each: (-each.run.started_ns, each.run.run_id)):
        if run.run.started_ns in used:  # the same run, named twice
            continue
        try:
            why = unlike(new, around, run)
        except RunFolderError as error:
            why = error.message
        if why is None:
            used[run.run.started_ns] = run
        else:
            out.append((run.run.run_id, why))
        if len(used) == MOST_RUNS:
            break
    return list(reversed(used.values())), out


# --- the metrics -------------------------------------------------------------------------------------------


def _names(new: Stored) -> tuple[str, ...]:
    """The throughput of an open loop is what was asked for, and tells nothing."""
    return ("p50", "p95", *(("throughput",) if new.closed_loop else ()), ERROR_RATE)


def _metrics(new: Stored, values: Mapping[str, Floats], allowed: float) -> tuple[BaselineMetric, ...]:
    weight = family.weights(tuple(values), ERROR_RATE)
    return tuple(
        judge_against(name, runs, _value(new, name), allowed, (1.0 - CONFIDENCE) * weight[name])
        for name, runs in values.items()
    )


def _values(runs: Sequence[Stored], metric: str) -> Floats:
    """Shape (runs,), oldest first; NaN where a run does not know it."""
    return np.array([_value(run, metric) for run in runs], np.float64)


def _value(run: Stored, metric: str) -> float:
    value = run.values[metric]
    if value is None and metric in _LEVELS:
        value = percentile(run, _LEVELS[metric])
    return math.nan if value is None else value


_LEVELS = {"p50": 0.50, "p95": 0.95}


# --- the verdict -------------------------------------------------------------------------------------------


def _verdict(
    metrics: Sequence[BaselineMetric], used: int, allowed: float, strict: bool
) -> tuple[Verdict, tuple[str, ...]]:
    if used < LEAST_RUNS:
        more = LEAST_RUNS - used
        has = f"needs {LEAST_RUNS} comparable baseline runs, has {used}"
        return Verdict.NOT_ENOUGH_DATA, (f"{has}: needs {more} more run{'s' if more > 1 else ''}",)
    for change, verdict in ((Change.WORSE, Verdict.FAILED), (Change.UNKNOWN, Verdict.NOT_ENOUGH_DATA)):
        reasons = tuple(f"{each.metric} {each.reason}" for each in metrics if each.change is change)
        if reasons:
            return verdict, reasons
    if strict:
        open_ = tuple(_not_shown(each) for each in metrics if not ruled_out(each, allowed))
        if open_:
            return Verdict.NOT_ENOUGH_DATA, open_
    return Verdict.PASSED, ()


def ruled_out(found: BaselineMetric, allowed: float, strict_limit: float = STRICT_LIMIT) -> bool:
    """Whether a slow-down of `strict_limit` or more is not what the new run shows, as sure as the limit is."""
    value, typical, limit = found.value, found.typical, found.limit
    if value is None or typical is None or limit is None:
        return False
    if found.metric == ERROR_RATE:
        reach = limit - typical * (1.0 + allowed) - SMALL
        return value + reach <= typical * (1.0 + strict_limit) + SMALL
    if min(value, typical, limit) <= 0.0:
        return False
    sign = -1.0 if found.metric in TURNED else 1.0
    reach = sign * math.log(limit / typical) - math.log1p(allowed)
    return sign * math.log(value / typical) + reach < math.log1p(strict_limit)


def _not_shown(found: BaselineMetric) -> str:
    return f"{found.metric} {found.reason}; a change of {words.change(1.0 + STRICT_LIMIT)} is not ruled out"


def _sentences(metrics: Sequence[BaselineMetric], runs: Sequence[RunRef]) -> tuple[str, ...]:
    """What the runs can tell, or what to do when they are too few."""
    if len(runs) >= LEAST_RUNS:
        seen = [
            f"{each.metric} {words.change(each.limit / each.typical)}"
            for each in metrics
            if each.metric != ERROR_RATE and each.limit and each.typical
        ]
        many = format_count(len(runs))
        return (f"What {many} baseline runs find on another day: a change beyond {' or '.join(seen)}.",) if seen else ()
    one = "One baseline run cannot tell a change of the service from the noise between two runs"
    few = f"{len(runs)} baseline runs tell little of how much runs vary by themselves"
    start = one if len(runs) == 1 else few if runs else "No baseline run is comparable with this one"
    return (f"{start}: keep {LEAST_RUNS}, or compare the two versions in interleaved pairs with `harness ab`.",)


def _moved(used: Sequence[Stored], values: Mapping[str, Floats]) -> Iterator[str]:
    """Runs before and after a change vary more than runs of one thing: so much less is found."""
    for name in _LEVELS:
        enough = int((~np.isnan(values[name])).sum()) >= 2 * LEAST
        found = change_points(values[name], metrics=len(_LEVELS)) if enough else []
        if found:
            first = used[found[-1][0]].run.run_id
            yield (
                f"The {name} of the baseline runs became another one at run {first}, which widens its limit: the runs "
                "from there on alone would find smaller changes."
            )
            return
