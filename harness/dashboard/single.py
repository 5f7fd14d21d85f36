"""What the page of one request shows beside its waterfall: what it is made of, its neighbours, and ways out of here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import numpy as np

from harness.analysis.selection import Columns
from harness.model import TRANSFER, SpanSpec, Split
from harness.report.figures import decimals_for, ms, share
from harness.report.lines import stage_label
from harness.views import Waterfall

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SLACK_S = 1e-6


@dataclass(frozen=True, slots=True)
class StageCell:
    """A row of the stage table. `weight` is the share of the latency, for a bar."""

    stage: str
    label: str
    ms: str
    share: str
    weight: float


@dataclass(frozen=True, slots=True)
class StageSum:
    """The stages of one request, and what they add up to."""

    rows: tuple[StageCell, ...]
    total: str
    latency: str
    rest: str | None  # what no stage accounts for, when there is any
    unknown: tuple[str, ...]  # stages that nobody recorded


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The request ids before and after one: by latency and by time. `at_s` is since the first scheduled request."""

    at_s: float

    faster: int | None
    slower: int | None
    earlier: int | None
    later: int | None
    rank: int  # from the slowest, which is 1
    of: int


@dataclass(frozen=True, slots=True)
class Link:
    """A way to the same trace in another tool."""

    title: str
    url: str


def stage_sum(waterfall: Waterfall, transfer_s: float | None) -> StageSum | None:
    """The stages of a request as a table; None for one that is not in the ledger.

    `transfer_s` stands for its parts where they are not known apart.
    """
    seconds = dict(waterfall.stages)
    if all(value is None for value in seconds.values()):
        return None
    if transfer_s is not None:
        seconds = {("transfer" if s == "upload" else s): v for s, v in seconds.items() if s not in _PARTS}
        seconds["transfer"] = transfer_s
    latency, decimals = waterfall.latency_s, max(1, decimals_for(waterfall.latency_s))
    known = {name: value for name, value in seconds.items() if value is not None}
    shown = {name: value for name, value in known.items() if value or name not in ("queue_est", "unsplit", "backlog")}
    total = sum(known.values())
    return StageSum(
        rows=tuple(
            StageCell(
                name, stage_label(name), ms(value, decimals), share(value / latency if latency > 0 else None),
                min(1.0, max(0.0, value / latency)) if latency > 0 else 0.0,
            )
            for name, value in shown.items()
        ),
        total=ms(total, decimals),
        latency=ms(latency, decimals),
        rest=ms(latency - total, decimals) if abs(latency - total) > _SLACK_S else None,
        unknown=tuple(stage_label(name) for name, value in seconds.items() if value is None and name != "queue_est"),
    )  # fmt: skip


_PARTS = tuple(stage for stage in TRANSFER if stage != "upload")


def position_of(columns: Columns, request_id: int) -> int | None:
    """Where a request is in the columns; None for one that did not end."""
    found = np.flatnonzero(columns.request_id == request_id)
    return int(found[0]) if len(found) else None


def transfer_of(columns: Columns, at: int, split: str) -> float | None:
    """The transfer of a request, where the parts of it are not known apart: seconds."""
    if "transfer" not in columns.stage_names or split == Split.NONE.value:
        return None
    seconds, known = columns.stage("transfer")
    return float(seconds[at]) if known[at] else None


def neighbours(columns: Columns, at: int) -> Neighbours:
    """Of the request at this place of the columns: among all that ended."""
    n = len(columns)
    rank = int(np.flatnonzero(columns.by_latency == at)[0])

    def by_latency(position: int) -> int | None:
        return int(columns.request_id[columns.by_latency[position]]) if 0 <= position < n else None

    def by_time(position: int) -> int | None:
        return int(columns.request_id[position]) if 0 <= position < n else None

    return Neighbours(
        float(columns.at_s[at]),
        by_latency(rank - 1),
        by_latency(rank + 1),
        by_time(at - 1),
        by_time(at + 1),
        n - rank,
        n,
    )


def trace_links(trace_id: str, template: str | None, spans: SpanSpec) -> tuple[Link, ...]:
    """Where else this trace can be looked at: as `harness ui` was told, and where the scenario's spans come from."""
    if not _TRACE_ID.fullmatch(trace_id):
        return ()
    found = []
    if template and "{trace_id}" in template:
        found.append(("The trace in its own tool", template.replace("{trace_id}", trace_id)))
    if spans.address and spans.source == "jaeger":
        found.append(("The trace in Jaeger", f"{spans.address.rstrip('/')}/trace/{trace_id}"))
    if spans.address and spans.source == "tempo":
        found.append(("The trace in Tempo (JSON)", f"{spans.address.rstrip('/')}/api/traces/{trace_id}"))
    links = [Link(title, url) for title, each in found if (url := _safe(each)) is not None]
    return tuple({link.url: link for link in reversed(links)}.values())[::-1]


def _safe(url: str) -> str | None:
    """A URL that a browser may be sent to, without a password in it."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return None
    except ValueError:
        return None
    place = parts.netloc.rpartition("@")[2]
    safe = "/:?#[]@!$&'()*+,;=%-._~"
    return urlunsplit(
        (
            parts.scheme,
            quote(place, safe),
            quote(parts.path, safe),
            quote(parts.query, safe),
            quote(parts.fragment, safe),
        )
    )
