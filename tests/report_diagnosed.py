"""A run whose slowness is explained, for the tests of the reports: three load steps, the last unstable; a lock; large
payloads."""

from __future__ import annotations

import dataclasses

from report_builders import NOTHING, a_latency, a_summary, an_estimate, some_counts

from harness.diagnosis import (
    BlameFindings,
    Cause,
    Contrast,
    Grows,
    GrowthFindings,
    Level,
    Sentence,
    Steadiness,
    StepFindings,
    TailFindings,
    TailShare,
    WhatIfFindings,
    WorkFindings,
)
from harness.findings import Bottleneck, Estimate, LatencyFindings, Summary, WaitFindings

UNSTABLE = "the step is unstable: more requests came than were answered"
REFUSED = Estimate(None, None, None, 2400, refusal=UNSTABLE)
NO_PERCENTILES = LatencyFindings(an_estimate(4.1), REFUSED, REFUSED, REFUSED, REFUSED, 12.4)


FILLED = (
    "40/s came and 27.4/s were answered in the second half of the step: 372 requests were in flight at its begin, 750"
    " at its end"
)


def a_step(**changes: object) -> StepFindings:
    """The first step: 10/s for 60 s, steady, nothing failed."""
    step = StepFindings(
        step=0, level=10.0, scheduled=600, ok=600, failed=Estimate(0.0, 0.0, 0.0061, 600), offered_per_s=10.0,
        completed_per_s=10.0, state=Steadiness.STEADY,
        sentence="typical latency changed by +1.0% over the step (-3.0% to +5.0%), n = 600", settled_after_s=None,
        drift=Estimate(0.01, -0.03, 0.05, 600), latency=a_latency(0.6), answered=a_latency(0.6),
        stages=(("queue", 0.004), ("inference", 0.071)), in_flight=1.09, gauge=1.12,
    )  # fmt: skip
    return dataclasses.replace(step, **changes)


def some_steps() -> tuple[StepFindings, ...]:
    return (
        a_step(),
        a_step(
            step=1, level=20.0, scheduled=1200, ok=1194, failed=Estimate(0.005, 0.0023, 0.0109, 1200),
            offered_per_s=20.0, completed_per_s=19.9, state=Steadiness.WARMING, settled_after_s=8.0,
            sentence="for the first 8 s latency was 1.3 times as slow as the rest, then it was steady",
            latency=a_latency(1.4), answered=a_latency(1.38), in_flight=5.1, gauge=5.0,
        ),
        a_step(
            step=2, level=40.0, scheduled=2400, ok=1644, failed=Estimate(0.315, 0.2968, 0.3339, 2400),
            offered_per_s=40.0, completed_per_s=27.4, state=Steadiness.UNSTABLE, sentence=FILLED, drift=None,
            latency=NO_PERCENTILES, answered=NO_PERCENTILES, in_flight=112.0, gauge=118.0,
            checks=(("lines[0].text ~ (?i)total", 702), ("max_bytes", 4)),
        ),
    )  # fmt: skip


def some_blame() -> tuple[BlameFindings, ...]:
    """The shares of model_lock, and of the batcher, sum to 1; waits are 62 + 16 + 2 = 80 ms and 6 + 4 = 10 ms."""
    large, small = "receipt-12-lines", "receipt-2-lines"
    return (
        BlameFindings("model_lock", "inference", "text-recognition", large, False, 0.062, 0.775, 1410),
        BlameFindings("model_lock", "inference", "text-recognition", small, True, 0.016, 0.2, 1410),
        BlameFindings("model_lock", "postprocess", None, large, False, 0.002, 0.025, 1410),
        BlameFindings("batcher", None, None, None, False, 0.006, 0.6, 1794),
        BlameFindings("batcher", "inference", "text-detection", None, False, 0.004, 0.4, 1794),
    )


SENT = (
    "80 of 90 slow requests sent 1.2 MiB or more, of the typical ones 42 of 360; with it 512 ms on average, without"
    " 148 ms."
)
SERVED = "61 of 90 slow requests were served by 4711, of the typical ones 119 of 360; with it 301 ms on average."


def some_contrasts() -> tuple[Contrast, ...]:
    return (
        Contrast("bytes_sent", "1.2 MiB or more", 80, 90, 42, 360, 0.81, 1e-9, 0.512, 0.148, SENT),
        Contrast("process", "4711", 61, 90, 119, 360, 0.09, 0.002, 0.301, None, SERVED),
    )


def some_causes() -> tuple[Cause, ...]:
    return (
        Cause(
            "lock", "queue", "model_lock", "text-recognition",
            "Requests queue for model_lock, which one of them holds through text-recognition: 80 ms of the mean one.",
            "give each worker its own session, or call the model without the lock: onnxruntime sessions are safe to"
            " share between threads",
            ("model_lock: 1,410 of 1,794 requests waited, 80.0 ms a request (n = 1,794)",
             "77.5% of that wait the lock was held in inference of receipt-12-lines"),
            0.08,
        ),
        Cause(
            "upload", "upload", None, None, "Large images take long to arrive: 21 ms of the mean request.",
            "resize the image before it is sent", ("80 of 90 slow requests send 1.2 MiB or more",), 0.021,
        ),
    )  # fmt: skip


