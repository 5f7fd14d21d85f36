"""The interval of a difference or a ratio of two independent figures, from the interval of each.

MOVER, the method of variance estimates recovery (Zou & Donner, Statistics in Medicine 27, 2008): with a in (la, ua) and
b in (lb, ub),

    b - a  from  (b - a) - sqrt((b - lb)^2 + (ua - a)^2)  to  (b - a) + sqrt((ub - b)^2 + (a - la)^2)

which keeps the skew that the intervals of durations have. A ratio is a difference of logarithms. Two runs that drew the
same arrivals are not quite independent: their difference is then known better than this says, never worse.
"""

from __future__ import annotations

import math

from harness.estimates import Estimate


def difference(a: Estimate, b: Estimate) -> Estimate:
    """b - a; n is that of the smaller side. A limit that depends on an unknown one is None."""
    if a.value is None or b.value is None:
        return unknown(a, b)
    change = b.value - a.value
    down = _reach(_gap(b.low, b.value), _gap(a.value, a.high))
    up = _reach(_gap(b.value, b.high), _gap(a.low, a.value))
    low = None if down is None else change - down
    high = None if up is None else change + up
    return Estimate(change, low, high, min(a.n, b.n), min(a.confidence, b.confidence))


def ratio(a: Estimate, b: Estimate) -> Estimate:
    """b / a of figures that are not negative; refused where one of them is zero."""
    if a.value is None or b.value is None:
        return unknown(a, b)
    if a.value <= 0.0 or b.value <= 0.0:
        which = "both are" if a.value <= 0.0 and b.value <= 0.0 else "A is" if a.value <= 0.0 else "B is"
        return _refused(a, b, f"{which} zero, which has no ratio")
    logs = difference(_logarithm(a), _logarithm(b))
    value, low, high = (None if x is None else _exp(x) for x in (logs.value, logs.low, logs.high))
    return Estimate(value, low, high if high is None or math.isfinite(high) else None, logs.n, logs.confidence)


def unknown(a: Estimate, b: Estimate) -> Estimate:
    """No value, with the reason of each side that has none."""
    if a.value is None and b.value is None and a.refusal == b.refusal:
        return _refused(a, b, f"both: {a.refusal or 'not known'}")
    sides = (("A", a), ("B", b))
    return _refused(a, b, "; ".join(f"{name}: {x.refusal or 'not known'}" for name, x in sides if x.value is None))


def tells(change: Estimate, nothing: float = 0.0) -> int:
    """1 when the interval lies above `nothing`, -1 when below, 0 when it does not tell."""
    if change.value is None:
        return 0
    if change.low is not None and change.low > nothing:
        return 1
    return -1 if change.high is not None and change.high < nothing else 0


def _refused(a: Estimate, b: Estimate, refusal: str) -> Estimate:
    return Estimate(None, None, None, min(a.n, b.n), min(a.confidence, b.confidence), refusal=refusal)


def _gap(lower: float | None, upper: float | None) -> float | None:
    return None if lower is None or upper is None else max(0.0, upper - lower)


def _reach(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else math.hypot(one, other)


def _logarithm(found: Estimate) -> Estimate:
    """In logarithms; a limit that is not above zero is none."""
    value, low, high = (None if x is None or x <= 0.0 else math.log(x) for x in (found.value, found.low, found.high))
    return Estimate(value, low, high, found.n, found.confidence)


def _exp(x: float) -> float:
    return math.exp(x) if x < 700.0 else math.inf
