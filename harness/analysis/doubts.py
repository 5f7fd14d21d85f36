"""What makes a run's numbers doubtful, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from harness.analysis import clock_doubts, span_doubts
from harness.clock import ClockOffset
from harness.findings import Coverage, Reading
from harness.join import Joined
from harness.model import DoneSource, RunWarning, SpanSpec
from harness.units import format_bytes, format_duration, format_share

Floats = NDArray[np.float64]

LARGE_OTHER = 0.10
"""A larger share of the window that nobody claims is worth a sentence."""
FEW_KERNEL_STAMPS = 0.99
MUCH_CLIPPED = 0.05
"""A larger part of server windows outside their requests, as a share of the mean latency, is worth a sentence."""
SMALL_REQUEST = 64 * 1024
"""Bytes that fit into the socket buffers: sending them takes one round trip."""
MOSTLY_SMALL = 0.9
LATE_S = 0.005
LATE_SHARE = 0.15
LATE_P95_S = 0.010
"""Waits of one in twenty from here on are no grain of the machine; the share counts against the p95 of the latency."""
LEAST_FOR_P95 = 60
TAKEN_LATE = "taken_late"
MUCH_OMITTED = 1.1
"""A p99 from the scheduled instant so many times the one from the real start hides a wait worth a sentence."""
LEAST_OMITTED_S = 0.001
"""A shorter difference is the generator's own grain."""
LEAST_FOR_P99 = 100


def find(
    samples: pa.Table,
    rows: pd.DataFrame,
    split_rows: pd.DataFrame,
    offsets: Sequence[tuple[str | None, ClockOffset | None]],
    joined: Joined,
    missing_halves: int,
    readings: Sequence[Reading] = (),
    *,
    coverage: Coverage | None = None,
    vitals: pa.Table | None = None,
    spec: SpanSpec | None = None,
) -> list[RunWarning]:
    """Warnings about one run: `rows` are its measured ledger rows, `split_rows` those with a server half.

    `missing_halves` are those of evidence.Evidence, of which `coverage` says how they are spread. `readings` are the
    generator's about itself, `vitals` rows of model.Vital the service's. `spec` is where spans were to come from.
    """
    clocks = clock_doubts.find(offsets, split_rows, joined.moved)
    halves = span_doubts.find(rows, split_rows, joined, missing_halves, coverage, vitals, spec)
    outlived = any(warning.code == span_doubts.OUTLIVED for warning in halves)
    checks = (
        *halves,
        *clocks,
        _large_other(split_rows),
        _user_stamps(samples),
        None if outlived else _clipped(split_rows),
        # Which part of transfer is long cannot be said where the clocks do not tell the parts apart.
        None if clock_doubts.are_coarse(clocks) else _taken_late(samples, split_rows),
        _omitted(rows, readings),
        _resent(samples),
    )
    return [warning for warning in checks if warning is not None]


def share_of_latency(rows: pd.DataFrame, column: str) -> float:
    """A column's part of the mean latency; 0 where requests took no time at all."""
    latency_s = float(rows["latency_s"].sum())
    return float(rows[f"{column}_s"].sum()) / latency_s if latency_s > 0 else 0.0


def _large_other(split_rows: pd.DataFrame) -> RunWarning | None:
    if len(split_rows) == 0:
        return None
    share = share_of_latency(split_rows, "other")
    if share <= LARGE_OTHER:
        return None
    return RunWarning(
        "large_other",
        f"{format_share(share)} of the mean latency is inside the service but claimed by no stage",
        "mark more of the code with stage(), or map more span names in the scenario's `stages:`",
    )


def _user_stamps(samples: pa.Table) -> RunWarning | None:
    source = samples.filter(pa.compute.is_valid(samples.column("status"))).column("done_source").to_pandas()
    if len(source) == 0:
        return None
    share = float((source == DoneSource.KERNEL.value).mean())
    if share >= FEW_KERNEL_STAMPS:
        return None
    return RunWarning(
        "user_stamps",
        f"the kernel stamped the last byte of only {format_share(share)} of the answers",
        "the others were stamped when the generator read them (TLS, or a system without SO_TIMESTAMPNS): "
        "a busy generator then inflates download",
    )


def _clipped(split_rows: pd.DataFrame) -> RunWarning | None:
    clipped = split_rows["clipped_s"].to_numpy(dtype=np.float64)
    if len(clipped) == 0:
        return None
    if share_of_latency(split_rows, "clipped") <= MUCH_CLIPPED:
        return None
    return RunWarning(
        "clipped",
        f"server windows stick out of their requests by {format_duration(float(clipped.mean()))} on average",
        "clocks disagree, or the service works on after it has answered: that part is left out of the stages",
    )


