"""What has been counted of a run so far: distributions of latency and of stages, with a request as example in each
bucket. The size is bounded, whatever a service answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import RunFolderError
from harness.following import Seen
from harness.following.figures import stage_seconds
from harness.model import Split
from harness.run_folder import RunFolder
from harness.views import LiveFrame

_R10 = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
BOUNDS_S = (*(round(step * 10.0**power, 7) for power in range(-4, 2) for step in _R10), 100.0)
"""Upper ends of the buckets, 0.1 ms to 100 s: preferred numbers, each 1.25 to 1.28 times the one before."""

MOST_NAMES, MOST_ERRORS, LONGEST = 50, 20, 120
"""Names of requests, texts of errors, and characters of each: what comes after is counted as OTHER."""
OTHER = "other"

_BOUNDS = np.array(BOUNDS_S)
_IDS = re.compile("[0-9a-f]{32} [0-9a-f]{16}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Example:
    """One request of a bucket, and the span of ours that sent it."""

    trace_id: str
    span_id: str
    value_s: float
    at_ns: int


@dataclass(slots=True)
class Distribution:
    """Durations in buckets: `counts` has one more than BOUNDS_S. An example a bucket, the newest."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(BOUNDS_S) + 1, np.int64))
    sum_s: float = 0.0
    least_s: float = float("inf")
    most_s: float = float("-inf")
    examples: dict[int, Example] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def add(self, seconds: NDArray[np.float64], ids: NDArray[np.object_], at_ns: NDArray[np.int64]) -> None:
        """Count durations. Those that are not known or not finite are left out. `ids`: (trace id, span id) of each."""
        known = np.isfinite(seconds)
        seconds, ids, at_ns = seconds[known], ids[known], at_ns[known]
        if not len(seconds):
            return
        buckets = np.searchsorted(_BOUNDS, seconds, "left")
        self.counts += np.bincount(buckets, minlength=len(self.counts))
        self.sum_s += float(seconds.sum())
        self.least_s, self.most_s = min(self.least_s, float(seconds.min())), max(self.most_s, float(seconds.max()))
        found, last = np.unique(buckets[::-1], return_index=True)
        for bucket, behind in zip(found.tolist(), last.tolist(), strict=True):
            row = len(seconds) - 1 - behind
            trace_id, span_id = map(str, ids[row])
            if _IDS.fullmatch(f"{trace_id} {span_id}"):
                self.examples[bucket] = Example(trace_id, span_id, float(seconds[row]), int(at_ns[row]))


@dataclass(slots=True)
class Tally:
    """All that is known of one run. `requests` by (name, phase, outcome), `stages` by stage, `errors` by text."""

    run_id: str
    scenario: str
    started_ns: int
    frame: LiveFrame | None = None
    over: bool = False
    requests: dict[tuple[str, str, str], Distribution] = field(default_factory=dict)
    stages: dict[str, Distribution] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: RunFolder) -> Tally:
        """Nothing yet, of this run."""
        try:
            record = folder.read_json("run.json")
        except RunFolderError:
            record = {}
        plan = record.get("plan") if isinstance(record, Mapping) else None
        name = plan.get("name") if isinstance(plan, Mapping) else None
        began = record.get("started_ns") if isinstance(record, Mapping) else None
        return cls(
            label(folder.run_id), label(str(name or "unknown")), began if isinstance(began, int) and began > 0 else 0
        )

    def take(self, seen: Seen) -> None:
        """Count what was seen at one look."""
        self.frame, self.over = seen.frame, seen.over
        if len(seen.rows):
            self._count(seen.rows)

    def _count(self, rows: pd.DataFrame) -> None:
        ids = rows[["trace_id", "span_id"]].to_numpy(dtype=object)
        done_ns = rows["done_ns"].to_numpy(np.int64)
        latency = rows["latency_s"].to_numpy(np.float64)
        ok = rows["ok"].to_numpy(bool)
        keys = pd.MultiIndex.from_arrays([rows["name"].astype(str), rows["phase"].astype(str), ok])
        codes, found = pd.factorize(keys)
        for number, (name, phase, good) in enumerate(found):
            at = np.flatnonzero(codes == number)
            key = (self._name(name), phase, "ok" if good else "failed")
            self.requests.setdefault(key, Distribution()).add(latency[at], ids[at], done_ns[at])
        for what, count in rows.loc[~ok, "what"].astype(str).value_counts().items():
            self._failed(str(what), int(count))
        split = ok & (rows["split"].astype(str) != Split.NONE.value).to_numpy(bool)
        for stage, seconds in stage_seconds(rows[split]).items() if split.any() else ():
            if np.isfinite(seconds).any():
                self.stages.setdefault(stage, Distribution()).add(seconds, ids[split], done_ns[split])

    def _name(self, name: str) -> str:
        short = label(name)
        known = {known for known, _, _ in self.requests}
        return short if short in known or len(known - {OTHER}) < MOST_NAMES else OTHER

    def _failed(self, what: str, count: int) -> None:
        short = label(what)
        if short not in self.errors and len(self.errors.keys() - {OTHER}) >= MOST_ERRORS:
            short = OTHER
        self.errors[short] = self.errors.get(short, 0) + count


def label(text: str) -> str:
    """A text as the value of a label: one line, not long, without what ends a scrape early."""
    short = _CONTROLS.sub("\ufffd", text)
    return short if len(short) <= LONGEST else short[: LONGEST - 1] + "…"
