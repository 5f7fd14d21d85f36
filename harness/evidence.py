"""What SLOs are judged on, and when the stages of a run carry no judgement at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from harness.analysis import doubts
from harness.analysis.coverage import LEAST_MISSING, Kinds, find
from harness.findings import Coverage, Loss
from harness.ledger import Ledger
from harness.model import Phase, Scenario, SpanSpec, Split
from harness.units import format_count

WHOLE_REQUEST = ("latency", "service")
_OF_SAMPLES = ["request_id", "name", "phase", "step", "scheduled_ns", "status", "error", "failed_checks"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What SLOs are judged on: the measured phase, in time order.

    `requests` has one row per request that was due: request_id, step, scheduled_ns, ok, ended (False: still in flight,
    or never sent, when the run ended), answered, latency_s, service_s, status, error and failed_checks. `split_rows`
    are the ledger rows of the stage table; `coverage` says how many ok requests are not among them, and how they differ
    (None: no server half was asked for, or no request was ok). `distorted` says why no stage can be trusted, if so.
    """

    requests: pd.DataFrame
    split_rows: pd.DataFrame
    coverage: Coverage | None
    distorted: str | None = None
    placed_if: str | None = None  # what has to be true for upload and download, when only the sum of them is sure

    @property
    def missing_halves(self) -> int:
        """Ok requests without the server half that was asked for, unless they are missing at random."""
        if self.coverage is None or self.coverage.loss is Loss.UNIFORM:
            return 0
        return self.coverage.expected - self.coverage.matched


def series(evidence: Evidence, subject: str, missing_s: float = math.inf) -> NDArray[np.float64]:
    """The values of a subject in time order; requests that failed or never ended count as infinite, for stages too.

    Of a stage, ok requests without a server half are left out when they are missing at random. A handful of which
    nothing can be said count as `missing_s`: infinite is the worst they can have been, NaN leaves them out as well.
    """
    ranked = _ranked(evidence, subject, missing_s)
    return ranked[~np.isnan(ranked)]


def steps_of(evidence: Evidence, subject: str, missing_s: float = math.inf) -> NDArray[np.int64]:
    """The load step of each value of `series`."""
    steps: NDArray[np.int64] = evidence.requests["step"].to_numpy(dtype=np.int64)
    return steps[~np.isnan(_ranked(evidence, subject, missing_s))]


def _ranked(evidence: Evidence, subject: str, missing_s: float) -> NDArray[np.float64]:
    requests = evidence.requests
    if subject in WHOLE_REQUEST:
        values = requests[f"{subject}_s"]
    else:
        values = requests["request_id"].map(stage_values(evidence.split_rows, subject))
        if evidence.coverage is not None and evidence.coverage.loss is Loss.UNTESTED:
            values = values.fillna(missing_s)
    ranked: NDArray[np.float64] = np.where(requests["ok"], values, math.inf).astype(np.float64)
    return ranked


def stage_values(split_rows: pd.DataFrame, stage: str) -> pd.Series[float]:
    """A stage by request_id. A request without an estimated wait, in a run that has some, has it in its upload."""
    values = split_rows.set_index("request_id")[f"{stage}_s"]
    return values.fillna(0.0) if stage == "queue_est" and values.notna().any() else values


def why_no_stage(evidence: Evidence) -> str | None:
    """Why the stage figures of this run carry no judgement, if so."""
    coverage = evidence.coverage
    if coverage is None:
        return "no server half was asked for" if evidence.requests["ok"].any() else evidence.distorted
    missing, of = format_count(coverage.expected - coverage.matched), format_count(coverage.expected)
    without = f"the server half of {missing} of {of} requests is missing"
    if coverage.loss is Loss.BIASED:
        return f"{without}, and they differ from the others in kind or latency"
    if coverage.loss is Loss.CLUSTERED:
        return f"{without}, and they come together in time"
    if coverage.matched == 0:
        return without
    if coverage.loss is Loss.UNTESTED and evidence.missing_halves >= LEAST_MISSING:
        return f"{without}, and nothing can be said about how they differ from the others"
    return evidence.distorted


def gather(
    scenario: Scenario,
    samples: pa.Table,
    rows: pd.DataFrame,
    split_rows: pd.DataFrame,
    ledger: Ledger,
    dropping: bool = False,
) -> Evidence:
    """The evidence of one run: `rows` and `split_rows` are ledger rows of its measured phase.

    `dropping` says that there are traces with holes in them.
    """
    due = samples.select(_OF_SAMPLES).to_pandas()
    due = due[due["phase"] == Phase.MEASURE.value].merge(
        rows[["request_id", "ok", "latency_s", "service_s"]], on="request_id", how="left"
    )
    ended = due["ok"].notna()
    requests = due.assign(
        ended=ended,
        answered=ended & due["status"].notna() & due["error"].isna(),
        ok=due["ok"].where(ended, False).astype(bool),
    )
    return Evidence(
        requests=requests,
        split_rows=split_rows,
        coverage=_coverage(scenario.spans, requests[requests["ok"]], split_rows, dropping),
        distorted=_distorted(split_rows, ledger),
        placed_if=_placed_if(split_rows, ledger),
    )


def _coverage(spans: SpanSpec, ok: pd.DataFrame, split_rows: pd.DataFrame, dropping: bool) -> Coverage | None:
    if spans.source == "none":
        return None
    of, names = pd.factorize(ok["name"])
    return find(
        ok["scheduled_ns"].to_numpy(dtype=np.int64),
        ok["latency_s"].to_numpy(dtype=np.float64),
        ok["request_id"].isin(split_rows["request_id"]).to_numpy(),
        spans.sampled,
        Kinds(of.astype(np.int64), tuple(str(name) for name in names)),
        dropping,
    )


def _placed_if(split_rows: pd.DataFrame, ledger: Ledger) -> str | None:
    """Plain spans of another host are placed by an assumption; one about this host is not worth a refusal."""
    if not (split_rows["split"] == Split.SPANS.value).any():
        return None
    return next((o.assumes for _, o in ledger.offsets if o is not None and o.assumes and not o.same_host), None)


def _distorted(split_rows: pd.DataFrame, ledger: Ledger) -> str | None:
    """Clocks that contradict each other while windows stick out: stages were cut at the wrong place."""
    contradiction = any(offset is not None and offset.contradiction_ns for _, offset in ledger.offsets)
    if not contradiction or split_rows.empty:
        return None
    if doubts.share_of_latency(split_rows, "clipped") <= doubts.MUCH_CLIPPED:
        return None
    return "the clocks of client and service contradict each other"
