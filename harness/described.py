"""What stands beside the figures of a run: where its spans came from, on which rows it stands, its slowest requests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from harness.findings import RequestRow
from harness.ingress import LEAST_REQUESTS
from harness.join import CHANNELS, SPLITS, Joined
from harness.ledger import Ledger
from harness.model import STAGES, Scenario, Split
from harness.scenario.load_text import load_text
from harness.units import format_duration, format_share

SHOWN_REQUESTS = 5
LEAST_DRIFT_PPM = 1.0
"""A smaller drift of the clocks is not worth a word."""


def load_line(scenario: Scenario) -> str:
    """The load profile on one line, e.g. `poisson 4/s, 10 s warm-up, 60 s, seed 7`."""
    return load_text(scenario.load)


def stage_set(split_rows: pd.DataFrame) -> str:
    """Which rows the stage table stands on."""
    if split_rows.empty:
        return "no request has a server half: the latency cannot be split"
    mean = format_duration(float(split_rows["latency_s"].mean()))
    return f"n = {len(split_rows):,} requests (measured, ok, with server half), mean latency {mean}"


def slowest(split_rows: pd.DataFrame) -> tuple[RequestRow, ...]:
    """The slowest requests, slowest first."""
    return _shown(split_rows.sort_values("latency_s", ascending=False).head(SHOWN_REQUESTS))


def typical(split_rows: pd.DataFrame) -> tuple[RequestRow, ...]:
    """The requests around the median, nearest first."""
    distance = (split_rows["latency_s"] - split_rows["latency_s"].median()).abs()
    return _shown(split_rows.loc[distance.sort_values(kind="stable").index].head(SHOWN_REQUESTS))


def _shown(rows: pd.DataFrame) -> tuple[RequestRow, ...]:
    return tuple(
        RequestRow(
            request_id=int(row["request_id"]),
            trace_id=str(row["trace_id"]),
            name=str(row["name"]),
            latency_s=float(row["latency_s"]),
            stages=tuple((s, None if pd.isna(row[f"{s}_s"]) else float(row[f"{s}_s"])) for s in STAGES),
        )
        for _, row in rows.iterrows()
    )


def environment(record: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Where the run was made, as run.json has it."""
    stored = record.get("environment")
    return tuple((str(k), str(v)) for k, v in stored.items()) if isinstance(stored, dict) else ()


def decided(record: Mapping[str, object]) -> str | None:
    """At which look a run ended that went on until its SLOs were decided, and how sure each SLO is judged, any that was
    added later among them.
    """
    found = record.get("decided")
    if not isinstance(found, dict):
        return None
    look, looks = found.get("look"), found["looks"]
    each = f"each SLO is judged at {100 * found['confidence']:.4g}% confidence, as one of {looks} looks"
    if look is None:
        return f"ended before a look decided; {each}"
    when = f", after {format_duration(found['at_s'], trim=True)}" if found.get("at_s") is not None else ""
    return f"{'ended at' if look < looks else 'went on to'} look {look} of {looks}{when}; {each}"


def span_source(scenario: Scenario, joined: Joined, ledger: Ledger) -> str:
    """What was asked for, what arrived, the clock offset and its bound."""
    halves = joined.halves
    known = halves.known
    if not known.any():
        return f"{scenario.spans.source}: no server half arrived"
    counted = sorted(
        zip(np.bincount(halves.channel[known], minlength=len(CHANNELS)), CHANNELS, strict=True), reverse=True
    )
    arrived = ", ".join(f"{channel} for {count:,}" for count, channel in counted if count)
    exact = f"{format_share(float((halves.split[known] == SPLITS.index(Split.MARKS)).mean()))} with marks"
    preset = f"; stages as the preset {scenario.spans.preset} has them" if scenario.spans.preset else ""
    waits = _waits_before(ledger) if len(scenario.load.steps) > 1 else ""
    return f"{scenario.spans.source}: {arrived} requests ({exact}){preset}; {_clock_text(ledger)}{waits}"


def _waits_before(ledger: Ledger) -> str:
    """What queue_est stands on, for a run of several load levels."""
    if ledger.ingress is not None:
        return f". {ledger.ingress.sentence.rstrip('.')}"
    needs = f"{LEAST_REQUESTS} requests at a level of at most half the highest, and upload known apart"
    return f". Waits before the service took a request (queue, estimated) are not known: that takes {needs}"


def _clock_text(ledger: Ledger) -> str:
    known = [offset for _, offset in ledger.offsets if offset is not None]
    if not known:
        return "clock offset unknown: upload and download are not told apart"
    assumed = next((f", if {offset.assumes}" for offset in known if offset.assumes), "")
    if all(offset.same_host for offset in known):
        return f"same host, one clock{assumed}"
    worst = max(known, key=lambda offset: offset.bound_ns)
    drift = f", drifting by {worst.drift_ppm:+.0f} ppm" if abs(worst.drift_ppm) >= LEAST_DRIFT_PPM else ""
    offset, bound = format_duration(worst.offset_ns / 1e9), format_duration(worst.bound_ns / 1e9)
    return f"clock offset {offset} ± {bound}{drift}{assumed}"
