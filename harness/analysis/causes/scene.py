"""What the rules of the catalogue look at: the settled requests of a run, and the means they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.facts import Facts
from harness.model import STAGES
from harness.units import format_duration, format_share

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

WAITS = ("backlog", "queue_est", "queue")
"""Stages that are waiting for somebody else's work."""
WORK = ("preprocess", "inference", "postprocess")
THREADS, LOOP = "threadpool", "event_loop"
BATCHER_KINDS = ("window", "busy")

FULL_MACHINE = 0.95
LEAST_REQUESTS = 30
"""Fewer requests are no ground for a cause."""
GRAIN_S = 0.005
"""What costs the mean request less is the grain of machines and schedulers."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The requests that the rules judge: all rows of the facts, or those after a cold start.

    `means` has the stages that are known, seconds per request; `waits` the recorded waits per resource and kind,
    seconds per request, each in full. `since_ns` is the begin of what is judged.
    """

    facts: Facts
    rows: pd.DataFrame
    attributes: pd.DataFrame | None  # None where they do not belong to the rows
    latency_s: float
    means: Mapping[str, float]
    waits: Mapping[tuple[str | None, str | None], float]
    since_ns: int | None = None

    def mean(self, *stages: str) -> float:
        """Of these stages together; one that is not known counts as nothing."""
        return sum(self.means.get(stage, 0.0) for stage in stages)

    def waited(self, resource: str) -> float:
        """Mean wait for a resource per request."""
        return sum((wait for (name, _), wait in self.waits.items() if name == resource), 0.0)

    def share(self, seconds: float) -> float:
        """Of the mean latency."""
        return seconds / self.latency_s if self.latency_s > 0 else 0.0

    def is_worth(self, seconds: float, share: float, least_s: float = GRAIN_S) -> bool:
        """Whether so much of the mean request is worth a cause."""
        return seconds >= least_s and self.share(seconds) >= share

    def of_mean(self, seconds: float) -> str:
        """E.g. "120 ms of the mean 250 ms (48%)"."""
        mean = format_duration(self.latency_s)
        return f"{format_duration(seconds)} of the mean {mean} ({format_share(self.share(seconds))})"

    def counted(self, seconds: float) -> str:
        """The same as a line of evidence, with n."""
        return f"{self.of_mean(seconds)}, n = {len(self.rows):,} requests"

    def vital(self, name: str) -> Floats:
        """The readings of one of the service's own figures; empty when it sends none."""
        values: Floats = self.readings(name)["value"].to_numpy(dtype=np.float64)
        return values

    def readings(self, name: str) -> pd.DataFrame:
        """The same with at_ns and process; NaN and infinite ones left out."""
        vitals = self.facts.vitals
        if vitals.empty:
            return pd.DataFrame({"at_ns": [], "process": [], "value": []})
        kept = (vitals["name"] == name) & np.isfinite(vitals["value"].to_numpy(dtype=np.float64))
        if self.since_ns is not None:
            kept &= vitals["at_ns"] >= self.since_ns
        found: pd.DataFrame = vitals.loc[kept, ["at_ns", "process", "value"]]
        return found

    def column(self, name: str) -> Floats:
        """A stage of each request; 0 where it is not known."""
        found: Floats = np.nan_to_num(self.rows[f"{name}_s"].to_numpy(dtype=np.float64))
        return found

    def latencies(self) -> Floats:
        found: Floats = self.rows["latency_s"].to_numpy(dtype=np.float64)
        return found

    def attribute(self, name: str) -> Floats | None:
        """A numeric attribute of each request; None where it is not known or no number."""
        if self.attributes is None or name not in self.attributes:
            return None
        column = self.attributes[name]
        if not pd.api.types.is_numeric_dtype(column):
            return None
        values: Floats = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return values

    def processes_of(self) -> pd.Series[str] | None:
        """Of each request the process that answered it; None where that is not known."""
        if self.attributes is None or "process" not in self.attributes:
            return None
        return self.attributes["process"].astype("string")

    @property
    def processes(self) -> int:
        """How many answered, as far as that is known; at least one."""
        of = self.processes_of()
        return max(1, int(of.nunique())) if of is not None else 1

    @property
    def is_crowded(self) -> bool:
        """Whether the machine of the generator had no core left. On the same one the service's threads stand still
        for that, and nobody can tell it from what else they may wait for."""
        readings = self.facts.health.readings
        return any(r.name == "cpu_machine" and r.value is not None and r.value >= FULL_MACHINE for r in readings)

    def has_warning(self, code: str) -> bool:
        return any(warning.code == code for warning in self.facts.warnings)


def scene_of(facts: Facts) -> Scene | None:
    """All rows; None when there are too few of them to say anything."""
    rows = facts.rows
    if len(rows) < LEAST_REQUESTS:
        return None
    attributes = facts.attributes if len(facts.attributes) == len(rows) else None
    return _scene(facts, rows, attributes, None)


def after(scene: Scene, since_ns: int) -> Scene:
    """The requests scheduled from then on; the scene itself when they are too few."""
    kept = scene.rows["scheduled_ns"].to_numpy() >= since_ns
    if kept.sum() < LEAST_REQUESTS:
        return scene
    attributes = scene.attributes[kept] if scene.attributes is not None else None
    return _scene(scene.facts, scene.rows[kept], attributes, since_ns)


def _scene(facts: Facts, rows: pd.DataFrame, attributes: pd.DataFrame | None, since_ns: int | None) -> Scene:
    return Scene(
        facts=facts,
        rows=rows,
        attributes=attributes,
        latency_s=float(rows["latency_s"].mean()),
        means=_means(rows),
        waits=_waits(facts.waits, rows),
        since_ns=since_ns,
    )


def _means(rows: pd.DataFrame) -> dict[str, float]:
    """A stage that is null in any row has no mean, but for the estimated wait: null is none there."""
    found = {}
    for stage in STAGES:
        values = rows[f"{stage}_s"].to_numpy(dtype=np.float64)
        if stage == "queue_est":
            values = np.nan_to_num(values)
        mean = float(values.mean())
        if np.isfinite(mean):
            found[stage] = mean
    return found


def _waits(waits: pd.DataFrame, rows: pd.DataFrame) -> dict[tuple[str | None, str | None], float]:
    if waits.empty:
        return {}
    used = waits[waits["request_id"].isin(rows["request_id"])]
    by = ["resource", "kind"] if "kind" in used else ["resource"]
    sums = used.groupby(by, dropna=False)["duration_s"].sum()
    found: dict[tuple[str | None, str | None], float] = {}
    for key, total in sums.items():
        resource, kind = key if isinstance(key, tuple) else (key, None)
        named = (None if pd.isna(resource) else str(resource), None if pd.isna(kind) else str(kind))
        found[named] = found.get(named, 0.0) + float(total) / len(rows)
    return found
