"""What SLOs are judged on, and when the stages of a run carry no judgement at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from harness.analysis import doubts
from harness.analysis.quantiles import differ
from harness.ledger import Ledger
from harness.model import Phase, Scenario
from harness.units import format_count

WHOLE_REQUEST = ("latency", "service")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What SLOs are judged on: the measured phase, in time order.

    `requests` has one row per request that was due: request_id, ok, ended (False: still in flight, or never sent, when
    the run ended), answered, latency_s and service_s. `split_rows` are the ledger rows of the stage table;
    `missing_halves` the ok requests that should be among them and are not, of `halves_expected`. `distorted` says why
    no stage can be trusted, if so.
    """

    requests: pd.DataFrame
    split_rows: pd.DataFrame
    missing_halves: int
    halves_expected: int
    distorted: str | None = None


def series(evidence: Evidence, subject: str) -> NDArray[np.float64]:
    """The values of a subject in time order; requests that failed or never ended count as infinite, for stages too.

    Ok requests without a server half have no value of a stage and are left out.
    """
    requests = evidence.requests
    if subject in WHOLE_REQUEST:
        values = requests[f"{subject}_s"]
    else:
        values = requests["request_id"].map(evidence.split_rows.set_index("request_id")[f"{subject}_s"])
    ranked = np.where(requests["ok"], values, math.inf).astype(np.float64)
    return ranked[~np.isnan(ranked)]


def why_no_stage(evidence: Evidence) -> str | None:
    """Why the stage figures of this run carry no judgement, if so."""
    if evidence.missing_halves:
        missing, of = format_count(evidence.missing_halves), format_count(evidence.halves_expected)
        return f"the server half of {missing} of {of} requests is missing"
    return evidence.distorted


def gather(
    scenario: Scenario, samples: pa.Table, rows: pd.DataFrame, split_rows: pd.DataFrame, ledger: Ledger
) -> Evidence:
    """The evidence of one run: `rows` and `split_rows` are ledger rows of its measured phase."""
    due = samples.select(["request_id", "phase", "scheduled_ns", "status", "error"]).to_pandas()
    due = due[due["phase"] == Phase.MEASURE.value].merge(
        rows[["request_id", "ok", "latency_s", "service_s"]], on="request_id", how="left"
    )
    ended = due["ok"].notna()
    requests = due.assign(
        ended=ended,
        answered=ended & due["status"].notna() & due["error"].isna(),
        ok=due["ok"].where(ended, False).astype(bool),
    )
    ok = requests[requests["ok"]]
    return Evidence(
        requests=requests,
        split_rows=split_rows,
        missing_halves=_missing_halves(ok, split_rows, scenario.spans.sampled),
        halves_expected=len(ok),
        distorted=_distorted(split_rows, ledger),
    )


def _missing_halves(ok: pd.DataFrame, split_rows: pd.DataFrame, sampled: float) -> int:
    """Server halves that should be there and are not.

    They are expected for the share of requests whose trace was asked to be recorded. Which ones is drawn at random,
    so three standard deviations fewer are not yet missing, unless the missing ones differ in latency from the others:
    then they were not lost at random.
    """
    missing = len(ok) - len(split_rows)
    expected = len(ok) * sampled - 3 * (len(ok) * sampled * (1 - sampled)) ** 0.5
    if len(split_rows) >= math.floor(expected):
        has_half = ok["request_id"].isin(split_rows["request_id"])
        return missing if differ(ok.loc[has_half, "latency_s"], ok.loc[~has_half, "latency_s"]) else 0
    return missing


def _distorted(split_rows: pd.DataFrame, ledger: Ledger) -> str | None:
    """Clocks that contradict each other while windows stick out: stages were cut at the wrong place."""
    contradiction = any(offset is not None and offset.contradiction_ns for _, offset in ledger.offsets)
    if not contradiction or split_rows.empty:
        return None
    clipped = float(split_rows["clipped_s"].mean() / split_rows["latency_s"].mean())
    if clipped <= doubts.MUCH_CLIPPED:
        return None
    return "the clocks of client and service contradict each other"
