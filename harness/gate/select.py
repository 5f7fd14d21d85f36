"""Which requests an SLO is about, and which value of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import nearest
from harness.evidence import Evidence, series, stage_values, steps_of, why_no_stage
from harness.findings import Coverage, Loss, Verdict
from harness.gate.answers import NOTHING, Refusal, Values
from harness.model import Phase
from harness.slo import Slo, Where
from harness.units import quoted

PLACED = ("upload", "download", "queue_est")
"""Stages that depend on where the server's window stands on the client's clock."""
MARKED_STAGES = ("preprocess", "inference", "postprocess")
"""Stages that exist only where somebody marks them: zero everywhere means nobody does."""
CALL = "call"


# --- which requests ----------------------------------------------------------------------------------------


def narrowed(evidence: Evidence, where: Where) -> Evidence | Refusal:
    """The evidence of the requests that are asked for alone."""
    if where == Where():
        return evidence
    if (unknown := _unknown(evidence, where)) is not None:
        return unknown
    requests, split_rows = _of_phase(evidence, where.phase)
    requests, split_rows = _kept(requests, where), _kept(split_rows, where)
    return replace(
        evidence,
        requests=requests.reset_index(drop=True),
        split_rows=split_rows,
        coverage=_coverage(evidence, requests, split_rows),
    )


def seconds_of(evidence: Evidence, where: Where) -> float | None:
    """How long the requests that are asked for were measured; None where that is not known."""
    phase = where.phase or Phase.MEASURE.value
    if phase == Phase.MEASURE.value and where.step is None:
        return evidence.measured_s
    found = [s.seconds for s in evidence.stretches if s.phase == phase and where.step in (None, s.step)]
    return sum(found) if found else None


def _unknown(evidence: Evidence, where: Where) -> Refusal | None:
    """A name, step or model that the run does not have: named with the one it may have been."""
    names, steps = _names_and_steps(evidence)
    if where.name is not None and names and where.name not in names:
        return Refusal(Verdict.INVALID, f"no request is named {quoted(where.name)}: {nearest(where.name, names)}")
    if where.step is not None and steps and where.step not in steps:
        return Refusal(Verdict.INVALID, f"there is no step {where.step}: the run has {_numbers(sorted(steps))}")
    if where.model is None:
        return None
    models = set() if evidence.calls is None else set(evidence.calls["model"].dropna().unique())
    if not models:
        return Refusal(Verdict.INVALID, "no call of a model was recorded") if evidence.requests["ok"].any() else None
    if where.model not in models:
        return Refusal(Verdict.INVALID, f"no model is named {quoted(where.model)}: {nearest(where.model, models)}")
    return None


def _names_and_steps(evidence: Evidence) -> tuple[set[str], set[int]]:
    """All that occur, and those that are planned: a request of a mix may not have been drawn yet."""
    names, steps = set(evidence.names), {s.step for s in evidence.stretches}
    for requests in (evidence.requests, evidence.others):
        if requests is not None:
            names |= set(requests["name"].unique())
            steps |= set(requests["step"].unique().tolist())
    return names, steps


def _numbers(steps: Sequence[int]) -> str:
    return f"only step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"


def _of_phase(evidence: Evidence, phase: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    if phase in (None, Phase.MEASURE.value):
        return evidence.requests, evidence.split_rows
    if evidence.others is None or evidence.others_split is None:
        return evidence.requests.iloc[:0], evidence.split_rows.iloc[:0]
    frames = (evidence.others, evidence.others_split)
    requests, split_rows = (rows[(rows["phase"] == phase).to_numpy(dtype=np.bool_)] for rows in frames)
    return requests, split_rows


def _kept(rows: pd.DataFrame, where: Where) -> pd.DataFrame:
    kept = np.ones(len(rows), np.bool_)
    if where.name is not None:
        kept &= (rows["name"] == where.name).to_numpy(dtype=np.bool_)
    if where.step is not None:
        kept &= (rows["step"] == where.step).to_numpy(dtype=np.bool_)
    return rows[kept]


def _coverage(evidence: Evidence, requests: pd.DataFrame, split_rows: pd.DataFrame) -> Coverage | None:
    """Where a part of the requests lacks server halves, what is known of the loss in the whole run holds for it."""
    expected, whole = int(requests["ok"].sum()), evidence.coverage
    if not evidence.asked or expected == 0:
        return None
    matched = int(requests.loc[requests["ok"], "request_id"].isin(split_rows["request_id"]).sum())
    loss = Loss.UNTESTED if whole is None or whole.loss is Loss.NONE else whole.loss
    return Coverage(expected, matched, Loss.NONE if matched == expected else loss, None, None, None, "")


# --- which values ------------------------------------------------------------------------------------------


def refuse_stage(slo: Slo, evidence: Evidence) -> Refusal | None:
    """A stage cannot be judged on the requests whose server half happened to arrive, nor if nobody marks it."""
    rows, reason, stage = evidence.split_rows, why_no_stage(evidence), slo.subject
    if reason is not None:
        reason += ", so no stage can be judged"
    elif stage is None or stage == CALL:
        return None
    elif stage_values(rows, stage).isna().any():
        reason = f"{stage} is not known for every request"
    elif stage in PLACED and evidence.placed_if is not None:
        reason = f"{stage} is only known if {evidence.placed_if}; an SLO on transfer needs no clock"
    elif stage in MARKED_STAGES and len(rows) and not (rows[f"{stage}_s"] > 0).any():
        reason = f"no request spent any time in {stage}: nothing in the service marks it"
    return Refusal(Verdict.INVALID, reason, len(rows)) if reason is not None else None


def values_of(evidence: Evidence, slo: Slo, missing_s: float = math.inf) -> Values | Refusal:
    """The values of the SLO's subject in time order. Failed requests are infinite, of a stage too; `missing_s` stands
    for the handful of requests without a server half of which nothing can be said (NaN: left out).
    """
    subject, model = slo.subject or "latency", slo.where.model
    if subject == CALL:
        return _calls(evidence, model, missing_s)
    if model is not None:
        return _of_model(evidence, model, missing_s)
    return Values(series(evidence, subject, missing_s), steps_of(evidence, subject, missing_s))


def model_share_values(evidence: Evidence, slo: Slo) -> Values:
    """Seconds of the stage, or of one model in it, for each row of the stage table."""
    rows, model = evidence.split_rows, slo.where.model
    found: NDArray[np.float64]
    if model is None:
        found = np.asarray(stage_values(rows, slo.subject or ""), np.float64)
    else:
        found = np.nan_to_num(_mapped(rows, _seconds_of_model(evidence, model)))
    return Values(found, rows["step"].to_numpy(dtype=np.int64))


def _seconds_of_model(evidence: Evidence, model: str) -> pd.Series[float]:
    calls = evidence.calls
    assert calls is not None  # noqa: S101 - a model is only asked for when there are calls
    own = calls[(calls["model"] == model).to_numpy(dtype=np.bool_)]
    found: pd.Series[float] = own.groupby("request_id")["duration_s"].sum()
    return found


def _mapped(rows: pd.DataFrame, by_request: pd.Series[float]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.asarray(rows["request_id"].map(by_request), np.float64)
    return found


def _of_model(evidence: Evidence, model: str, missing_s: float) -> Values | Refusal:
    """Its calls in each request that has some: those that never call it would hide it among zeros."""
    if evidence.calls is None:
        return Refusal(Verdict.NOT_ENOUGH_DATA, NOTHING)
    requests = evidence.requests
    seconds = _mapped(requests, _seconds_of_model(evidence, model))
    found = np.where(_lacks(evidence), missing_s, seconds)
    found = np.where(requests["ok"].to_numpy(dtype=np.bool_), found, math.inf)
    return _known(found, requests["step"].to_numpy(dtype=np.int64))


def _calls(evidence: Evidence, model: str | None, missing_s: float) -> Values | Refusal:
    """Every call, in order of the requests and of its begin. How many calls a failed request would have had nobody
    knows: it counts as one that did not end, and so does one without its server half.
    """
    calls, requests = evidence.calls, evidence.requests
    ok = requests["ok"].to_numpy(dtype=np.bool_)
    if calls is None or (calls.empty and ok.any()):
        return Refusal(Verdict.INVALID, "no call of a model was recorded")
    if model is not None:
        calls = calls[(calls["model"] == model).to_numpy(dtype=np.bool_)]
    place = pd.Series(np.arange(len(requests)), index=requests["request_id"])
    lost = np.where(ok, np.where(_lacks(evidence), missing_s, math.nan), math.inf)
    at = place.reindex(calls["request_id"]).to_numpy(dtype=np.float64)
    counted = np.isin(calls["request_id"].to_numpy(), evidence.split_rows["request_id"].to_numpy()) & ~np.isnan(at)
    places = np.concatenate([at[counted].astype(np.int64), np.arange(len(requests))])
    seconds = np.concatenate([calls["duration_s"].to_numpy(dtype=np.float64)[counted], lost])
    begins = np.concatenate([calls["start_ns"].to_numpy(dtype=np.int64)[counted], np.zeros(len(requests), np.int64)])
    order = np.lexsort((begins, places))
    return _known(seconds[order], requests["step"].to_numpy(dtype=np.int64)[places[order]])


def _lacks(evidence: Evidence) -> NDArray[np.bool_]:
    """Requests without a server half that are not missing at random."""
    if evidence.coverage is None or evidence.coverage.loss is not Loss.UNTESTED:
        return np.zeros(len(evidence.requests), np.bool_)
    found: NDArray[np.bool_] = ~evidence.requests["request_id"].isin(evidence.split_rows["request_id"]).to_numpy()
    return found


def _known(values: NDArray[np.float64], steps: NDArray[np.int64]) -> Values:
    known = ~np.isnan(values)
    return Values(values[known], steps[known])
