"""Doubts about the clocks: contradiction, drift, and bounds too wide to tell upload from download."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.clock import ClockOffset
from harness.model import RunWarning
from harness.spans.hops import NOT_MOVED, Moved
from harness.units import format_count, format_duration

MUCH_DRIFT_PPM = 20.0
"""Quartz clocks that are kept in step drift less."""
COARSE = 0.20
"""Upload and download that may be off by so much of the median transfer are better not told apart."""

Offsets = Sequence[tuple[str | None, ClockOffset | None]]


def find(offsets: Offsets, split_rows: pd.DataFrame, moved: Moved = NOT_MOVED) -> list[RunWarning]:
    """Warnings about the offsets of one run; `moved` says which callees had another clock than their callers."""
    known = [offset for _, offset in offsets if offset is not None]
    contradiction = _contradiction(known)
    coarse = None if contradiction else _coarse(known, split_rows)
    checks = (contradiction, _steps(known), _drift(known), coarse, _callees(moved))
    return [warning for warning in checks if warning is not None]


def are_coarse(warnings: Sequence[RunWarning]) -> bool:
    """Whether upload and download are not to be told apart."""
    return any(warning.code in ("coarse_clock", "clock_contradiction") for warning in warnings)


def _contradiction(known: Sequence[ClockOffset]) -> RunWarning | None:
    worst = max((offset.contradiction_ns for offset in known), default=0)
    if worst == 0:
        return None
    return RunWarning(
        "clock_contradiction",
        f"no single clock offset fits all requests: they disagree by {format_duration(worst / 1e9)}",
        "a clock was stepped or drifts, or a process was held up while it read it (an overloaded machine); trust "
        "transfer as a whole, not upload and download apart",
    )


def _callees(moved: Moved) -> RunWarning | None:
    if moved.calls == 0:
        return None
    return RunWarning(
        "callee_clock",
        f"{format_count(moved.calls)} calls from one service to another lie outside the spans that made them, so their "
        f"clocks differ: what the callee recorded was moved by up to {format_duration(moved.farthest_ns / 1e9)}",
        "how long its stages took is right, when they began inside the call is a guess: synchronise the hosts' clocks",
    )


def _steps(known: Sequence[ClockOffset]) -> RunWarning | None:
    most = max((len(offset.pieces) for offset in known), default=1)
    if most < 2:
        return None
    return RunWarning(
        "clock_steps",
        f"no steady drift fits the clocks of client and service: they are followed in {most} stretches",
        "a clock was set or corrected during the run; upload and download are right within the bound, which is wider "
        "for it: let the time service settle before a run",
    )


def _drift(known: Sequence[ClockOffset]) -> RunWarning | None:
    worst = max((offset.drift_ppm for offset in known), key=abs, default=0.0)
    if abs(worst) <= MUCH_DRIFT_PPM:
        return None
    per_minute = format_duration(abs(worst) * 60e-6)
    return RunWarning(
        "clock_drift",
        f"the service's clock runs {abs(worst):.3g} ppm {'fast' if worst > 0 else 'slow'} against ours, "
        f"{per_minute} a minute: taken out",
        "keep both machines in step with one time server (chrony, ntpd); a clock that is being corrected drifts, too",
    )


def _coarse(known: Sequence[ClockOffset], split_rows: pd.DataFrame) -> RunWarning | None:
    bound_s = max((offset.bound_ns for offset in known), default=0) / 1e9
    apart = split_rows[split_rows["upload_s"].notna()]
    if apart.empty or 2.0 * bound_s <= COARSE * float(apart["transfer_s"].median()):
        return None
    return RunWarning(
        "coarse_clock",
        f"upload and download are known only within ±{format_duration(bound_s)}: read transfer as a whole",
        "the bound is half of what the fastest exchange leaves open; some requests with a tiny body and a quick answer "
        "in the mix narrow it, and so does a service on this host",
    )
