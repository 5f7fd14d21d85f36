"""Doubts about the server halves of a run: lost, foreign, mixed up, repeated, or longer than their requests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from harness.analysis.absent import no_server_halves as absent_halves
from harness.analysis.coverage import LEAST_DELTA
from harness.findings import Coverage, Loss
from harness.join import Joined
from harness.model import RunWarning, SpanSpec
from harness.units import format_count, format_duration, format_share

MANY_DUPLICATES = 0.01
"""A larger share of spans that came more than once is worth a sentence."""
LONG_AFTER_S, LONG_AFTER = 0.010, 0.10
"""A service that goes on for longer than both, the share of the latency, after the answer does more than to end."""
LEAST_OUTLIVED, LEAST_OUTLIVED_SHARE = 5, 0.01
"""Fewer requests than both, the share of all, may have met a pause of the machine."""
OUTLIVED = "outlived"
SPANS_LOST = "harness.spans.lost"
"""Counted by a process with our instrumentation since it started: spans that it began and could not hand over."""

_QUEUE = "raise OTEL_BSP_MAX_QUEUE_SIZE in the service, or lower OTEL_BSP_SCHEDULE_DELAY"
_HEADER = "harness.instrument sends every answer its Server-Timing, which cannot be lost apart from it"


def find(
    rows: pd.DataFrame,
    split_rows: pd.DataFrame,
    joined: Joined,
    missing: int,
    coverage: Coverage | None,
    vitals: pa.Table | None,
    spec: SpanSpec | None = None,
) -> list[RunWarning]:
    """Warnings about the server halves: `missing` of them should be there and are not. Others are as in `doubts`."""
    absent = absent_halves(joined, spec) if split_rows.empty and missing else None
    checks = (
        absent if split_rows.empty else _missing(joined, missing, coverage),
        _leaked(joined),
        _lost_in_service(vitals, joined),
        _several_roots(joined),
        _orphans(joined),
        _outlived(rows, joined),
        _trailing(joined),
        _duplicates(joined),
        _streamed(joined),
    )
    return [warning for warning in checks if warning is not None]


# --- halves that are not there -----------------------------------------------------------------------------


def _missing(joined: Joined, missing: int, coverage: Coverage | None) -> RunWarning | None:
    if missing == 0:
        return _dropped(joined, coverage)
    message = coverage.sentence if coverage is not None else f"{format_count(missing)} server halves are missing"
    if joined.incomplete:
        message += f"; {format_count(joined.incomplete)} arrived in part"
    loss = coverage.loss if coverage is not None else Loss.UNTESTED
    if loss is Loss.BIASED:
        return RunWarning("biased_loss", message, _biased(coverage))
    if loss is Loss.CLUSTERED:
        at = ""
        if coverage is not None and coverage.worst_second_at_s is not None:
            at = f"; the worst second begins {format_duration(coverage.worst_second_at_s, trim=True)} after the first"
        hint = (
            f"no stage is judged or blamed; a queue overflowed, or an exporter or collector stood still: {_QUEUE}, and "
            f"look at its log; {_HEADER}"
        )
        return RunWarning("clustered_loss", message + at, hint)
    hint = "a stage's percentile counts the missing ones as the slowest, its mean leaves them out; " + _QUEUE
    return RunWarning("missing_server_halves", message, hint)


def _biased(coverage: Coverage | None) -> str:
    """What the sign of the difference says: which way the stage figures are wrong, and who loses such spans."""
    if coverage is not None and coverage.lacking is not None:
        return (
            "no stage is judged or blamed: the endpoint behind it has no server half of its own (another service, an "
            f"endpoint that tracing leaves out), or its spans are dropped: {_QUEUE}; {_HEADER}"
        )
    if coverage is not None and coverage.delta is not None and coverage.delta < -LEAST_DELTA:
        return (
            "no stage is judged or blamed: of the slow requests alone, its figures would be too high; a queue that "
            f"fills up under load drops whole bursts of quick ones, or a sampler prefers what is slow: {_QUEUE}, lower "
            f"the rate, or record fewer requests (`sampled:` in spans); {_HEADER}"
        )
    return (
        "no stage is judged or blamed: of the fast requests alone, its figures would be too low; the spans of slow "
        "requests are dropped by a collector or come after the run has stopped waiting for them, or a queue overflows "
        f"under load: {_QUEUE}; {_HEADER}"
    )


def _dropped(joined: Joined, coverage: Coverage | None) -> RunWarning | None:
    """Halves missing at random are a sampler's work, unless parts of others are missing: it takes whole traces."""
    torn = (
        (joined.orphans, "{} spans lack the one above them"),
        (joined.rootless, "{} requests have spans but no server span"),
        (joined.incomplete, "{} arrived in part"),
    )
    said = [text.format(format_count(count)) for count, text in torn if count]
    if coverage is None or coverage.loss is not Loss.UNIFORM or not said:
        return None
    missing = coverage.expected - coverage.matched
    return RunWarning(
        "missing_server_halves",
        f"{format_count(missing)} of {_of(coverage.expected, 'request')} have no server half, and {', '.join(said)}: "
        "spans are dropped, not sampled",
        f"what is left still stands for all, as far as their latency says; {_QUEUE}, and look at what its exporter or "
        f"collector logs; {_HEADER}",
    )


