"""Where the mean request spent its time: stages and models over the ledger's one row set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.statistics.quantiles import estimate_mean, estimate_quantile, quantile
from harness.findings import ModelFindings, NameFindings, StageFindings, WaitFindings
from harness.model import STAGES, TRANSFER

ORDER = (
    "backlog", "transfer", "connect", "upload", "download", "queue_est", "queue", "preprocess", "inference",
    "postprocess", "other", "unsplit",
)  # fmt: skip
"""Display order; the parts of transfer stand below it. Every name of STAGES is in it once."""

MOST_NAMES = 100
"""Models, resources and kinds of requests that are told apart."""


def stage_findings(rows: pd.DataFrame) -> tuple[StageFindings, ...]:
    """The stages of the given ledger rows, in ORDER; a stage that is null in any row has no mean here, except for the
    estimated wait: it is null in steps of low load, where there is nothing to estimate.

    The means of the stages that are no part of another one add up to the mean latency of the same rows.
    """
    if rows.empty:
        return ()
    mean_latency = float(rows["latency_s"].mean())
    found = [_stage(rows, stage, mean_latency) for stage in ORDER]
    return tuple(f for f in found if f is not None)


def _stage(rows: pd.DataFrame, stage: str, mean_latency: float) -> StageFindings | None:
    values = rows[f"{stage}_s"].to_numpy(dtype=np.float64)
    if stage == "queue_est" and not np.isnan(values).all():
        values = np.nan_to_num(values)  # a request without an estimate has that wait in its upload
    if np.isnan(values).any():
        return None
    ordered = np.sort(values)
    return StageFindings(
        stage=stage,
        part_of="transfer" if stage in TRANSFER else None,
        mean=estimate_mean(values, strata=rows["step"].to_numpy(np.int64)),
        share=float(values.mean()) / mean_latency if mean_latency > 0 else None,
        p50=quantile(ordered, 0.50) if len(ordered) >= 2 else None,
        p95=quantile(ordered, 0.95) if len(ordered) >= 20 else None,
        estimated=stage == "queue_est",
    )


def model_findings(calls: pd.DataFrame, rows: pd.DataFrame) -> tuple[ModelFindings, ...]:
    """The chain: what each model cost the requests in `rows`, most expensive first.

    `mean_per_request_s` divides by all requests of the set, those that never called the model included.
    """
    n, mean_latency = len(rows), _mean_latency(rows)
    return tuple(
        ModelFindings(
            model=str(cost.name),
            calls=cost.count,
            calls_per_request=cost.count / n,
            mean_call_s=cost.total_s / cost.count,
            mean_per_request_s=cost.total_s / n,
            share=cost.total_s / n / mean_latency if mean_latency > 0 else 0.0,
        )
        for cost in _costs(calls, rows, "model")
    )


def wait_findings(waits: pd.DataFrame, rows: pd.DataFrame) -> tuple[WaitFindings, ...]:
    """What the requests in `rows` waited for, the most expensive resource first; `waits` are rows of model.Wait.

    A wait counts in full, also where another one or work of the same request stands beside it: the sum of these means
    may be more than the mean of the stage `queue`.
    """
    n, mean_latency = len(rows), _mean_latency(rows)
    kinds = _kinds(waits, rows)
    return tuple(
        WaitFindings(
            resource=cost.name,
            waits=cost.count,
            requests=cost.requests,
            mean_wait_s=cost.total_s / cost.count,
            mean_per_request_s=cost.total_s / n,
            share=cost.total_s / n / mean_latency if mean_latency > 0 else 0.0,
            kinds=kinds.get(cost.name, ()),
        )
        for cost in _costs(waits, rows, "resource")
    )


def _kinds(waits: pd.DataFrame, rows: pd.DataFrame) -> dict[str | None, tuple[tuple[str, float], ...]]:
    """What the waits for a resource were about, as far as they say, with the mean per request, largest first."""
    if "kind" not in waits:  # a run that was stored before there were kinds
        return {}
    told = waits[waits["kind"].notna() & waits["resource"].notna() & waits["request_id"].isin(rows["request_id"])]
    if told.empty:
        return {}
    found: dict[str | None, list[tuple[str, float]]] = {}
    sums = told.groupby(["resource", "kind"])["duration_s"].sum().reset_index()
    for row in sums.sort_values("duration_s", ascending=False, kind="stable").to_dict("records"):
        found.setdefault(str(row["resource"]), []).append((str(row["kind"]), float(row["duration_s"]) / len(rows)))
    return {resource: tuple(each) for resource, each in found.items()}


def _mean_latency(rows: pd.DataFrame) -> float:
    return float(rows["latency_s"].mean()) if len(rows) else 0.0


@dataclass(frozen=True, slots=True)
class _Cost:
    """What one name took of the requests of a set."""

    name: str | None
    count: int
    requests: int
    total_s: float


def _costs(intervals: pd.DataFrame, rows: pd.DataFrame, by: str) -> list[_Cost]:
    """The intervals of these requests, summed up by name; the cheapest together as "N others".

    Names come from spans: a service that makes one up for each request must not make a table of a million rows.
    """
    used = intervals[intervals["request_id"].isin(rows["request_id"])]
    if used.empty:
        return []
    found = used.groupby(by, sort=False, dropna=False).agg(
        count=("duration_s", "size"), requests=("request_id", "nunique"), total_s=("duration_s", "sum")
    )
    found = found.sort_values("total_s", ascending=False, kind="stable")
    listed, rest = found.iloc[:MOST_NAMES], found.iloc[MOST_NAMES:]
    costs = [
        _Cost(None if pd.isna(name) else str(name), int(count), int(requests), float(total_s))
        for name, count, requests, total_s in listed.itertuples()
    ]
    if len(rest):
        requests = used.loc[used[by].isin(rest.index), "request_id"].nunique()
        others = _Cost(f"{len(rest):,} others", int(rest["count"].sum()), requests, float(rest["total_s"].sum()))
        costs.append(others)
    return costs


def name_findings(rows: pd.DataFrame, split_rows: pd.DataFrame) -> tuple[NameFindings, ...]:
    """Each kind of request on its own, slowest mean first; the rarest of more than MOST_NAMES together.

    `rows` are the measured ledger rows in time order.
    """
    found = []
    common = rows["name"].value_counts()
    if len(common) > MOST_NAMES:  # a service that makes up a name for each request
        kept, others = common.index[: MOST_NAMES - 1], f"{len(common) - MOST_NAMES + 1:,} others"
        rows, split_rows = (f.assign(name=f["name"].where(f["name"].isin(kept), others)) for f in (rows, split_rows))
    for name, group in rows.groupby("name", sort=False):
        ok = group[group["ok"]]
        latency, steps = ok["latency_s"].to_numpy(dtype=np.float64), ok["step"].to_numpy(dtype=np.int64)
        largest = _largest(stage_findings(split_rows[split_rows["name"] == name]))
        found.append(
            NameFindings(
                name=str(name),
                ok=len(latency),
                failed=len(group) - len(latency),
                mean=estimate_mean(latency, strata=steps),
                p50=estimate_quantile(latency, 0.50, strata=steps),
                p95=estimate_quantile(latency, 0.95, strata=steps),
                bottleneck=largest.stage if largest else None,
                bottleneck_share=largest.share if largest else None,
            )
        )
    return tuple(sorted(found, key=lambda f: -(f.mean.value or 0.0)))


def _largest(stages: tuple[StageFindings, ...]) -> StageFindings | None:
    whole = [s for s in stages if s.part_of is None and s.share is not None]
    return max(whole, key=lambda s: s.share or 0.0, default=None)


assert set(ORDER) == {*STAGES, "transfer"}  # noqa: S101 - a stage added to the model must be shown
