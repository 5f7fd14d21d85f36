"""The requests that a look is about: all that were scheduled before it, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from harness.load.drive import Loaded
from harness.model import Phase, Scenario

GUARD_NS = 1_000_000
"""Instants are rounded on their way: an arrival that is due at the very end of what is judged is not among it."""


def ended_s(loaded: Loaded) -> float | None:
    """Seconds from the start of the load to the look that ended it; None when it ended by itself, or was stopped."""
    return loaded.enough_s if loaded.end and not loaded.end.get("interrupted") else None


def cut(scenario: Scenario, until_s: float | None) -> Scenario:
    """The scenario with its only step ending `until_s` seconds after the start of the load; None: as it is."""
    if until_s is None:
        return scenario
    (step,) = scenario.load.steps
    measured = replace(step, duration_s=until_s - scenario.load.warmup_s)
    return replace(scenario, load=replace(scenario.load, steps=(measured,)))


def measured_until(samples: pa.Table, record: Mapping[str, object]) -> pa.Table:
    """Samples with the phase "drain" for what was sent after the look that ended the run, while it was made.

    `record` is the last run.json. Other runs stay as they are.
    """
    load, decided = record.get("load"), record.get("decided")
    until_ns = load.get("measured_until_ns") if isinstance(load, dict) else None
    early = isinstance(decided, dict) and decided["look"] is not None and decided["look"] < decided["looks"]
    if not early or not isinstance(until_ns, int):
        return samples
    late = pc.greater_equal(samples.column("scheduled_ns"), until_ns - GUARD_NS)
    late = pc.and_(late, pc.equal(samples.column("phase"), Phase.MEASURE.value))
    phases = pc.if_else(late, Phase.DRAIN.value, samples.column("phase"))
    at = samples.schema.get_field_index("phase")
    return samples.set_column(at, samples.schema.field(at), phases)