def _resent(samples: pa.Table) -> RunWarning | None:
    count = pa.compute.sum(pa.compute.greater(samples.column("attempts"), 1)).as_py() or 0
    if count == 0:
        return None
    return RunWarning(
        "resent",
        f"{count:,} requests were sent twice: the service closed the connection before it answered",
        "an idle keep-alive connection that is closed costs nothing; a service that drops requests it has begun to "
        "work on does that work twice, and the first try is shown as connect",
    )


def _taken_late(samples: pa.Table, split_rows: pd.DataFrame) -> RunWarning | None:
    """Small requests that take long to arrive were not on the way: the service was busy when they came."""
    if len(split_rows) == 0 or split_rows["upload_s"].isna().any():
        return None
    sent = samples.select(["request_id", "bytes_sent"]).to_pandas()
    small = split_rows.merge(sent[sent["bytes_sent"] <= SMALL_REQUEST], on="request_id")
    if len(small) < 10:
        return None
    estimated = bool(small["queue_est_s"].notna().any())
    waits_s = (small["upload_s"] + small["queue_est_s"].fillna(0.0)).to_numpy(dtype=np.float64)
    latency_s = small["latency_s"].to_numpy(dtype=np.float64)
    said = _long_on_average(waits_s, latency_s) or _long_for_some(waits_s, latency_s)
    if said is None:
        return None
    return RunWarning(
        TAKEN_LATE,
        f"requests of at most {format_bytes(SMALL_REQUEST)} wait before the service takes them: {said}, shown as "
        f"{'queue (est.) and upload' if estimated else 'upload'}",
        "so little is not long on the way, unless the network is slow: all workers or threads of the service are busy "
        "(add some: uvicorn --workers, gunicorn --workers and --threads), or its event loop is (move work out of "
        "`async def` into a thread)",
    )


def upload_is_waiting(warnings: Iterable[RunWarning], samples: pa.Table) -> bool:
    """Whether upload is a wait for the service rather than a way: requests are taken late, and almost all are small."""
    if not any(warning.code == TAKEN_LATE for warning in warnings):
        return False
    small = pa.compute.less_equal(samples.column("bytes_sent"), SMALL_REQUEST)
    return float(pa.compute.mean(small).as_py() or 0.0) >= MOSTLY_SMALL


def _long_on_average(waits_s: Floats, latency_s: Floats) -> str | None:
    waited, latency = float(waits_s.mean()), float(latency_s.mean())
    if waited < LATE_S or waited < LATE_SHARE * latency:
        return None
    return f"{format_duration(waited)} on average, {format_share(waited / latency)} of their latency"


def _long_for_some(waits_s: Floats, latency_s: Floats) -> str | None:
    """A queue that is there at times only is lost in a mean, and makes the tail."""
    if len(waits_s) < LEAST_FOR_P95:
        return None
    waited, latency = (float(np.quantile(each, 0.95, method="higher")) for each in (waits_s, latency_s))
    if waited < LATE_P95_S or waited < LATE_SHARE * latency:
        return None
    return (
        f"one in twenty for {format_duration(waited)} or more, where p95 of the latency is {format_duration(latency)}"
    )


def _omitted(rows: pd.DataFrame, readings: Sequence[Reading]) -> RunWarning | None:
    """Waits before the send that service time leaves out (coordinated omission): in a closed loop there are none."""
    ok = rows[rows["ok"]]
    if len(ok) < LEAST_FOR_P99:
        return None
    latency, service = (float(np.quantile(ok[name], 0.99, method="higher")) for name in ("latency_s", "service_s"))
    if latency <= MUCH_OMITTED * service or latency - service <= LEAST_OMITTED_S:
        return None
    waited = ok.loc[ok["backlog_s"] > LEAST_OMITTED_S, "backlog_s"]
    message = (
        f"p99 is {format_duration(latency)} from the scheduled instant and {format_duration(service)} from the real "
        f"start: {format_share(len(waited) / len(ok))} of the requests waited for the generator, "
        f"{format_duration(float(waited.mean()))} on average"
    )
    late_s = next((r.value for r in readings if r.name == "lateness_p99" and r.value is not None), None)
    if late_s is not None and late_s >= (latency - service) / 2:
        why = f"the generator was late by itself (lateness_p99 {format_duration(late_s)})"
        remedy = "give it more CPU or more --processes, or lower the rate"
    else:
        why = "no session was free: as many as may be open were busy with earlier requests, or took long to start"
        remedy = "allow more of them unless real clients wait for each other, too"
    return RunWarning("omission", message, f"{why}; latency counts that wait, service time does not; {remedy}")
