"""The rows of the tables that every report shows, in order, as text: written once, so that all reports agree."""

from __future__ import annotations

from dataclasses import dataclass

from harness.analysis.clock_doubts import are_coarse
from harness.findings import Estimate, LatencyFindings, StageFindings, Summary, WaitFindings
from harness.model import TRANSFER
from harness.report.figures import decimals_for, interval, ms, share
from harness.report.text import visible
from harness.units import format_duration, format_rate

SHOWN_ORDER = (
    "backlog", "transfer", *TRANSFER, "queue_est", "queue", "preprocess", "inference", "postprocess", "other",
    "unsplit",
)  # fmt: skip
"""The stage table from top to bottom: a sum stands above its parts."""

STATISTICS = ("mean", "p50", "p90", "p95", "p99")


@dataclass(frozen=True, slots=True)
class StageLine:
    """One row of the stage table. `weight` is the share as a number for a bar, 0 when not known."""

    stage: str
    label: str
    part: bool
    mean: str
    interval: str
    share: str
    weight: float
    p50: str
    p95: str


@dataclass(frozen=True, slots=True)
class StageTable:
    """The stage table: rows, and the total that shows that they add up."""

    lines: tuple[StageLine, ...]
    total: str
    decimals: int


@dataclass(frozen=True, slots=True)
class LatencyCell:
    """One statistic of one duration, in milliseconds; `interval` is empty without one, `refusal` says why no value."""

    value: str
    interval: str
    refusal: str


@dataclass(frozen=True, slots=True)
class LatencyLine:
    """One statistic of each duration of LATENCY_COLUMNS that the run has."""

    statistic: str
    cells: tuple[LatencyCell, ...]


def stage_label(stage: str) -> str:
    """The name of a stage as people read it."""
    return "queue (est.)" if stage == "queue_est" else stage


def stage_table(summary: Summary) -> StageTable:
    """The rows worth showing: no estimated queue without a reference, no unsplit rest of nothing."""
    known = {s.stage: s for s in summary.stages if _worth_showing(s)}
    wholes = [s.mean.value for s in known.values() if s.part_of is None and s.mean.value is not None]
    total = sum(wholes) if wholes else None
    decimals = decimals_for(total)
    ordered = sorted(known.values(), key=lambda s: SHOWN_ORDER.index(s.stage))
    coarse = are_coarse(summary.warnings)
    return StageTable(tuple(_stage_line(s, decimals, coarse) for s in ordered), ms(total, decimals), decimals)


def _worth_showing(stage: StageFindings) -> bool:
    if stage.stage == "queue_est":
        return stage.mean.value is not None
    return stage.stage != "unsplit" or bool(stage.mean.value)


def _stage_line(found: StageFindings, decimals: int, coarse: bool) -> StageLine:
    rough = coarse and found.stage in ("upload", "download")
    return StageLine(
        stage=found.stage,
        label=stage_label(found.stage) + (" (±)" if rough else ""),
        part=found.part_of is not None,
        mean=ms(found.mean.value, decimals),
        interval=interval(found.mean, decimals),
        share=share(found.share),
        weight=min(max(found.share or 0.0, 0.0), 1.0),
        p50=ms(found.p50, decimals),
        p95=ms(found.p95, decimals),
    )


LATENCY_COLUMNS = ("latency", "answered only", "service")


def _durations(summary: Summary) -> tuple[tuple[str, LatencyFindings], ...]:
    """The durations of the latency table by name. `answered only` differs where requests failed, and only there."""
    answered = summary.answered
    shows = answered is not None and summary.counts.ok > 0 and _ranked_as_slowest(summary) > 0
    found = (summary.latency, answered if shows else None, summary.service)
    return tuple((name, f) for name, f in zip(LATENCY_COLUMNS, found, strict=True) if f is not None)


def latency_columns(summary: Summary) -> tuple[str, ...]:
    """The names of the durations in the latency table."""
    return tuple(name for name, _ in _durations(summary))


def latency_lines(summary: Summary) -> tuple[LatencyLine, ...]:
    """mean, p50, p90, p95, p99 and max of each duration, with intervals or refusals."""
    found = [f for _, f in _durations(summary)]
    decimals = decimals_for(_middle(summary.latency))
    rows = [LatencyLine(name, tuple(_cell(getattr(f, name), decimals) for f in found)) for name in STATISTICS]
    return (*rows, LatencyLine("max", tuple(LatencyCell(ms(f.max_s, decimals), "", "") for f in found)))


def _cell(estimate: Estimate, decimals: int) -> LatencyCell:
    return LatencyCell(ms(estimate.value, decimals), interval(estimate, decimals), estimate.refusal or "")


def _middle(findings: LatencyFindings) -> float | None:
    return findings.p50.value if findings.p50.value is not None else findings.mean.value


MOST_WAITS = 6
"""Resources named in the line on waits; the others are summed up."""
MOST_WAIT_ROWS = 20


