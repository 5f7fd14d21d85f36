"""Figures for the eye while a run goes on: counts, and latency percentiles of roughly the last five seconds.

Ten windows of half a second, each keeping at most 2,000 latencies: a percentile of at most 20,000 numbers costs a
fraction of a millisecond twice a second, whatever the rate. Verdicts never come from here, they come from the raw rows.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WINDOWS = 10
_KEPT = 2000
_MAX_ERRORS = 50  # distinct names
_OUT_OF_RESOURCES = ("out of file descriptors", "out of local ports")


class _Window:
    __slots__ = ("answers", "latencies", "since_ns")

    def __init__(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self.answers = 0
        self.latencies = array("q")


class Live:
    """Counts of one load process. Instants are monotonic ns."""

    def __init__(self, now_ns: int) -> None:
        self.sent = 0
        self.ok = 0
        self.failed = 0
        self.censored = 0
        self.answers = 0
        self.kernel_stamped = 0
        self.errors: Counter[str] = Counter()
        self._windows: deque[_Window] = deque([_Window(now_ns)], maxlen=_WINDOWS)
        self._current = self._windows[0]
        _quantiles(np.arange(3))  # numpy loads what it needs for that at its first use: tens of milliseconds

    def count(self, latency_ns: int, what: str | None, censored: bool, kernel: bool) -> None:
        """One finished request; `what` names its failure, None when it is ok."""
        if censored:
            self.censored += 1
            return
        window = self._current
        window.answers += 1
        self.answers += 1
        self.kernel_stamped += kernel
        if what is not None:
            self.failed += 1
            if what in self.errors or len(self.errors) < _MAX_ERRORS or what in _OUT_OF_RESOURCES:
                self.errors[what] += 1
            else:
                self.errors["other"] += 1
            return
        self.ok += 1
        kept = window.latencies
        if len(kept) < _KEPT:
            kept.append(latency_ns)
        else:  # the newest replace the oldest in turn
            kept[window.answers % _KEPT] = latency_ns

    @property
    def out_of_resources(self) -> int:
        """Requests that this machine could not even send: it had no descriptor or no local port left for them."""
        return sum(self.errors[name] for name in _OUT_OF_RESOURCES)

    def turn(self, now_ns: int) -> dict[str, Any]:
        """The figures now, and begin the next window."""
        p50, p95 = _quantiles(np.concatenate([np.frombuffer(w.latencies, dtype=np.int64) for w in self._windows]))
        span_s = (now_ns - self._windows[0].since_ns) / 1e9
        rate = sum(w.answers for w in self._windows) / span_s if span_s > 0 else 0.0
        self._current = _Window(now_ns)
        self._windows.append(self._current)
        return {
            **self.totals(),
            "rate_per_s": round(rate, 3),
            "p50_s": p50,
            "p95_s": p95,
        }

    def totals(self) -> dict[str, Any]:
        """Counts since the start."""
        return {
            "sent": self.sent,
            "ok": self.ok,
            "failed": self.failed,
            "censored": self.censored,
            "errors": dict(self.errors.most_common()),
        }


def _quantiles(latencies: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """The nearest-rank p50 and p95 of latencies in ns, in seconds; None of nothing."""
    n = len(latencies)
    if n == 0:
        return None, None
    ranks = (n - 1) // 2, -(-n * 19 // 20) - 1
    p50, p95 = np.partition(latencies, ranks)[list(ranks)]
    return float(p50) / 1e9, float(p95) / 1e9
