"""The figures of a run that is on: counts of all of it, latency and stages of its last seconds."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.model import STAGES, TRANSFER, Split

WINDOW_S = 5.0
_FLUSHED_S = 1.5
"""Rows are written once a second: those of the last five seconds came within so much more."""
_MOST_NAMES = 50
_LONGEST = 200
_MOST_KEPT = 40  # looks
_OTHER = "other"
WHOLE_TRANSFER = "transfer"
"""Stands for the stages of `model.TRANSFER` where they are not known apart."""


@dataclass(frozen=True, slots=True, eq=False)
class _Came:
    """Requests that were seen at one look at one file."""

    at_s: float
    source: str
    done_ns: NDArray[np.int64]
    latency_s: NDArray[np.float64]
    ok: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Recent:
    """`n` requests ended in the window, `n_split` of those settled in it have a server half."""

    n: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    n_split: int
    stages: tuple[tuple[str, float], ...]


class Figures:
    """Takes requests as they are seen, and rows as they are settled. `now_s` is a monotonic clock."""

    def __init__(self) -> None:
        self.ok = self.failed = self.censored = 0
        self._errors: Counter[str] = Counter()
        self._came: deque[_Came] = deque()
        self._newest: dict[str, int] = {}
        self._split: deque[tuple[float, pd.DataFrame]] = deque()

    @property
    def errors(self) -> tuple[tuple[str, int], ...]:
        """What went wrong how often, the most frequent first."""
        return tuple(self._errors.most_common())

    def seen(
        self, now_s: float, source: str, done_ns: NDArray[np.int64], latency_s: NDArray[np.float64],
        what: NDArray[np.object_],
    ) -> None:  # fmt: skip
        """Requests that have ended; `source` is the file they stand in: each may have a clock of its own."""
        if not len(done_ns):
            return
        ok = np.array([each is None for each in what], np.bool_)
        good = int(ok.sum())
        self.ok += good
        self.failed += len(ok) - good
        for name, count in Counter(str(each)[:_LONGEST] for each in what[~ok]).items():
            known = name in self._errors or len(self._errors) < _MOST_NAMES
            self._errors[name if known else _OTHER] += count
        self._newest[source] = max(self._newest.get(source, 0), int(done_ns.max()))
        recent = done_ns > self._newest[source] - round(WINDOW_S * 1e9)
        self._came.append(_Came(now_s, source, done_ns[recent], latency_s[recent], ok[recent]))

    def settled(self, now_s: float, rows: pd.DataFrame) -> None:
        """Ledger rows; those with a server half of requests that are ok count."""
        split = rows[rows["ok"] & (rows["split"] != Split.NONE.value)]
        if len(split):
            late = split["done_ns"] > split["done_ns"].max() - round(WINDOW_S * 1e9)
            self._split.append((now_s, pd.DataFrame(stage_seconds(split[late]))))

    def recent(self, now_s: float, ended: bool) -> Recent:
        """The last seconds; once the load has `ended`, those of its end."""
        self._let_go(now_s, ended)
        inside = [came.done_ns > self._newest[came.source] - round(WINDOW_S * 1e9) for came in self._came]
        good = [came.latency_s[late & came.ok] for came, late in zip(self._came, inside, strict=True)]
        latencies = np.sort(np.concatenate([np.empty(0), *good]))
        n = sum(int(late.sum()) for late in inside)
        n_split, stages = _means([split for _, split in self._split])
        return Recent(n, _rank(latencies, 50), _rank(latencies, 95), _rank(latencies, 99), n_split, stages)

    def _let_go(self, now_s: float, ended: bool) -> None:
        """Forget what is older; after the end nothing is, but what the requests behind it have pushed out."""
        while self._came and not ended and self._came[0].at_s < now_s - WINDOW_S - _FLUSHED_S:
            self._came.popleft()
        while self._split and not ended and self._split[0][0] <= now_s - WINDOW_S:
            self._split.popleft()
        while len(self._came) > _MOST_KEPT:
            self._came.popleft()
        while len(self._split) > _MOST_KEPT:
            self._split.popleft()


def _rank(latencies: NDArray[np.float64], percent: int) -> float | None:
    """The nearest-rank percentile of sorted values; None of nothing."""
    n = len(latencies)
    return float(latencies[-(-n * percent // 100) - 1]) if n else None


def stage_seconds(rows: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """The durations of each stage in ledger rows with a server half, NaN where not known. They add up to the latency:
    where the parts of transfer are not known, the whole of it stands for them under its own name."""
    found = {stage: rows[f"{stage}_s"].to_numpy(np.float64, na_value=np.nan, copy=True) for stage in STAGES}
    whole = np.isnan(found["upload"])
    if whole.any():
        for part in TRANSFER:
            found[part][whole] = np.nan
        found[WHOLE_TRANSFER] = np.where(whole, rows["transfer_s"].to_numpy(np.float64, na_value=np.nan), np.nan)
    return found


def _means(parts: list[pd.DataFrame]) -> tuple[int, tuple[tuple[str, float], ...]]:
    """The mean of each stage that any of the rows has. They add up to the mean latency of the rows."""
    if not parts:
        return 0, ()
    rows = pd.concat(parts)
    known = [stage for stage in (*STAGES, WHOLE_TRANSFER) if stage in rows and rows[stage].notna().any()]
    return len(rows), tuple((stage, float(np.nansum(rows[stage]) / len(rows))) for stage in known)
