"""Why the run is as slow as it is, as text: causes, the tail by stage, who held what, what slow requests share.

Written once, so that all reports agree. Names that came from outside are made safe to look at here.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from harness.analysis.holding.blame import OTHERS
from harness.analysis.holding.charges import NO_STAGE
from harness.diagnosis import CLEAR_SHARE, BlameFindings, Cause, Contrast, TailFindings
from harness.findings import Loss, Summary
from harness.model import Split
from harness.report.figures import decimals_for, ms, share, share_interval
from harness.report.lines import stage_label
from harness.report.text import visible
from harness.units import format_count, format_duration

MOST_SENTENCES = 6
MOST_CONTRASTS = 5
MOST_HOLDERS = 6
"""Holders shown for one resource; the others are summed up."""
MOST_RESOURCES = 6


# --- causes ---------------------------------------------------------------------------------------------------


def has_server_halves(summary: Summary) -> bool:
    """Whether the service gave an account of any ok request."""
    return any(n for split, n in summary.counts.split if split != Split.NONE.value)


def was_examined(summary: Summary) -> bool:
    """Whether causes were looked for: the run measured something, and its summary is not older than the search."""
    return summary.counts.scheduled > 0 and (bool(summary.steps) or summary.answered is not None)


_SAID = ("No known cause", "Nothing is said about stages", "No request succeeded")
"""How a sentence of the verdict begins that leaves nothing to add about causes."""


def no_cause(summary: Summary) -> str:
    """The one sentence in place of the causes.

    Empty when there are some, when nobody looked for any, or when the verdict says as much in its own words.
    """
    if summary.causes or not was_examined(summary):
        return ""
    if any(sentence.text.startswith(_SAID) for sentence in summary.sentences[:MOST_SENTENCES]):
        return ""
    if not summary.counts.ok:
        return "No request was answered as expected, so there is no answer whose time could be explained."
    if not has_server_halves(summary):
        return (
            "Nothing could be looked at inside the service: it gave no account of these requests (no spans). "
            "What the load generator sees by itself shows no known cause."
        )
    if summary.coverage is not None and summary.coverage.loss in (Loss.CLUSTERED, Loss.BIASED):
        return (
            "Nothing could be looked at inside the service: the requests it gave an account of are not like "
            "those it did not."
        )
    return "No known cause shows in this run."


def further_evidence(summary: Summary, cause: Cause) -> tuple[str, ...]:
    """The evidence of a cause that does not stand below a sentence of the verdict already."""
    shown = {line for sentence in summary.sentences[:MOST_SENTENCES] for line in sentence.evidence}
    return tuple(line for line in cause.evidence if line not in shown)


def anchors(causes: tuple[Cause, ...]) -> tuple[str, ...]:
    """An id for each cause, made of its code; unique also when two causes share one."""
    taken: list[str] = []
    for cause in causes:
        plain = f"cause-{re.sub(r'[^a-z0-9_-]', '', cause.code.lower())[:40] or 'known'}"
        numbered = itertools.chain([plain], (f"{plain}-{i}" for i in itertools.count(2)))
        taken.append(next(name for name in numbered if name not in taken))
    return tuple(taken)


def cause_of_bottleneck(summary: Summary) -> str:
    """The anchor of the cause that explains the bottleneck; empty without one."""
    code = summary.bottleneck.cause if summary.bottleneck is not None else None
    named = zip(summary.causes, anchors(summary.causes), strict=True)
    return next((anchor for cause, anchor in named if cause.code == code), "")


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
    ends = list(itertools.accumulate((s.share for s in tail.shares), initial=0.0))
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    lines = tuple(
        TailLine(
            stage=found.stage,
            label=visible(stage_label(found.stage), 40),
            share=share(found.share),
            interval=share_interval(found.low, found.high),
            ms=ms(found.share * tail.gap_s, decimals),
            start=(min(begin, end) - low) / span,
            width=abs(end - begin) / span,
            less=end < begin,
        )
        for found, (begin, end) in zip(tail.shares, itertools.pairwise(ends), strict=True)
    )
    return TailTable(_headline(tail), _answer(tail), lines, ms(tail.gap_s, decimals))


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
    by_resource: dict[str, list[BlameFindings]] = {}
    for found in summary.blame:
        by_resource.setdefault(found.resource, []).append(found)
    longest = sorted(by_resource.items(), key=lambda item: -sum(b.wait_s for b in item[1]))
    return tuple(_group(resource, holders) for resource, holders in longest[:MOST_RESOURCES])


def _group(resource: str, holders: list[BlameFindings]) -> BlameGroup:
    ranked = sorted(holders, key=lambda b: -b.wait_s)
    whole = sum(b.wait_s for b in ranked)
    lines = [_holder_line(holder_text(b), b.share, b.wait_s, whole) for b in ranked[:MOST_HOLDERS]]
    rest = ranked[MOST_HOLDERS:]
    if rest:
        more = f"{len(rest):,} more"
        lines.append(_holder_line(more, sum(b.share for b in rest), sum(b.wait_s for b in rest), whole))
    n = max(b.n for b in ranked)
    waited = f"{format_duration(whole)} a request; {format_count(n)} request{'' if n == 1 else 's'} waited"
    return BlameGroup(visible(resource, 60), waited, tuple(lines))


def _holder_line(holder: str, part: float, wait_s: float, whole_s: float) -> HolderLine:
    return HolderLine(holder, share(part), min(max(part, 0.0), 1.0), ms(wait_s, decimals_for(whole_s)))


def holder_text(found: BlameFindings) -> str:
    """Who held the resource: `inference (detector) of receipt, its own kind`."""
    if found.stage is None:
        return "nobody known: a batch being filled, a late event loop"
    if found.name == OTHERS and found.model is None:
        return OTHERS if found.stage == NO_STAGE else f"others, in {stage_label(visible(found.stage, 40))}"
    text = stage_label(visible(found.stage, 40))
    if found.model is not None:
        text += f" ({visible(found.model, 40)})"
    if found.name is not None:
        text += f" of {visible(found.name, 40)}"
    return f"{text}, its own kind" if found.own else text


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
