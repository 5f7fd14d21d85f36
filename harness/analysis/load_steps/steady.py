"""Whether the requests of one load step are of one kind over time: steady, warming, drifting or unstable.

Latency is looked at as medians of ln latency over a few neighbouring requests each. Stretches on another level are
taken out first (see stretches): at the begin they are a warm-up, in the middle a stall or a bad moment. The rest drifts
when its Theil-Sen slope (Sen, JASA 63, 1968) adds up to more than 5 % over the step and its interval, from a bootstrap
of blocks of residuals, leaves out zero. A step is unstable when the number of requests in flight goes on growing and
fewer are answered than come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.load_steps.outrun import LEAST_REQUESTS, Flags, given_up, outrun
from harness.analysis.load_steps.slope import CONFIDENCE, half_width, slopes
from harness.analysis.load_steps.stretches import Stretch, odd_stretches
from harness.diagnosis import Steadiness
from harness.findings import Estimate
from harness.units import format_count, format_duration

Values = NDArray[np.float64]

_BIN = 5  # requests whose median is one point
_MOST_BINS = 240
_MOST_POINTS = 40  # of the slope
_LEAST_POINTS = 8
_LEAST_DRIFT = 0.05
_LARGE = math.log(3.0)  # nobody believes that to be chance, also where it cannot be told from it
_WIDE = 2.0  # factor: where less would not show, nobody can call a step steady
_BELIEVED = 10.0  # factor: a larger change is a jump, and no line through it says how large
_SEEN = 0.9  # of the step: a slope seen in less of it is told of that part
_MOST_LOST = 0.05  # of the requests: what is left is no sample of them
_SETTLED_BY = 2.0 / 3.0  # of the step: what changes later has not been seen to settle
_AT_BEGIN = 0.05  # of the step: an odd stretch that begins earlier is of its begin
_AT_END = 0.9  # an odd stretch that begins later may be a stall or not
_WORTH_A_WORD = 2.0  # times the margin of an odd stretch in the middle: queues have their ups and downs
_STALLED = 10.0  # times the typical latency without an answer


@dataclass(frozen=True, slots=True)
class Steady:
    """What became of one step, with the figures in a sentence. `drift` is of the part that is on one level."""

    state: Steadiness
    sentence: str
    settled_after_s: float | None = None
    drift: Estimate | None = None


def judge(
    at_s: Values,
    latency_s: Values,
    done_s: Values,
    step_s: float,
    closed_loop: bool,
    changing: bool = False,
    gave_up: Flags | None = None,
) -> Steady:
    """Judge one step from its requests in time order, seconds from the begin of the step.

    `latency_s` is infinite for a failed request, `done_s` NaN (or infinite) for one that never ended. `changing`: the
    load itself changes within the step, so that latency may, too. `gave_up`: the client stopped waiting.
    """
    lost = np.zeros(len(at_s), np.bool_) if gave_up is None else gave_up
    if not closed_loop and step_s > 0.0:
        outran = outrun(at_s, done_s, step_s) or given_up(at_s, latency_s, done_s, lost, step_s)
        if outran is not None:
            return Steady(Steadiness.UNSTABLE, outran)
    if changing:
        return Steady(Steadiness.UNTESTED, "the load changes within the step: not asked whether latency does")
    usable = np.isfinite(latency_s)
    n = int(usable.sum())
    if n < LEAST_REQUESTS or not step_s > 0.0:
        return Steady(Steadiness.UNTESTED, f"needs {LEAST_REQUESTS} answered requests, has {format_count(n)}")
    if lost.sum() > _MOST_LOST * len(lost):
        some = f"{format_count(int(lost.sum()))} of {format_count(len(lost))} requests timed out"
        return Steady(Steadiness.UNTESTED, f"{some}: how long they would have taken is not known")
    return _judged(_points(at_s[usable], latency_s[usable]), step_s)


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """Medians of ln latency of equally many neighbouring requests, with their mean instants; the last few are left out.

    `silent_s` is, for each answer in order of their coming, how long nothing came before it while it was awaited.
    """

    at: Values
    level: Values
    silent_at: Values
    silent_s: Values
    n: int


def _points(at_s: Values, latency_s: Values) -> _Points:
    n = len(at_s)
    size = max(3, min(_BIN, n // 24), -(-n // _MOST_BINS))
    shape = (n // size, size)
    used = shape[0] * size
    logs = np.log(np.maximum(latency_s[:used], 1e-9)).reshape(shape)
    done_s = at_s + latency_s
    order = np.argsort(done_s, kind="stable")
    silent_s = np.minimum(np.diff(done_s[order]), latency_s[order][1:])
    return _Points(at_s[:used].reshape(shape).mean(axis=1), np.median(logs, axis=1), done_s[order][1:], silent_s, n)


def _judged(points: _Points, step_s: float) -> Steady:
    at, n = points.at, points.n
    head, middle, tail = _sorted_out(odd_stretches(points.level), at, step_s)
    ends = [stretch for stretch in (head, tail) if stretch is not None]
    if _is_sloping(at, points.level, ends, middle):
        head, tail, ends = None, None, []
    kept = _without(len(at), [*ends, *middle])
    settled = 0.0 if head is None else _between(at, head.stop)
    if 2.0 * settled < step_s / 2.0:  # what settles ever more slowly does not drift
        kept &= at >= 2.0 * settled
    seen_s = _seen(at[kept], step_s)
    found = _drift(at[kept], points.level[kept], seen_s, n)
    changed = "" if found is None else _changed(found, "the step" if seen_s == step_s else _part(seen_s))
    drift = None if found is None or _is_jump(found) else found
    aside = "".join(f"; {_aside(s, points)}" for s in middle if s.margin >= _WORTH_A_WORD or _is_stall(s, points))
    if tail:
        return Steady(Steadiness.DRIFTING, f"{_last_change(tail, at)}{aside}", None, drift)
    if head is not None and settled > _SETTLED_BY * step_s:
        return Steady(Steadiness.DRIFTING, f"{_head(head, at)}: too late to be called settled{aside}", None, drift)
    if found is not None and _drifts(found):
        before = f" after the first {format_duration(settled)}" if head is not None else ""
        return Steady(Steadiness.DRIFTING, f"{changed}{before}{aside}", None, drift)
    if head is not None:
        return Steady(Steadiness.WARMING, f"{_head(head, at)}, then it was steady{aside}", settled, drift)
    if found is None:
        told = f"too few requests stand for themselves to tell, n = {format_count(n)}"
        return Steady(Steadiness.UNTESTED, f"{told}{aside}")
    if abs(_log(found.value)) > _LARGE:
        return Steady(Steadiness.UNTESTED, f"{changed}: too much to be called steady{aside}", None, drift)
    factor = math.exp(min(50.0, _log(found.high) - _log(found.value)))
    if factor > _WIDE:
        return Steady(Steadiness.UNTESTED, f"{_not_beyond_chance(found.n, factor)}{aside}", None, drift)
    return Steady(Steadiness.STEADY, f"{changed}{aside}", None, drift)


def _without(n: int, stretches: Sequence[Stretch]) -> NDArray[np.bool_]:
    kept = np.ones(n, np.bool_)
    for stretch in stretches:
        kept[stretch.begin : stretch.stop] = False
    return kept


def _is_sloping(at: Values, level: Values, ends: Sequence[Stretch], middle: Sequence[Stretch]) -> bool:
    """Whether one line fits better than a level for each end and one for the rest.

    A slope looks like that, too, with its ends cut off.
    """
    kept = _without(len(at), middle)
    if not ends or np.ptp(at[kept]) <= 0.0:
        return False
    levelled = level.copy()
    for part in (_without(len(at), [*ends, *middle]), *(~_without(len(at), [end]) for end in ends)):
        levelled[part] -= level[part].mean() if part.any() else 0.0
    x, y = at[kept] - at[kept].mean(), level[kept] - level[kept].mean()
    line = y - x * (np.dot(x, y) / np.dot(x, x))
    return float(np.dot(line, line)) < float(np.dot(levelled[kept], levelled[kept]))


def _sorted_out(
    stretches: tuple[Stretch, ...], at: Values, step_s: float
) -> tuple[Stretch | None, list[Stretch], Stretch | None]:
    """The stretch at the begin, those in the middle, the one at the end.

    A queue has to build up: a slow begin may show only a little later.
    """
    middle = list(stretches)
    head = middle.pop(0) if middle and at[middle[0].begin] < _AT_BEGIN * step_s else None
    tail = middle.pop() if middle and middle[-1].stop == len(at) and at[middle[-1].begin] < _AT_END * step_s else None
    return head, middle, tail


def _is_stall(stretch: Stretch, points: _Points) -> bool:
    """Whether for long nothing was answered in a slow stretch, though requests were in flight."""
    inside = slice(*np.searchsorted(points.silent_at, (points.at[stretch.begin], points.at[stretch.stop - 1])))
    silent = points.silent_s[inside]
    usual = math.exp(float(np.median(points.level)))
    return stretch.shift > 0.0 and len(silent) > 0 and float(silent.max()) > _STALLED * usual


def _between(at: Values, position: int) -> float:
    """The instant between two points."""
    return float(at[position - 1 : position + 1].mean())


# --- drift -------------------------------------------------------------------------------------------------


def _seen(at: Values, step_s: float) -> float:
    """The time that the points stand for: the step, or the part of it that they are in."""
    spread_s = float(np.ptp(at)) * len(at) / (len(at) - 1) if len(at) > 1 else 0.0
    return step_s if spread_s >= _SEEN * step_s else spread_s


def _drift(at: Values, level: Values, seen_s: float, n: int) -> Estimate | None:
    """Relative change over the time seen by the Theil-Sen slope, with an interval; None for too few points."""
    group = max(1, len(at) // _MOST_POINTS)
    points = len(at) // group
    if points < _LEAST_POINTS:
        return None
    x = at[: points * group].reshape(points, group).mean(axis=1)
    y = level[: points * group].reshape(points, group).mean(axis=1)
    slope = float(slopes(x, y[None, :])[0])
    residuals = y - slope * x
    residuals = residuals - residuals.mean()
    half = half_width(x, residuals)
    value, low, high = (
        math.expm1(max(-50.0, min(50.0, each * seen_s))) for each in (slope, slope - half, slope + half)
    )
    return Estimate(value, low, high, n, CONFIDENCE)


def _drifts(drift: Estimate) -> bool:
    if drift.value is None or drift.low is None or drift.high is None:
        return False
    return abs(drift.value) > _LEAST_DRIFT and (drift.low > 0.0 or drift.high < 0.0)


# --- sentences ---------------------------------------------------------------------------------------------


def _part(seen_s: float) -> str:
    return f"{format_duration(seen_s)} of the step"


def _changed(drift: Estimate, over: str) -> str:
    n = format_count(drift.n)
    if _is_jump(drift):
        way = "rose" if _log(drift.value) > 0.0 else "fell"
        return f"typical latency {way} by more than a factor of {_BELIEVED:g} over {over}, n = {n}"
    value, low, high = (_percent(each) for each in (drift.value, drift.low, drift.high))
    return f"typical latency changed by {value} over {over} ({low} to {high}), n = {n}"


def _not_beyond_chance(n: int, factor: float) -> str:
    """An interval of many times the value says no more than how much would have been seen."""
    least = f"more than a factor of {factor:.1f}" if factor < _BELIEVED else f"a factor of {_BELIEVED:g} or more"
    shows = f"only a change by {least} would show"
    return f"typical latency did not change beyond chance over the step, n = {format_count(n)}: {shows}"


def _is_jump(drift: Estimate) -> bool:
    return abs(_log(drift.value)) > math.log(_BELIEVED)


def _log(change: float | None) -> float:
    return math.log1p(max(change or 0.0, -1.0 + 1e-9))


def _percent(change: float | None) -> str:
    if change is None:
        return "-"
    most = _BELIEVED - 1.0
    return f"more than {100.0 * most:+,.0f}%" if change > most else f"{100.0 * change:+,.1f}%"


def _times(shift: float) -> str:
    factor = math.exp(min(50.0, abs(shift)))
    return f"{factor:,.1f} times as {'slow' if shift > 0 else 'fast'} as the rest"


def _head(head: Stretch, at: Values) -> str:
    return f"for the first {format_duration(_between(at, head.stop))} latency was {_times(head.shift)}"


def _last_change(stretch: Stretch, at: Values) -> str:
    return (
        f"from {format_duration(_between(at, stretch.begin))} on it was {_times(stretch.shift)}, to the end of the step"
    )


def _aside(stretch: Stretch, points: _Points) -> str:
    begin, end = (format_duration(float(points.at[i])) for i in (stretch.begin, stretch.stop - 1))
    stalled = " (a stall: nothing was answered for long)" if _is_stall(stretch, points) else ""
    return f"from {begin} to {end} it was {_times(stretch.shift)}{stalled}"
