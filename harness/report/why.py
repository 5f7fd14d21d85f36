"""Why slow requests are slow, as text: the tail by stage, who held what, what slow requests share.

Written once, so that all reports agree. Names that came from outside are made safe to look at here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

from harness.analysis.holding.blame import OTHERS
from harness.analysis.holding.charges import NO_STAGE
from harness.diagnosis import CLEAR_SHARE, BlameFindings, Contrast, TailFindings
from harness.findings import Summary
from harness.report.figures import decimals_for, ms, share, share_interval
from harness.report.lines import stage_label
from harness.report.text import visible
from harness.units import format_count, format_duration

MOST_CONTRASTS = 5
MOST_HOLDERS = 6
"""Holders shown for one resource; the others are summed up."""
MOST_RESOURCES = 6
LEAST_SHARE = 0.01
"""Of the mean latency. A shorter wait for a resource is not worth a table of who held it."""
SMALL, SURELY_SMALL = 0.005, 0.02
"""A share, and the far end of its interval. Stages and holders below that are summed up."""


SLOW, HELD = "Why slow requests are slow", "Who held what requests waited for"


def title(summary: Summary) -> str:
    """The heading over everything here: who held what does not need slow requests."""
    return SLOW if summary.tail is not None or summary.contrasts else HELD


# --- the tail -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TailLine:
    """One stage's share of the gap. The bar runs from `start`, `width` long, both as parts of the whole axis, 0..1:
    each begins where the one above ends, so the last ends at the whole gap."""

    stage: str
    label: str
    share: str
    interval: str
    ms: str
    start: float
    width: float
    less: bool  # slow requests spend less here than typical ones: the bar runs backwards


@dataclass(frozen=True, slots=True)
class TailTable:
    """The gap between slow and typical requests, split over the stages."""

    headline: str
    answer: str
    lines: tuple[TailLine, ...]
    total: str  # ms


def tail_table(summary: Summary) -> TailTable | None:
    """The split of the gap; None without one."""
    tail = summary.tail
    if tail is None or not tail.shares:
        return None
    decimals = decimals_for(tail.slow_s)
    rows = _rows(tail)
    ends = list(itertools.accumulate((s.share for s in rows), initial=0.0))
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    lines = tuple(
        TailLine(
            stage=found.stage,
            label=found.label,
            share=share(found.share),
            interval=found.interval,
            ms=ms(found.share * tail.gap_s, decimals),
            start=(min(begin, end) - low) / span,
            width=abs(end - begin) / span,
            less=end < begin,
        )
        for found, (begin, end) in zip(rows, itertools.pairwise(ends), strict=True)
    )
    return TailTable(_headline(tail), _answer(tail), lines, ms(tail.gap_s, decimals))


class _Row(NamedTuple):
    stage: str
    label: str
    share: float
    interval: str


def _rows(tail: TailFindings) -> list[_Row]:
    """The stages in their order; several that surely have next to nothing of the gap as one, in the end."""
    small = [s for s in tail.shares[1:] if abs(s.share) < SMALL and max(abs(s.low), abs(s.high)) < SURELY_SMALL]
    few = len(small) < 2
    rows = [
        _Row(s.stage, visible(stage_label(s.stage), 40), s.share, share_interval(s.low, s.high))
        for s in tail.shares
        if few or s not in small
    ]
    return rows if few else [*rows, _Row("other", f"{len(small)} more stages", sum(s.share for s in small), "")]


def _headline(tail: TailFindings) -> str:
    slow, typical, gap = (format_duration(s) for s in (tail.slow_s, tail.typical_s, tail.gap_s))
    return (
        f"{visible(tail.of)}: {slow} against {typical}, {gap} apart; "
        f"n = {format_count(tail.n)}, {format_count(tail.n_slow)} of them slow"
    )


def _answer(tail: TailFindings) -> str:
    top = tail.shares[0]
    label, interval = visible(stage_label(top.stage), 40), share_interval(top.low, top.high)
    if tail.clear is not None:
        part = "all" if top.share > 0.995 else share(top.share)  # others may shrink, so that it is more than all
        return f"{label[:1].upper()}{label[1:]} explains {part} of the difference ({interval})."
    return (
        f"No single stage explains it: {label} comes first with {share(top.share)} ({interval}), and to be named a "
        f"stage must reach {CLEAR_SHARE:.0%} with certainty."
    )


# --- who held what --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HolderLine:
    """One holder of a resource; `weight` is its share as a number for a bar."""

    holder: str
    share: str
    weight: float
    ms: str


@dataclass(frozen=True, slots=True)
class BlameGroup:
    """One resource, how many requests waited for it and how long, and who held it meanwhile."""

    resource: str
    waited: str
    lines: tuple[HolderLine, ...]


def blame_groups(summary: Summary) -> tuple[BlameGroup, ...]:
    """Holders by resource: the resource waited for longest first, and of each the holder with the largest share."""
    kept = [waits for waits in _by_resource(summary) if _is_long(summary, waits)]
    several = len({b.name for b in summary.blame if b.name not in (None, OTHERS)}) > 1
    return tuple(_group(waits, several) for waits in kept[:MOST_RESOURCES])


def blame_note(summary: Summary) -> str:
    """The resources that were waited for too shortly to be shown beside the others; empty without one."""
    if not blame_groups(summary):
        return ""
    names = [visible(waits[0].resource, 60) for waits in _by_resource(summary) if not _is_long(summary, waits)]
    shown = [*names[:MOST_RESOURCES], *([f"{len(names) - MOST_RESOURCES:,} more"] if names[MOST_RESOURCES:] else [])]
    return f"left out, each less than {LEAST_SHARE:.0%} of the mean latency: {', '.join(shown)}" if names else ""


def _by_resource(summary: Summary) -> list[list[BlameFindings]]:
    found: dict[str, list[BlameFindings]] = {}
    for blamed in summary.blame:
        found.setdefault(blamed.resource, []).append(blamed)
    return sorted(found.values(), key=lambda holders: -sum(b.wait_s for b in holders))


def _is_long(summary: Summary, holders: list[BlameFindings]) -> bool:
    mean_s = summary.latency.mean.value
    return mean_s is None or sum(b.wait_s for b in holders) >= LEAST_SHARE * mean_s


def _group(holders: list[BlameFindings], several: bool) -> BlameGroup:
    ranked = sorted(holders, key=lambda b: (_are_others(b), -b.wait_s))  # what is left stands last, however much
    whole = sum(b.wait_s for b in ranked)
    kept = max(1, sum(b.share >= SMALL for b in ranked[:MOST_HOLDERS]))
    kept += len(ranked) == kept + 1  # a row for "1 more" may as well name it
    lines = [_holder_line(holder_text(b, several), b.share, b.wait_s, whole) for b in ranked[:kept]]
    rest = ranked[kept:]
    if rest:
        more = f"{len(rest):,} more"
        lines.append(_holder_line(more, sum(b.share for b in rest), sum(b.wait_s for b in rest), whole))
    n = max(b.n for b in ranked)
    waited = f"{format_duration(whole)} a request; {format_count(n)} request{'' if n == 1 else 's'} waited"
    at_once = next((b.at_once for b in ranked if b.at_once is not None), None)
    waited += f"; held by {'one' if at_once == 1 else f'up to {at_once:,}'} at a time" if at_once else ""
    return BlameGroup(visible(ranked[0].resource, 60), waited, tuple(lines))


def _holder_line(holder: str, part: float, wait_s: float, whole_s: float) -> HolderLine:
    return HolderLine(holder, share(part), min(max(part, 0.0), 1.0), ms(wait_s, decimals_for(whole_s)))


def holder_text(found: BlameFindings, several: bool = True) -> str:
    """Who held the resource: `inference (detector) of receipt, its own kind`; of `several` kinds of request."""
    if found.stage is None:
        return "nobody known: a batch being filled, a late event loop"
    if _are_others(found):
        return (
            "all others together" if found.stage == NO_STAGE else f"others, in {stage_label(visible(found.stage, 40))}"
        )
    text = stage_label(visible(found.stage, 40))
    if found.model is not None:
        text += f" ({visible(found.model, 40)})"
    if found.name is not None and several:
        text += f" of {visible(found.name, 40)}"
    return f"{text}, its own kind" if found.own and several else text


def _are_others(found: BlameFindings) -> bool:
    """Whether it stands for the smaller holders of the resource together."""
    return found.name == OTHERS and found.model is None


# --- slow against typical -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContrastLine:
    """What slow requests have in common: a sentence with its counts, and the shares that have it, 0..1 for bars."""

    sentence: str
    slow: str
    slow_weight: float
    typical: str
    typical_weight: float


def contrast_lines(summary: Summary) -> tuple[ContrastLine, ...]:
    """At most MOST_CONTRASTS of them, in their order."""
    return tuple(_contrast_line(c) for c in summary.contrasts[:MOST_CONTRASTS])


def _contrast_line(found: Contrast) -> ContrastLine:
    slow = found.slow / found.slow_of if found.slow_of else 0.0
    typical = found.typical / found.typical_of if found.typical_of else 0.0
    return ContrastLine(found.sentence, f"{slow:.0%}", min(slow, 1.0), f"{typical:.0%}", min(typical, 1.0))
