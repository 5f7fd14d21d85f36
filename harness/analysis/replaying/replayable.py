"""A run made ready for a replay, or the reason why none would be right."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from harness.analysis.replaying import calibration
from harness.analysis.replaying.calibration import Queue, per_request
from harness.analysis.replaying.visits import Floats, Parts, Rows, Times, parts
from harness.analysis.statistics.quantiles import estimate_quantile, needed
from harness.diagnosis import Steadiness, StepFindings
from harness.join import CHANNELS, SERVER_TIMING, Halves
from harness.ledger import with_server_half
from harness.model import CLAIMS, Arrivals
from harness.units import format_count, format_duration, format_share

LEAST_COVERAGE = 0.99
MUCH_ELSEWHERE = 0.10
"""Of the mean latency: waiting for something else than the replayed resource makes the model of one queue wrong."""
OF_A_REQUEST = 0.05
"""Of the mean latency: what grows by less, with the number of requests, moves no answer."""
FULL = 0.99  # utilisation
LONG_LINE = 0.1
"""Of the requests: with so many in line at its end, a longer test would have had longer waits."""
LEAST_LINE = 10
LEAST_TO_TELL = 100
"""Fewer leave no two groups, beside many others and beside few, that could be told apart."""
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
    outside_s: Floats  # on the way to the service and back
    way_back_s: Floats  # of it, where that is known apart; else all of it
    came_per_s: float | None  # how many of them
    has_p99: bool  # whether they carry a p99, by the rule of every latency that is reported


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
    if resource is not None and calibration.in_batches(run.halves, resource):
        name = run.halves.intervals.resources[resource]
        return f"{name} collects requests into batches: who waits for one waits for its members, which no queue replays"
    queue = None if resource is None else calibration.fit(run.halves, resource)
    latency_s = rows["latency_s"].to_numpy(dtype=np.float64)
    waited_s, replayed_s = (np.zeros(len(rows)) for _ in range(2))
    if queue is not None:
        waited_s = per_request(queue.found.wait_ns, queue.found.request, n)[counted]
        replayed_s = per_request(queue.waits_ns(queue.visits, queue.servers), queue.found.request, n)[counted]
    outside_s = np.maximum(0.0, latency_s - (run.halves.end_ns[counted] - run.halves.start_ns[counted]) / 1e9)
    lasted_s = float(np.ptp(run.halves.start_ns[counted])) / 1e9
    found = Calibrated(
        queue=queue,
        parts=None if queue is None else parts(run.halves, queue.found),
        seconds=_stage_seconds(rows),
        counted=counted,
        latency_s=latency_s,
        waited_s=waited_s,
        replayed_s=replayed_s,
        outside_s=outside_s,
        came_per_s=(len(rows) - 1) / lasted_s if lasted_s > 0 else None,
        has_p99=estimate_quantile(latency_s, 0.99, strata=rows["step"].to_numpy(np.int64)).value is not None,
        way_back_s=np.minimum(outside_s, np.nan_to_num(rows["download_s"].to_numpy(dtype=np.float64), nan=math.inf)),
    )
    return _unlike_a_queue(run, found) or found


def _not_replayable(run: Recorded) -> str | None:
    if run.arrivals is Arrivals.USERS:
        return "a closed loop cannot be replayed: its requests come because others have ended"
    answered = run.samples.column("status").is_valid().to_numpy(zero_copy_only=False)
    rows = with_server_half(run.rows)
    if rows.empty:
        return "no request has a server half: nothing is known about who waited for what"
    if len(rows) < needed(0.5):
        return f"{format_count(len(rows))} requests are too few: p50 needs {needed(0.5)}"
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
    queue = found.queue
    mean_s = float(found.latency_s.mean())
    elsewhere = _elsewhere(run, found)
    if elsewhere is not None:
        return elsewhere
    if queue is not None:
        refusal = calibration.misfit(found.waited_s, found.replayed_s, found.latency_s) or calibration.idle(queue)
        if refusal is not None:
            return refusal
        if _utilisation(found) >= FULL or _line_at_end(found) > max(LEAST_LINE, LONG_LINE * len(found.counted)):
            return f"{queue.resource} is busy all the time: its queue grows with the length of the test"
    if len(found.counted) < LEAST_TO_TELL:
        return (
            f"needs about {LEAST_TO_TELL} requests to tell whether they share something that was not recorded, "
            f"has {format_count(len(found.counted))}"
        )
    for stretch in _kept(run, found):
        grown = calibration.growth((stretch.end_ns - stretch.begin_ns) / 1e9, stretch.others)
        if grown is not None and grown.many_s - grown.few_s > OF_A_REQUEST * mean_s:
            return calibration.shared(stretch.what, grown)
    return None


def _elsewhere(run: Recorded, found: Calibrated) -> str | None:
    """Waiting for other resources, and before the service takes a request."""
    intervals, n = run.halves.intervals, run.samples.num_rows
    main = found.queue.resource if found.queue is not None else None
    wait = intervals.stage == CLAIMS.index("queue")
    length = (intervals.end_ns - intervals.start_ns) / 1e9
    counted = np.zeros(n, np.bool_)
    counted[found.counted] = True
    of = intervals.resource_of[wait & counted[intervals.request]] + 1  # 0: a wait for nobody knows what
    sums = np.bincount(of, weights=length[wait & counted[intervals.request]], minlength=1)
    names = [None, *intervals.resources]
    for number in np.flatnonzero(sums / max(1, len(found.counted)) > MUCH_ELSEWHERE * found.latency_s.mean()).tolist():
        name = names[number]
        if name is not None and name == main:
            continue
        beside = f" beside {main}" if main is not None else ""
        seconds = float(sums[number]) / len(found.counted)
        return (
            f"the replay does not fit this run: requests also wait {format_duration(seconds)} (mean) for "
            f"{name or 'an unnamed resource'}{beside}, and a replay has one queue"
        )
    return None


def _utilisation(found: Calibrated) -> float:
    """Of the servers, between the first and the last arrival of a counted request."""
    queue = found.queue
    if queue is None:
        return 0.0
    counted = np.isin(queue.found.request, found.counted)
    if not counted.any():
        return 0.0
    since, until = queue.found.arrive_ns[counted].min(), queue.found.arrive_ns[counted].max()
    held = np.minimum(queue.found.release_ns, until) - np.maximum(queue.found.grant_ns, since)
    return float(np.maximum(held, 0).sum()) / max(1.0, float(until - since) * queue.servers * queue.pools)


def _line_at_end(found: Calibrated) -> int:
    """How many stood in line when the last of the counted requests came."""
    queue = found.queue
    if queue is None:
        return 0
    counted = np.isin(queue.found.request, found.counted)
    if not counted.any():
        return 0
    last_ns = queue.found.arrive_ns[counted].max()
    return int(((queue.found.arrive_ns <= last_ns) & (queue.found.grant_ns > last_ns)).sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    """A part of each request that the replay leaves as recorded, and how many others were in it when it began."""

    what: str
    begin_ns: Times
    end_ns: Times
    others: Rows


def _kept(run: Recorded, found: Calibrated) -> list[_Stretch]:
    """The parts of the requests that must not know of other requests; instants are those of the service's clock."""
    queue, halves, counted = found.queue, run.halves, found.counted
    opened, closed = halves.start_ns[counted], halves.end_ns[counted]
    sent = opened - np.rint(np.maximum(0.0, found.outside_s - found.way_back_s) * 1e9).astype(np.int64)
    done = closed + np.rint(found.way_back_s * 1e9).astype(np.int64)
    pool = halves.process_of[counted].astype(np.int64)
    if queue is None:
        return [_stretch("the whole request", sent, done, pool)]
    n = run.samples.num_rows
    first, last = np.full(n, np.iinfo(np.int64).max), np.full(n, -1)
    np.minimum.at(first, queue.found.request, queue.found.arrive_ns)
    np.maximum.at(last, queue.found.request, queue.found.release_ns)
    came = last[counted] >= 0
    sent, done, pool = sent[came], done[came], pool[came]
    counts = np.isin(queue.found.request, counted)
    visits = queue.found
    at_work = _stretch(f"the work in {queue.resource}", visits.grant_ns, visits.release_ns, visits.pool)
    in_line = calibration.beside(visits.arrive_ns, visits.release_ns, visits.pool)
    return [
        replace(at_work, begin_ns=at_work.begin_ns[counts], end_ns=at_work.end_ns[counts], others=others[counts])
        for others in (at_work.others, in_line)
    ] + [
        _stretch(f"the way to {queue.resource}", sent, np.maximum(sent, first[counted][came]), pool),
        _stretch(f"the way back from {queue.resource}", np.minimum(last[counted][came], done), done, pool),
    ]


def _stretch(what: str, begin_ns: Times, end_ns: Times, pool: Rows) -> _Stretch:
    return _Stretch(what, begin_ns, end_ns, calibration.beside(begin_ns, end_ns, pool))