def some_growth() -> tuple[GrowthFindings, ...]:
    return (
        GrowthFindings("queue", 0, 2, 0.004, 0.088, an_estimate(0.084, 0.1), 0.84, 0.0, Grows.WAITS),
        GrowthFindings("inference", 0, 2, 0.071, 0.089, an_estimate(0.018, 0.3), 0.18, 0.015, Grows.WORKS),
        GrowthFindings("other", 0, 2, 0.005, 0.004, Estimate(-0.001, -0.003, 0.001, 900), -0.01, None, None),
        GrowthFindings("upload", 0, 2, 0.002, 0.001, NOTHING, -0.01, None, None),
    )


def some_tail() -> TailFindings:
    """Shares 0.71 + 0.22 + 0.05 + 0.04 - 0.02 = 1 of 442 ms."""
    shares = (("queue", 0.71, 0.58, 0.83), ("inference", 0.22, 0.11, 0.34), ("preprocess", 0.05, 0.01, 0.09),
              ("transfer", 0.04, -0.01, 0.09), ("other", -0.02, -0.05, 0.01))  # fmt: skip
    found = tuple(TailShare(*share) for share in shares)
    return TailFindings("p99 - p50", 0.442, 0.612, 0.17, 1794, 18, found)


def an_unclear_tail() -> TailFindings:
    shares = (TailShare("queue", 0.55, 0.31, 0.8), TailShare("inference", 0.45, 0.2, 0.69))
    return dataclasses.replace(some_tail(), shares=shares)


def some_gains(**changes: object) -> tuple[WhatIfFindings, ...]:
    """The p99 of 612 ms falls to 204.1 and to 421 ms; one more answer would never settle."""
    now = Level(0.1824, 0.1702, 0.612)
    first = WhatIfFindings(
        change="one more request inside model_lock (1 -> 2)", resource="model_lock", servers=2, pools=1, n=1794,
        measured_wait_s=(0.061, 0.44), replayed_wait_s=(0.06, 0.43), now=now, then=Level(0.12, 0.0955, 0.2041),
        most_per_s=16.86, refusal=None,
    )  # fmt: skip
    second = dataclasses.replace(
        first, change="inference x 0.8", servers=1, then=Level(0.15, 0.131, 0.421), most_per_s=10.5
    )
    return tuple(dataclasses.replace(found, **changes) for found in (first, second))


def no_gains(why: str) -> tuple[WhatIfFindings, ...]:
    nothing = (0.0, 0.0)
    return (WhatIfFindings("a replay", None, None, 0, 0, nothing, nothing, None, None, None, why),)


def told(cause: Cause) -> Sentence:
    """As the verdict tells a cause."""
    return Sentence(f"{cause.sentence} Try first: {cause.remedy}.", cause.evidence)


def some_sentences() -> tuple[Sentence, ...]:
    return (
        Sentence(
            "3,438 of 4,200 requests were answered as expected.",
            ("40/s: 31.5% failed (29.7% to 33.4%, n = 2,400)", "20/s: 0.5% failed (0.2% to 1.1%, n = 1,200)"),
        ),
        Sentence("Beyond 20/s the service falls behind.", ("40/s: 27.4/s answered of 40/s offered, n = 2,400",)),
        Sentence(
            "Slow requests are slow because they wait for model_lock.",
            ("queue is 71% of p99 - p50 (58% to 83%, n = 1,794)",),
        ),
        told(some_causes()[0]),
        Sentence(
            "What a fix would give, by a replay of this run: one more request inside model_lock (1 -> 2): p99 612 ms to"
            " 204 ms.",
            ("inference x 0.8: p99 612 ms to 421 ms", "replayed waits 60 ms (p50) and 430 ms (p99), n = 1,794"),
        ),
        Sentence("Nothing is known about waits before the service takes a request."),
    )


def a_diagnosed_summary(**changes: object) -> Summary:
    summary = a_summary(
        load="poisson 10/s, 20/s, 40/s, 10 s warm-up, 60 s each",
        counts=some_counts(scheduled=4200, sent=4200, ok=3438, failed=762, split=(("marks", 3438),)),
        sentences=some_sentences(),
        latency=a_latency(p50=an_estimate(0.1702, n=244)),
        answered=a_latency(0.97),
        steps=some_steps(),
        work=(
            WorkFindings("inference", 1794, 0.1186, 0.112, 0.112 / 0.1186),
            WorkFindings("preprocess", 1794, 0.031, 0.0298, 0.0298 / 0.031),
            WorkFindings("postprocess", 1788, 0.0094, 0.0021, 0.0021 / 0.0094),
        ),
        growth=some_growth(),
        tail=some_tail(),
        blame=some_blame(),
        contrasts=some_contrasts(),
        causes=some_causes(),
        gains=some_gains(),
        waits=(WaitFindings("model_lock", 1410, 1410, 0.1018, 0.08, 0.44),),
        bottleneck=Bottleneck("queue", "model_lock", None, 0.71, (0.58, 0.83), 1794, "Queue it is.", "lock"),
    )
    return dataclasses.replace(summary, **changes)
