"""What SLOs are judged on, and when the stages of a run carry no judgement at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from harness.analysis import doubts
from harness.analysis.coverage import LEAST_MISSING, Kinds, find
from harness.counting import measured_time
from harness.evidence.stretches import Stretch, stretches
from harness.evidence.vitals import vitals_of
from harness.findings import Coverage, Loss
from harness.join import Joined
from harness.ledger import Ledger
from harness.model import Arrivals, Phase, Scenario, SpanSpec, Split
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

    `others` and `others_split` are the same of the warm-up and the drain. `calls` are rows of model.ModelCall. `vitals`
    have at_ns (on our clock), process, name, value, for the whole run. `stretches` say when which step was measured.
    """

    requests: pd.DataFrame
    split_rows: pd.DataFrame
    coverage: Coverage | None
    distorted: str | None = None
    placed_if: str | None = None  # what has to be true for upload and download, when only the sum of them is sure
    asked: bool = True  # server halves were asked for
    planned: bool = True  # the arrivals were drawn up front; False: a closed loop, whose rate is the service's own
    names: tuple[str, ...] = ()  # of the mix, as far as the scenario says
    unchecked: tuple[str, ...] = ()  # those of which only some bodies are looked at
    others: pd.DataFrame | None = None
    others_split: pd.DataFrame | None = None
    calls: pd.DataFrame | None = None
    vitals: pd.DataFrame | None = None
    measured_s: float | None = None  # length of the measured time; None: nothing was measured
    stretches: tuple[Stretch, ...] = ()

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


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """What the requests of a run do not say themselves: see Evidence."""

    vitals: pd.DataFrame | None = None
    measured_s: float | None = None
    stretches: tuple[Stretch, ...] = ()


def beside_of(
    scenario: Scenario,
    record: Mapping[str, object],
    samples: pa.Table,
    joined: Joined,
    ledger: Ledger,
    vitals: pa.Table,
) -> Beside:
    """What SLOs on rates, steps and vitals need: `record` is run.json, `vitals` are rows of model.Vital."""
    told = vitals_of(vitals, joined.halves, ledger)
    measured = measured_time(scenario, record, samples)
    if measured is None:
        return Beside(told)
    return Beside(told, measured[1], stretches(scenario.load, *measured))


def gather(
    scenario: Scenario,
    samples: pa.Table,
    rows: pd.DataFrame,
    split_rows: pd.DataFrame,
    ledger: Ledger,
    dropping: bool = False,
    beside: Beside = Beside(),
) -> Evidence:
    """The evidence of one run: `rows` are all rows of its ledger, `split_rows` those of the stage table.

    `dropping` says that there are traces with holes in them.
    """
    due = _due(samples, rows)
    measure = (due["phase"] == Phase.MEASURE.value).to_numpy(dtype=np.bool_)
    requests, others = due[measure].reset_index(drop=True), due[~measure].reset_index(drop=True)
    apart = rows[(rows["phase"] != Phase.MEASURE.value).to_numpy(dtype=np.bool_)]
    return Evidence(
        requests=requests,
        split_rows=split_rows,
        coverage=_coverage(scenario.spans, requests[requests["ok"]], split_rows, dropping),
        distorted=_distorted(split_rows, ledger),
        placed_if=_placed_if(split_rows, ledger),
        asked=scenario.spans.source != "none",
        planned=scenario.load.arrivals is not Arrivals.USERS,
        names=tuple(request.name for request in scenario.requests),
        unchecked=tuple(request.name for request in scenario.requests if request.expect.sampled < 1.0),
        others=others,
        others_split=apart[apart["ok"] & (apart["split"] != Split.NONE.value)],
        calls=ledger.model_calls,
        vitals=beside.vitals,
        measured_s=beside.measured_s,
        stretches=beside.stretches,
    )


def _due(samples: pa.Table, rows: pd.DataFrame) -> pd.DataFrame:
    """Every request of every phase, whether or not the ledger has a row of it."""
    known = rows[["request_id", "ok", "latency_s", "service_s"]]
    due = samples.select(_OF_SAMPLES).to_pandas().merge(known, on="request_id", how="left")
    ended = due["ok"].notna()
    found: pd.DataFrame = due.assign(
        ended=ended,
        answered=ended & due["status"].notna() & due["error"].isna(),
        ok=due["ok"].where(ended, False).astype(bool),
    )
    return found


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
