"""What is known about one run, gathered for the catalogue of causes and for the verdict in words."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from harness.diagnosis import (
    BlameFindings,
    Contrast,
    GrowthFindings,
    StepFindings,
    TailFindings,
    WorkFindings,
)
from harness.findings import Counts, Health, LatencyFindings, ModelFindings, StageFindings, WaitFindings
from harness.model import Arrivals, RunWarning


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """The findings of one run and the rows behind them.

    `rows` are the ledger rows of the stage table (measured, ok, with server half), in time order with `scheduled_ns`;
    `attributes` has a row for each of them, in the same order (see slow.attributes). `waits` and `calls` are the tables
    of model.Wait and model.ModelCall, of all requests. `vitals` has the columns at_ns, process, name, value: what the
    service said about itself while the measured requests were there.
    """

    arrivals: Arrivals
    counts: Counts
    latency: LatencyFindings
    service: LatencyFindings
    stages: tuple[StageFindings, ...]
    models: tuple[ModelFindings, ...]
    resources: tuple[WaitFindings, ...]
    steps: tuple[StepFindings, ...]
    work: tuple[WorkFindings, ...]
    growth: tuple[GrowthFindings, ...]
    tail: TailFindings | None
    blame: tuple[BlameFindings, ...]
    contrasts: tuple[Contrast, ...]
    health: Health
    warnings: tuple[RunWarning, ...]
    rows: pd.DataFrame
    attributes: pd.DataFrame
    waits: pd.DataFrame
    calls: pd.DataFrame
    vitals: pd.DataFrame

    def stage(self, name: str) -> StageFindings | None:
        """A stage of the table, if it is known."""
        return next((s for s in self.stages if s.stage == name), None)

    def works(self, stage: str) -> WorkFindings | None:
        """Wall clock against CPU of a stage, if its CPU time was recorded."""
        return next((w for w in self.work if w.stage == stage), None)

    def vital(self, name: str) -> pd.Series[float]:
        """All values of one of the service's own figures, over all processes; empty when it sends none."""
        return self.vitals.loc[self.vitals["name"] == name, "value"]
