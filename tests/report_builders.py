"""Summaries and ledgers for the tests of the reports: a run of a document reader, with changes as asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from harness.diagnosis import Sentence
from harness.findings import (
    Bottleneck,
    Counts,
    Coverage,
    Estimate,
    Health,
    HealthState,
    LatencyFindings,
    Loss,
    ModelFindings,
    NameFindings,
    Reading,
    RequestRow,
    SloFindings,
    StageFindings,
    Summary,
    Verdict,
    WaitFindings,
)
from harness.model import RunWarning

SECOND = 1_000_000_000
STARTED_NS = 1_767_323_045 * SECOND  # 2026-01-02 03:04:05 UTC
NOTHING = Estimate(None, None, None, 0, refusal="no request counts here")
NO_LATENCY = LatencyFindings(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, None)

# The means add up to 0.1824 s by hand: 0.4 + 6.0 + 12.0 + 31.0 + 118.6 + 9.4 + 5.0 ms.
MEANS_MS = {
    "backlog": 0.4, "transfer": 6.0, "connect": 0.5, "upload": 3.5, "download": 2.0, "queue": 12.0,
    "preprocess": 31.0, "inference": 118.6, "postprocess": 9.4, "other": 5.0, "unsplit": 0.0,
}  # fmt: skip
PARTS = ("connect", "upload", "download")


def an_estimate(value: float, spread: float = 0.04, n: int = 240) -> Estimate:
    return Estimate(value, value * (1 - spread), value * (1 + spread), n)


def a_latency(scale: float = 1.0, **changes: object) -> LatencyFindings:
    found = LatencyFindings(
        mean=an_estimate(0.1824 * scale),
        p50=an_estimate(0.1702 * scale),
        p90=an_estimate(0.2650 * scale),
        p95=an_estimate(0.3104 * scale, 0.09),
        p99=Estimate(None, None, None, 240, refusal="needs 368 requests, has 240"),
        max_s=0.6125 * scale,
    )
    return dataclasses.replace(found, **changes)


def some_stages() -> tuple[StageFindings, ...]:
    return tuple(
        StageFindings(
            stage=stage,
            part_of="transfer" if stage in PARTS else None,
            mean=an_estimate(mean / 1000),
            share=mean / 182.4,
            p50=mean / 1000 * 0.9,
            p95=mean / 1000 * 1.8,
        )
        for stage, mean in MEANS_MS.items()
    )


def a_request(request_id: int, latency_s: float, name: str = "receipt") -> RequestRow:
    stages = tuple((s, ms / 182.4 * latency_s) for s, ms in MEANS_MS.items() if s != "transfer")
    return RequestRow(request_id, f"{request_id:032x}", name, latency_s, (*stages, ("queue_est", None)))


def some_counts(**changes: object) -> Counts:
    counts = Counts(
        scheduled=244, sent=244, ok=240, failed=4, censored=0, warmup=40,
        errors=(("timeout after 30 s", 3), ("status 503", 1)), split=(("marks", 240),),
        offered_per_s=4.07, completed_per_s=4.0,
    )  # fmt: skip
    return dataclasses.replace(counts, **changes)


def a_health(**changes: object) -> Health:
    health = Health(
        state=HealthState.HEALTHY,
        readings=(
            Reading(
                "lateness_p99", 0.0021, "s", 0.01, 0.05, "how late sends left the schedule", "use a larger machine"
            ),
            Reading("lateness_max", 0.0342, "s", 0.5, 2.0, "the latest of all"),
            Reading("hub_lag_p99", 0.012, "s", 0.01, 0.05, "how long the event loop kept a ready socket waiting"),
            Reading("cpu", 0.31, "ratio", 0.7, 0.9, "share of one core used by the busiest generator process"),
            Reading("dropped_spans", None, "count", None, 0, "spans the receiver had to refuse"),
        ),
        reasons=(),
    )
    return dataclasses.replace(health, **changes)


def some_slos() -> tuple[SloFindings, ...]:
    return (
        SloFindings("p95(latency) < 1s", Verdict.PASSED, 0.3104, 1.0, "s", 244, "0 of 244 above; 8 were allowed"),
        SloFindings("p90(inference) < 100ms", Verdict.FAILED, 0.1630, 0.1, "s", 240, "139 of 240 above the limit"),
        SloFindings("p99(latency) < 2s", Verdict.NOT_ENOUGH_DATA, None, 2.0, "s", 244, "needs 299 requests, has 244"),
        SloFindings("error_rate < 2%", Verdict.PASSED, 0.0164, 0.02, "ratio", 244, "4 of 244 failed"),
    )


def some_waits() -> tuple[WaitFindings, ...]:
    """Two named resources and one that is not; they add up to the 12 ms of the stage queue."""
    return (
        WaitFindings("threadpool", 96, 96, 0.0225, 0.009, 0.049),
        WaitFindings("model_lock", 48, 40, 0.0125, 0.0025, 0.014),
        WaitFindings(None, 240, 240, 0.0005, 0.0005, 0.003),
    )


def a_coverage(**changes: object) -> Coverage:
    coverage = Coverage(240, 240, Loss.NONE, 1.0, 0.0, None, "each of 240 requests has a server half")
    return dataclasses.replace(coverage, **changes)


def a_summary(**changes: object) -> Summary:
    summary = Summary(
        schema_version=1,
        run_id="20260102T030405Z-read-receipts",
        scenario="read-receipts",
        target="http://127.0.0.1:8000",
        started_ns=STARTED_NS,
        duration_s=72.4,
        load="poisson 4/s, 10 s warm-up, 60 s",
        interrupted=False,
        verdict=Verdict.FAILED,
        reasons=("p90(inference) < 100ms: 139 of 240 above the limit",),
        sentences=(
            Sentence("Inference takes 65 % of the mean latency.", ("118.6 of 182.4 ms (n = 240)",)),
            Sentence(
                "Slow requests are slow in inference: it explains 72 % (55 % … 86 %) of the way from typical to slow."
            ),
        ),
        counts=some_counts(),
        latency=a_latency(),
        service=a_latency(0.995),
        stage_set="n = 240 ok, measured, with server half; mean 182 ms",
        stages=some_stages(),
        names=(
            NameFindings("receipt-12-lines", 60, 4, *(an_estimate(s) for s in (0.41, 0.39, 0.61)), "inference", 0.81),
            NameFindings("receipt-2-lines", 180, 0, *(an_estimate(s) for s in (0.106, 0.101, 0.19)), "transfer", 0.44),
        ),
        models=(
            ModelFindings("text-recognition", 1440, 6.0, 0.0144, 0.0864, 0.474),
            ModelFindings("text-detection", 240, 1.0, 0.0322, 0.0322, 0.177),
        ),
        slo=some_slos(),
        bottleneck=Bottleneck("inference", None, "text-recognition", 0.72, (0.55, 0.86), 240, "Inference it is."),
        health=a_health(),
        warnings=(RunWarning("no_reference", "queue before the window is not known", "run once at a low rate", False),),
        slowest=tuple(a_request(i, s) for i, s in ((17, 0.6125), (101, 0.5), (33, 0.4712))),
        typical=tuple(a_request(i, s) for i, s in ((5, 0.171), (77, 0.1702))),
        environment=(("python", "3.11.2"), ("cpu", "2 cores")),
        span_source="auto: server-timing for 280 requests (100% with marks); clock offset 12.0 us ± 80.0 us",
        coverage=a_coverage(),
        waits=some_waits(),
    )
    return dataclasses.replace(summary, **changes)


def an_empty_summary() -> Summary:
    """A run that measured nothing at all."""
    return a_summary(
        verdict=Verdict.NOT_ENOUGH_DATA,
        reasons=("no request of the measured phase was answered",),
        sentences=(),
        counts=Counts(0, 0, 0, 0, 0, 0, (), (), None, None),
        latency=NO_LATENCY,
        service=NO_LATENCY,
        stage_set="no row",
        stages=(),
        names=(),
        models=(),
        slo=(),
        bottleneck=None,
        health=Health(HealthState.HEALTHY, (), ()),
        warnings=(),
        slowest=(),
        typical=(),
        environment=(),
        span_source="",
        coverage=None,
        waits=(),
    )


def a_ledger(n: int = 240, *, failed: float = 0.02, warmup: float = 0.15, seed: int = 1) -> pd.DataFrame:
    """A ledger of n requests at 4/s: log-normal stages that add up to the latency."""
    rng = np.random.default_rng(seed)
    stages = {
        stage: rng.lognormal(np.log(mean / 1000), 0.4, n)
        for stage, mean in MEANS_MS.items()
        if stage not in ("transfer", "unsplit")
    }
    ok = rng.random(n) >= failed
    frame = pd.DataFrame({f"{stage}_s": values for stage, values in stages.items()})
    latency = frame.sum(axis=1)
    frame["transfer_s"] = frame["connect_s"] + frame["upload_s"] + frame["download_s"]
    frame["unsplit_s"] = 0.0
    frame["queue_est_s"] = np.nan
    frame["clipped_s"] = 0.0
    frame["latency_s"] = np.where(ok, latency, 30.0)
    frame["service_s"] = frame["latency_s"] - frame["backlog_s"]
    frame["request_id"] = np.arange(n)
    frame["trace_id"] = [f"{i:032x}" for i in range(n)]
    frame["name"] = "receipt"
    frame["phase"] = np.where(np.arange(n) < n * warmup, "warmup", "measure")
    frame["step"] = 0
    frame["ok"] = ok
    frame["split"] = np.where(ok, "marks", "none")
    frame["scheduled_ns"] = STARTED_NS + np.cumsum(rng.exponential(0.25, n) * SECOND).astype(np.int64)
    return frame
