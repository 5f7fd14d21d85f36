"""One run -> what explains its latency: steps, tail, queues, contrasts, causes. The wiring of analysis/."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.analysis import causes
from harness.analysis.facts import Facts
from harness.analysis.holding.blame import blame
from harness.analysis.load_steps.growth import growth_findings
from harness.analysis.load_steps.steps import step_findings
from harness.analysis.load_steps.work import per_request, work_findings
from harness.analysis.replaying.replayable import Recorded
from harness.analysis.replaying.whatif import gains
from harness.analysis.slow.attributes import attributes_of
from harness.analysis.slow.contrast import contrasts
from harness.analysis.slow.tail import attribute_tail
from harness.diagnosis import Cause, WhatIfFindings
from harness.evidence import Evidence
from harness.evidence.vitals import vitals_of
from harness.findings import Counts, Health, LatencyFindings, ModelFindings, StageFindings, WaitFindings
from harness.join import Joined
from harness.ledger import Ledger
from harness.model import CLAIMS, LoadProfile, RunWarning


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """All that is known about a run before anything is explained.

    `samples` are sorted by scheduled_ns, row i of `joined.halves` belongs to sample i; `vitals` rows of model.Vital.
    """

    load: LoadProfile
    samples: pa.Table
    joined: Joined
    ledger: Ledger
    evidence: Evidence
    vitals: pa.Table
    counts: Counts
    latency: LatencyFindings
    service: LatencyFindings
    stages: tuple[StageFindings, ...]
    models: tuple[ModelFindings, ...]
    resources: tuple[WaitFindings, ...]
    health: Health
    warnings: tuple[RunWarning, ...]
    silence: str | None  # why nothing may be said about stages, if so


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The facts of a run, the causes they are evidence for, and what the usual changes would give."""

    facts: Facts
    causes: tuple[Cause, ...]
    gains: tuple[WhatIfFindings, ...]


def diagnose(seen: Observed) -> Diagnosis:
    """Explain a run. Where its server halves carry no judgement, nothing is made of them."""
    rows = seen.evidence.split_rows if seen.silence is None else seen.evidence.split_rows.iloc[:0]
    halves = seen.joined.halves
    vitals = _vitals(seen)
    request_id = seen.samples.column("request_id").to_numpy()
    counted = np.isin(request_id, rows["request_id"].to_numpy())
    wall_s, cpu_s = per_request(halves.intervals, len(request_id))
    attributes = attributes_of(seen.samples, rows, halves, seen.ledger.model_calls, vitals)
    facts = Facts(
        arrivals=seen.load.arrivals,
        counts=seen.counts,
        latency=seen.latency,
        service=seen.service,
        stages=seen.stages if len(rows) else (),
        models=seen.models if len(rows) else (),
        resources=seen.resources if len(rows) else (),
        steps=step_findings(seen.evidence.requests, rows, seen.load, vitals),
        work=work_findings(wall_s, cpu_s, counted),
        growth=growth_findings(rows, levels(seen.load), _of_rows(cpu_s, request_id, rows)),
        tail=attribute_tail(rows),
        blame=blame(halves, _names(seen.samples), counted),
        contrasts=contrasts(rows, attributes),
        health=seen.health,
        warnings=seen.warnings,
        rows=rows,
        attributes=attributes,
        waits=seen.ledger.waits,
        calls=seen.ledger.model_calls,
        vitals=vitals,
    )
    run = Recorded(seen.load.arrivals, seen.samples, halves, seen.ledger.rows, facts.steps)
    return Diagnosis(facts, causes.find(facts), gains(run, vitals=seen.vitals) if len(rows) else ())


def levels(load: LoadProfile) -> tuple[float, ...]:
    """The load of each step; the middle of a ramp."""
    return tuple(step.level if step.to is None else (step.level + step.to) / 2 for step in load.steps)


def _names(samples: pa.Table) -> NDArray[np.object_]:
    found: NDArray[np.object_] = samples.column("name").to_numpy(zero_copy_only=False)
    return found


def _of_rows(cpu_s: NDArray[np.float64], request_id: NDArray[np.int64], rows: pd.DataFrame) -> pd.DataFrame:
    """CPU seconds by stage, a row for each of `rows`, in their order."""
    place = pd.Series(np.arange(len(request_id)), index=request_id)
    positions = place.reindex(rows["request_id"]).to_numpy(dtype=np.int64)
    return pd.DataFrame(cpu_s[positions], columns=list(CLAIMS), index=rows.index)


def _vitals(seen: Observed) -> pd.DataFrame:
    """What the service said about itself in the measured phase, on our clock."""
    frame = (
        vitals_of(seen.vitals, seen.joined.halves, seen.ledger)
        if seen.evidence.vitals is None
        else seen.evidence.vitals
    )
    due = seen.evidence.requests
    if due.empty:
        return frame.iloc[:0]
    first = int(due["scheduled_ns"].min())
    last = int(pc.max(seen.samples.column("done_ns")).as_py())
    return frame[frame["at_ns"].between(first, last + 1_000_000_000)]