def _lost_in_service(vitals: pa.Table | None, joined: Joined) -> RunWarning | None:
    lost = spans_lost(vitals)
    if lost == 0:
        return None
    return RunWarning(
        "spans_lost",
        f"the service itself lost {format_count(lost)} of {format_count(lost + joined.spans)} spans (queue full or "
        "export failed)",
        f"{_QUEUE}; its log names an export that failed; {_HEADER}",
    )


def spans_lost(vitals: pa.Table | None) -> int:
    """Spans that the service's processes say they lost during the run.

    The counts go on for the life of a process: of a service that was up before, what it had lost by its first word in
    this run is not of this run.
    """
    if vitals is None or vitals.num_rows == 0:
        return 0
    counts = vitals.filter(pa.compute.equal(vitals.column("name"), SPANS_LOST)).to_pandas()
    if counts.empty:
        return 0
    by_process = counts.groupby(["service", "pid", "attributes"], dropna=False)["value"].agg(["min", "max", "count"])
    grown = by_process["max"] - by_process["min"].where(by_process["count"] > 1, 0.0)
    return int(grown.sum())


# --- halves that are odd -----------------------------------------------------------------------------------


def _leaks(joined: Joined) -> bool:
    """Whether spans that come after their request belong to another one, rather than to work in the background.

    Both are seen while a request without a server half runs. But where contexts leak, the first trace of a connection
    takes in all that follow on it; work in the background goes on in many traces, and requests without a half are few.
    """
    return joined.leaked > 0 and joined.leaked >= joined.trailing


def _leaked(joined: Joined) -> RunWarning | None:
    if not _leaks(joined):
        return None
    return RunWarning(
        "leaked_contexts",
        f"the service mixes up requests: {format_count(joined.leaked)} without a server half ran while spans were "
        "written into the trace of another one",
        "uvicorn 0.45 and later does so on a kept connection once a body was larger than 64 KiB: start it with "
        "--reset-contextvars, or use harness.instrument, which cannot be confused",
    )


def _several_roots(joined: Joined) -> RunWarning | None:
    if joined.several_roots == 0:
        return None
    return RunWarning(
        "several_roots",
        f"{format_count(joined.several_roots)} traces hold several server spans one after the other: a proxy between "
        "here and the service sent the request again",
        "the first one is taken for the service's part, the others count as download; look at what the proxy retries "
        "(nginx: proxy_next_upstream) and at what failed before",
    )


def _orphans(joined: Joined) -> RunWarning | None:
    if joined.orphans == 0:
        return None
    return RunWarning(
        "orphan_spans",
        f"the parent of {format_count(joined.orphans)} of {format_count(joined.spans)} spans never arrived",
        f"it was dropped, or a service in between does not export to here: have all of them do so; {_QUEUE}",
    )


def _outlived(rows: pd.DataFrame, joined: Joined) -> RunWarning | None:
    """Every service ends a little after its last byte was read here: only what goes on for long is worth a word."""
    if joined.outlived == 0:
        return None
    most_s = np.maximum(LONG_AFTER_S, LONG_AFTER * rows["latency_s"].to_numpy(dtype=np.float64))
    clipped_s = rows["clipped_s"].to_numpy(dtype=np.float64)
    after = clipped_s[clipped_s > most_s]
    if len(after) == 0 or (len(after) < LEAST_OUTLIVED and len(after) < LEAST_OUTLIVED_SHARE * len(rows)):
        return None
    return RunWarning(
        OUTLIVED,
        f"the service went on with {_of(len(after), 'request')} for {format_duration(float(after.mean()))} on average "
        "after the client had its answer or gave up",
        "what came later is in no stage; after a timeout it is capacity spent for nobody: pass the deadline on, or "
        "stop when the client is gone",
    )


def _of(n: int, what: str) -> str:
    return f"{format_count(n)} {what}{'' if n == 1 else 's'}"


def _trailing(joined: Joined) -> RunWarning | None:
    if joined.trailing == 0 or _leaks(joined):
        return None
    return RunWarning(
        "trailing",
        f"{format_count(joined.trailing)} traces go on after the answer: background work, in no latency and no stage",
        "it takes its time from the requests that follow; under load it shows there as queue or other",
    )


def _duplicates(joined: Joined) -> RunWarning | None:
    if joined.duplicates <= MANY_DUPLICATES * joined.spans:
        return None
    return RunWarning(
        "duplicate_spans",
        f"{format_count(joined.duplicates)} of {format_count(joined.spans)} spans came more than once; each counts "
        "once",
        "an exporter sends again what was not acknowledged in time: look at its timeout, and at collectors that send "
        f"the same spans here on two ways ({format_share(joined.duplicates / joined.spans)} of the traffic is in vain)",
    )


def _streamed(joined: Joined) -> RunWarning | None:
    if joined.streamed == 0:
        return None
    return RunWarning(
        "streamed",
        f"{joined.streamed:,} answers were streamed: what the service did after their first byte is not in the header",
        "have the service send its spans (`harness check SCENARIO --connect`); until then these requests are not split",
    )
