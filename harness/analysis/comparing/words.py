"""Ratios and times as people read them."""

from __future__ import annotations

import math

from harness.estimates import Estimate
from harness.units import format_duration


def change(ratio: float | None) -> str:
    """1.123 -> "+12.3%", 3.2 -> "3.2 times"."""
    if ratio is None or not math.isfinite(ratio):
        return "any number of times"
    if ratio > 1_000.0:  # limits of hardly any pairs
        return "over 1,000 times"
    if ratio >= 3.0:
        return f"{ratio:.3g} times"
    shown = f"{(ratio - 1.0) * 100.0:+.1f}%"
    return "0.0%" if shown in ("-0.0%", "+0.0%") else shown


def changed(ratio: Estimate) -> str:
    """`+10.0% (+7.1% to +13.0%)`; without a second part where there is no interval."""
    if ratio.low is None or ratio.high is None:
        return change(ratio.value)
    return f"{change(ratio.value)} ({change(ratio.low)} to {change(ratio.high)})"


def percent(share: float) -> str:
    """0.05 -> "5%"; no more digits than it has."""
    return f"{share * 100.0:.4g}%"


def more(seconds: float) -> str:
    """0.0123 -> "+12.3 ms"."""
    return f"{'-' if seconds < 0 else '+'}{format_duration(abs(seconds))}"


def points(share: float) -> str:
    """0.0123 -> "1.2": percentage points."""
    found = max(0.0, share) * 100.0
    return f"{found:.0f}" if found >= 10.0 else f"{found:.2g}"
