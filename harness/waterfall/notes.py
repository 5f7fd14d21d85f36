"""Why a waterfall is not whole, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.join import CHANNELS, SERVER_TIMING
from harness.spans import server_timing
from harness.spans.columns import UNKNOWN
from harness.spans.tree import NONE
from harness.units import format_count, format_duration
from harness.waterfall.placing import Few, Place
from harness.waterfall.server_lane import Shown

Row = Mapping[str, Any]
_WORTH_A_WORD = 0.01  # of the latency


def note_of(sample: Row, few: Few, row: int, place: Place | None, shown: Shown, split: str, source: str) -> str | None:
    """Everything that a reader of the waterfall should know, as sentences; None when there is nothing."""
    said = []
    if sample["censored"]:
        said.append("Still in flight when the run ended: no stage is charged for it.")
    if split == "none" and not (sample["censored"] and place is not None):
        said.append(_why_no_half(sample, few, row, place, source))
    said += _how_sure(sample, few, row, place)
    if shown.too_many:
        said.append(f"Not drawn: {_spans(shown.too_many)} of the shortest.")
    if shown.outside:
        said.append(f"Not drawn: {_spans(shown.outside)} long before or after the request.")
    if shown.short_gaps:
        said.append(f"Not drawn: {format_count(shown.short_gaps)} of the shortest stretches that nobody claims.")
    return " ".join(said) or None


def _spans(count: int) -> str:
    return f"{format_count(count)} span{'' if count == 1 else 's'}"


def _why_no_half(sample: Row, few: Few, row: int, place: Place | None, source: str) -> str:
    if sample["send_ns"] is None:
        return "No server part: nothing was written to the service."
    if source == "none":
        return "No server part: none was asked for."
    if few.joined.halves.known[row]:
        return "The ledger does not split this request: stages that its kind has are missing in its spans."
    if place is not None and few.forest.root[row] != NONE:
        return "Not all spans of this request arrived: what did is drawn, and charged to no stage."
    if place is not None:
        return "The outermost span of this request never arrived: the others are drawn, and charged to no stage."
    half = server_timing.parse(sample["server_timing"])
    if half is not None and half.streamed:
        return "No server part: the answer was streamed, its header left before the work was done; no spans arrived."
    if half is not None and source == "otlp":
        return "No server part: no spans of it arrived, and the scenario takes nothing else (its answer had a header)."
    return "No server part: no span of it arrived, and its answer has no Server-Timing header that can be read."


def _how_sure(sample: Row, few: Few, row: int, place: Place | None) -> list[str]:
    if place is None:
        return []
    said, halves = [], few.joined.halves
    latency_s = max((sample["done_ns"] - sample["scheduled_ns"]) / 1e9, 1e-9)
    slack = format_duration(place.slack_ns / 1e9)
    if not place.sure:
        said.append(
            f"How the service's clock stands to ours is not known: its part is drawn in the middle of where it may"
            f" have been, ± {slack}."
        )
    elif place.slack_ns:
        said.append(f"The service has another clock: its part may stand up to {slack} earlier or later.")
    if halves.channel[row] == CHANNELS.index(SERVER_TIMING):
        said.append("No spans of it: its header says how long each stage took, not when; drawn one after the other.")
    start, end = int(halves.start_ns[row]), int(halves.end_ns[row])
    if halves.known[row] and place.sure and start != UNKNOWN:
        cut_s = (max(0, place.since_ns - start) + max(0, end - place.until_ns)) / 1e9
        if cut_s > _WORTH_A_WORD * latency_s:
            said.append(f"The service worked {format_duration(cut_s)} outside of the exchange: its window is cut.")
    return said
