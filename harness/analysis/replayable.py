"""A run made ready for a replay, or the reason why none would be right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from harness.analysis import calibration
from harness.analysis.calibration import Queue, per_request
from harness.analysis.visits import Floats, Parts, Rows, parts
from harness.diagnosis import Steadiness, StepFindings
from harness.join import CHANNELS, SERVER_TIMING, Halves
from harness.ledger import with_server_half
from harness.model import CLAIMS, Arrivals
from harness.units import format_duration, format_share

LEAST_COVERAGE = 0.99
MUCH_ELSEWHERE = 0.10
"""Of the mean latency: waiting for something else than the replayed resource makes the model of one queue wrong."""
OF_A_REQUEST = 0.05
"""Of the mean latency: what grows by less, with the number of requests, moves no answer."""
FULL = 0.99  # utilisation
SCALABLE = ("preprocess", "inference", "postprocess", "other", "upload", "download")


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A run as it was recorded. `rows` are ledger rows of `samples`, in the same order, and `halves` those of them."""

    arrivals: Arrivals
    samples: pa.Table
    halves: Halves
    rows: pd.DataFrame
    steps: tuple[StepFindings, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A run that the replay reproduces; `queue` is None when nobody had to wait. Seconds are of `counted` samples."""

    queue: Queue | None
    parts: Parts | None
    seconds: dict[str, Floats]  # of each stage that can be scaled, whole
    counted: Rows  # the samples whose latency is told
    latency_s: Floats
    waited_s: Floats
    replayed_s: Floats
    span_s: float  # from the first to the last of them


def calibrate(run: Recorded) -> Calibrated | str:
    """The run made ready for answers, or the sentence that says why there are none."""
    refusal = _not_replayable(run)
    if refusal is not None:
        return refusal
    n = run.samples.num_rows
    rows = with_server_half(run.rows)
    place = pd.Series(np.arange(n), index=run.samples.column("request_id").to_numpy())
    counted = place.loc[rows["request_id"]].to_numpy(dtype=np.int64)
    located = run.halves.start_ns[counted] >= 0
    rows, counted = rows[located], counted[located]
    resource = calibration.main_resource(run.halves)
    queue = None if resource is None else calibration.fit(run.halves, resource)
    latency_s = rows["latency_s"].to_numpy(dtype=np.float64)
    waited_s, replayed_s = (np.zeros(len(rows)) for _ in range(2))
    if queue is not None:
        waited_s = per_request(queue.found.wait_ns, queue.found.request, n)[counted]
        replayed_s = per_request(queue.waits_ns(queue.visits, queue.servers), queue.found.request, n)[counted]
    found = Calibrated(
        queue=queue,
        parts=None if queue is None else parts(run.halves, queue.found),
        seconds=_stage_seconds(rows),
        counted=counted,
        latency_s=latency_s,
        waited_s=waited_s,
        replayed_s=replayed_s,
        span_s=float(np.ptp(run.halves.start_ns[counted])) / 1e9,
    )
    return _unlike_a_queue(run, found) or found


def _not_replayable(run: Recorded) -> str | None:
    if run.arrivals is Arrivals.USERS:
        return "a closed loop cannot be replayed: its requests come because others have ended"
    answered = run.samples.column("status").is_valid().to_numpy(zero_copy_only=False)
    rows = with_server_half(run.rows)
    if rows.empty:
        return "no request has a server half: nothing is known about who waited for what"
    halves = run.halves
    if (halves.channel[answered & halves.known] == CHANNELS.index(SERVER_TIMING)).mean() > 1.0 - LEAST_COVERAGE:
        return (
            "the server halves are from Server-Timing, which has lengths but no instants: "
            "a replay needs spans (OTEL_EXPORTER_OTLP_ENDPOINT)"
        )
    known = float((halves.start_ns[answered] >= 0).mean())
    if known < LEAST_COVERAGE:
        return (
            f"{format_share(known)} of the answered requests have a server half, a replay needs "
            f"{format_share(LEAST_COVERAGE)}: who is missing held the resource, too"
        )
    if rows["queue_s"].isna().any():
        return "the service records no waits: without them nothing tells whether a replay is right"
    unstable = [step for step in run.steps if step.state is Steadiness.UNSTABLE]
    if unstable:
        return f"load step {unstable[0].step + 1} is unstable: its latencies grow with the length of the test"
    return None


def _stage_seconds(rows: pd.DataFrame) -> dict[str, Floats]:
    """The stages that are known in every row and take time."""
    columns = {stage: rows[f"{stage}_s"].to_numpy(dtype=np.float64) for stage in SCALABLE}
    return {stage: c for stage, c in columns.items() if len(c) and not np.isnan(c).any() and c.sum() > 0}


def _unlike_a_queue(run: Recorded, found: Calibrated) -> str | None:
    """Why the run does not behave as requests that wait in one line and otherwise know nothing of each other."""
    halves, queue = run.halves, found.queue
    mean_s = float(found.latency_s.mean())
    elsewhere = _elsewhere(run, found)
    if elsewhere is not None:
        return elsewhere
    if queue is not None:
        refusal = calibration.misfit(found.waited_s, found.replayed_s, found.latency_s)
        if refusal is not None:
            return refusal
        if _utilisation(found) >= FULL:
            return f"{queue.resource} is busy all the time: its queue grows with the length of the test"
    located = halves.start_ns >= 0
    others = np.zeros(len(located), np.int64)
    pool = halves.process_of.astype(np.int64)
    others[located] = calibration.beside(halves.start_ns[located], halves.end_ns[located], pool[located])
    for what, length_s in _kept(run, found):
        grown = calibration.growth(length_s, others[found.counted])
        if grown is not None and grown.many_s - grown.few_s > OF_A_REQUEST * mean_s:
            return calibration.shared(what, grown)
    return None


def _elsewhere(run: Recorded, found: Calibrated) -> str | None:
    """Waiting for other resources, and before the service takes a request."""
    intervals, n = run.halves.intervals, run.samples.num_rows
    main = found.queue.resource if found.queue is not None else None
    wait = intervals.stage == CLAIMS.index("queue")
    length = (intervals.end_ns - intervals.start_ns) / 1e9
    names = [*intervals.resources, None]  # position -1: a wait for nobody knows what
    for number in np.unique(intervals.resource_of[wait]).tolist():
        name = names[number]
        if name is not None and name == main:
            continue
        of = wait & (intervals.resource_of == number)
        seconds = float(np.bincount(intervals.request[of], weights=length[of], minlength=n)[found.counted].mean())
        if seconds > MUCH_ELSEWHERE * found.latency_s.mean():
            beside = f" beside {main}" if main is not None else ""
            return (
                f"the model does not fit: requests also wait {format_duration(seconds)} (mean) for "
                f"{name or 'an unnamed resource'}{beside}, and a replay has one queue"
            )
    return None


def _utilisation(found: Calibrated) -> float:
    queue = found.queue
    if queue is None or not len(queue.found):
        return 0.0
    length = np.ptp(np.concatenate((queue.found.arrive_ns, queue.found.release_ns)))
    return float(queue.visits.hold_ns.sum()) / max(1.0, float(length) * queue.servers * queue.pools)


def _kept(run: Recorded, found: Calibrated) -> list[tuple[str, Floats]]:
    """What the replay leaves as recorded, per counted request: its parts must not know of the other requests."""
    queue, counted, halves = found.queue, found.counted, run.halves
    if queue is None:
        return [("the request as a whole", found.latency_s)]
    n = run.samples.num_rows
    hold_s = per_request(queue.found.release_ns - queue.found.grant_ns, queue.found.request, n)[counted]
    inside_s = (halves.end_ns[counted] - halves.start_ns[counted]) / 1e9
    return [
        (f"the work in {queue.resource}", hold_s),
        ("the rest inside the service", inside_s - hold_s - found.waited_s),
        ("the way to the service and back", found.latency_s - inside_s),
    ]