def wait_label(found: WaitFindings, longest: int = 60) -> str:
    """The name of a resource as the service gave it, safe to look at."""
    return "not named" if found.resource is None else visible(found.resource, longest)


def waits_line(summary: Summary) -> str:
    """What the stage `queue` is made of: the mean wait per request for each resource, on one line."""
    if not summary.waits:
        return ""
    named, rest = summary.waits[:MOST_WAITS], summary.waits[MOST_WAITS:]
    shown = [f"{wait_label(w, 40)} {format_duration(w.mean_per_request_s)}{_kinds(w)}" for w in named]
    if rest:
        shown.append(f"{len(rest):,} more {format_duration(sum(w.mean_per_request_s for w in rest))}")
    return f"Queue, as the service measured it: {', '.join(shown)}; mean per request"


def _kinds(found: WaitFindings) -> str:
    """` (busy 10.0 ms, window 9.00 ms)`: what the waits were about, per request."""
    shown = ", ".join(f"{visible(kind, 20)} {format_duration(mean_s)}" for kind, mean_s in found.kinds)
    return f" ({shown})" if shown else ""


WAIT_COLUMNS = ("resource", "waits", "requests", "ms a wait", "ms a request", "share")


def wait_lines(summary: Summary) -> list[tuple[str, ...]]:
    """A row of WAIT_COLUMNS per resource; one for all that are left beyond a screenful."""
    lines: list[tuple[str, ...]] = []
    for w in summary.waits[:MOST_WAIT_ROWS]:
        each, spread = (ms(s, decimals_for(s)) for s in (w.mean_wait_s, w.mean_per_request_s))
        lines.append((wait_label(w) + _kinds(w), f"{w.waits:,}", f"{w.requests:,}", each, spread, share(w.share)))
    rest = summary.waits[MOST_WAIT_ROWS:]
    if rest:
        spread_s = sum(w.mean_per_request_s for w in rest)
        counted = f"{sum(w.waits for w in rest):,}"
        spread = ms(spread_s, decimals_for(spread_s))
        lines.append((f"{len(rest):,} more", counted, "–", "–", spread, share(sum(w.share for w in rest))))
    return lines


def coverage_line(summary: Summary) -> str:
    """How many requests have a server half and how the others are missing; empty when none was asked for."""
    return "" if summary.coverage is None else summary.coverage.sentence


NAME_COLUMNS = ("request", "ok", "failed", "mean ms", "p50 ms", "p95 ms", "largest stage")


def name_lines(summary: Summary) -> list[tuple[str, ...]]:
    """A row of NAME_COLUMNS per kind of request, the name as it came; nothing when there is only one kind."""
    if len(summary.names) < 2:
        return []
    lines = []
    for found in summary.names:
        decimals = decimals_for(found.mean.value)
        numbers = (ms(e.value, decimals) for e in (found.mean, found.p50, found.p95))
        stage = "–" if found.bottleneck is None else stage_label(found.bottleneck)
        largest = stage if found.bottleneck_share is None else f"{stage} {share(found.bottleneck_share)}"
        lines.append((found.name, f"{found.ok:,}", f"{found.failed:,}", *numbers, largest))
    return lines


def _ranked_as_slowest(summary: Summary) -> int:
    """Requests in the percentiles that were not answered as expected."""
    return max(0, summary.latency.p50.n - summary.latency.mean.n)


def latency_note(summary: Summary) -> str:
    """What the rows of the latency table stand on."""
    missing = _ranked_as_slowest(summary)
    note = f"latency from the scheduled instant, service from the real start; n = {summary.latency.mean.n:,}; in "
    note += f"brackets the {confidence(summary)} interval"
    if not missing:
        return note
    left_out = "left out of mean and max"
    if LATENCY_COLUMNS[1] in latency_columns(summary):
        left_out += f", and of all that is {LATENCY_COLUMNS[1]}"
    return f"{note}. {missing:,} more requests failed or never ended: slower than any in the percentiles, {left_out}"


def unended(summary: Summary, what: str) -> str:
    """A sentence on the requests that have no row in the ledger: `what` is not done with them. Empty without any."""
    n = summary.counts.censored
    if n <= 0:
        return ""
    return f"{n:,} request{'' if n == 1 else 's'} had not ended when the run did: not {what}."


def confidence(summary: Summary) -> str:
    """`95%`, the confidence of the latency intervals."""
    return f"{summary.latency.mean.confidence * 100:g}%"


def counts_line(summary: Summary) -> str:
    """What became of the requests of the measured phase, in one line."""
    counts = summary.counts
    parts = [f"{counts.scheduled:,} scheduled", f"{counts.sent:,} sent", f"{counts.ok:,} ok"]
    rest = (("failed", counts.failed), ("censored", counts.censored), ("more in warm-up", counts.warmup))
    parts += [f"{n:,} {word}" for word, n in rest if n]
    offered = "" if counts.offered_per_s is None else f"offered {format_rate(counts.offered_per_s)}, "
    return ", ".join(parts) + f"; {offered}completed {format_rate(counts.completed_per_s)}"
