"""Single requests on the page: each as a bar of its stages, and, where the run can tell, as a waterfall."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness.findings import Summary
from harness.model import STAGES, TRANSFER
from harness.report.figures import decimals_for, ms
from harness.report.lines import SHOWN_ORDER, StageTable, stage_label
from harness.report.text import visible
from harness.views import Views, Waterfall

if TYPE_CHECKING:  # the chart library doubles the time to import this module
    from harness.report.drawings import ChartTable

MOST_DRAWN = 12
"""Waterfalls drawn of the slowest, and of the typical requests."""

Stages = tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of a stacked bar. `width` is a share of the whole bar, 0..1."""

    stage: str
    label: str
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request: a bar of its stages, and what is drawn when it is opened."""

    request_id: int
    name: str
    trace_id: str
    latency: str
    label: str
    segments: tuple[Segment, ...]
    outcome: str = ""
    waterfall: Markup | None = None
    table: ChartTable | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Requests of one kind; the first one is open where `opens`."""

    title: str
    requests: tuple[Request, ...]
    opens: bool


SLOWEST, TYPICAL = "Slowest requests", "Typical requests, around the median latency"


def groups(summary: Summary, views: Views) -> tuple[Group, ...]:
    """The slowest and the typical requests: as waterfalls where they are known, else as the summary has them."""
    drawn = (views.slowest[:MOST_DRAWN], views.typical[:MOST_DRAWN])
    longest_s = max(
        [w.latency_s for each in drawn for w in each] + [r.latency_s for r in (*summary.slowest, *summary.typical)],
        default=0.0,
    )
    found: list[Group] = []
    for title, key, waterfalls, rows in (
        (SLOWEST, "slow", drawn[0], summary.slowest),
        (TYPICAL, "typical", drawn[1], summary.typical),
    ):
        requests = [_of_waterfall(w, f"{key}-{i}", longest_s) for i, w in enumerate(waterfalls)] or [
            _request(r.request_id, r.name, r.trace_id, r.latency_s, r.stages, longest_s) for r in rows
        ]
        found.append(Group(title, tuple(requests), opens=key == "slow" or not found[0].requests))
    return tuple(found)


def _of_waterfall(seen: Waterfall, key: str, longest_s: float) -> Request:
    from harness.report import waterfall_svg

    plain = _request(seen.request_id, seen.name, seen.trace_id, seen.latency_s, seen.stages, longest_s)
    return Request(
        plain.request_id, plain.name, plain.trace_id, plain.latency, plain.label, plain.segments,
        waterfall=waterfall_svg.render(seen, key),
        table=waterfall_svg.table(seen),
        outcome="" if seen.ok else visible(seen.outcome, 80),
        note=visible(seen.note or "", 400),
    )  # fmt: skip


def _request(request_id: int, name: str, trace_id: str, latency_s: float, stages: Stages, longest_s: float) -> Request:
    decimals = decimals_for(longest_s)
    segments = _segments(stages, longest_s, decimals)
    label = ", ".join(f"{s.label} {s.text}" for s in segments) or "no stage is known"
    return Request(request_id, name, trace_id, ms(latency_s, decimals), label, segments)


def _segments(stages: Stages, longest_s: float, decimals: int) -> tuple[Segment, ...]:
    known = {stage: seconds for stage, seconds in stages if seconds is not None and seconds > 0}
    hidden = {"transfer"} if dict(stages).get("upload") is not None or "transfer" not in known else set(TRANSFER)
    ordered = [s for s in STAGES if s in known and s not in hidden]
    if "transfer" in known and "transfer" not in hidden:
        ordered.insert(1 if ordered[:1] == ["backlog"] else 0, "transfer")
    return tuple(
        Segment(s, stage_label(s), min(known[s] / longest_s, 1.0), f"{ms(known[s], decimals)} ms") for s in ordered
    )


def legend(requests: Iterable[Request]) -> list[Segment]:
    """One segment of each stage that appears, in the order of the request."""
    drawn = {s.stage: s for request in requests for s in request.segments}
    return [drawn[stage] for stage in SHOWN_ORDER if stage in drawn]


def mean_bar(table: StageTable) -> tuple[Segment, ...]:
    """The mean request as one bar: parts of transfer where they are known, in the order of the request."""
    known = {line.stage: line for line in table.lines}
    hidden = {"transfer"} if "upload" in known else set(TRANSFER)
    ordered = [s for s in ("transfer", *STAGES) if s in known and s not in hidden]
    return tuple(
        Segment(s, stage_label(s), known[s].weight, f"{known[s].mean} ms, {known[s].share}")
        for s in ordered
        if known[s].weight > 0
    )
