"""The tail by stage, the models of the chain and what slow requests share, drawn."""

from __future__ import annotations

import dataclasses
import itertools

import pandas as pd

from harness.diagnosis import TailFindings
from harness.findings import ModelFindings, Summary
from harness.report import charts
from harness.report.charts import ModelBar, Pair, ShareBar
from harness.report.drawings.drawing import ChartTable, Drawing, distinct
from harness.report.figures import decimals_for, ms, number, share, share_interval
from harness.report.lines import stage_label
from harness.report.palette import IN_PAGE, Theme
from harness.report.text import visible
from harness.report.why import MOST_CONTRASTS
from harness.units import format_duration
from harness.views import Views

MOST_MODELS = 12
"""Models that have a line of their own; the others are summed up."""
NAME = 32
"""Characters of a name beside a bar."""


def tail_drawing(summary: Summary, _: pd.DataFrame, __: Views, theme: Theme = IN_PAGE) -> Drawing | None:
    """Which stages make the slow requests slow, with intervals."""
    tail = summary.tail
    if tail is None or not tail.shares:
        return None
    bars = [
        ShareBar(s.stage, visible(stage_label(s.stage), NAME), s.share, s.low, s.high,
                 f"{share(s.share)}  ({share_interval(s.low, s.high)})")
        for s in tail.shares
    ]  # fmt: skip
    bars = [
        dataclasses.replace(b, label=label) for b, label in zip(bars, distinct([b.label for b in bars]), strict=True)
    ]
    slow, typical = format_duration(tail.slow_s), format_duration(tail.typical_s)
    return Drawing(
        key="tail",
        title="Why slow requests are slow",
        label=f"Share of each stage in {visible(tail.of)}: {slow} against {typical}. "
        f"{bars[0].label} comes first with {bars[0].words}.",
        note=f"{_sentence(visible(tail.of))}: {slow} against {typical}, n = {tail.n:,}, {tail.n_slow:,} of them slow. "
        "Whiskers are 95% intervals; left of zero, slow requests spend less there than typical ones.",
        chart=charts.tail_bars(bars, theme, f"the {format_duration(tail.gap_s)} between slow and typical"),
        table=_tail_table(tail),
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _tail_table(tail: TailFindings) -> ChartTable:
    decimals = decimals_for(tail.slow_s)
    rows = tuple(
        (
            visible(stage_label(s.stage), NAME), share(s.share), share_interval(s.low, s.high),
            ms(s.share * tail.gap_s, decimals),
        )
        for s in tail.shares
    )  # fmt: skip
    return ChartTable(f"Shares of {visible(tail.of)}", ("stage", "share", "95% interval", "ms"), rows)


def models_drawing(summary: Summary, _: pd.DataFrame, __: Views, theme: Theme = IN_PAGE) -> Drawing | None:
    """What each model of the chain takes of the mean request."""
    if not summary.models:
        return None
    named, rest = summary.models[:MOST_MODELS], summary.models[MOST_MODELS:]
    ends = list(itertools.accumulate((m.mean_per_request_s * 1000 for m in named), initial=0.0))
    bars = [
        ModelBar(visible(m.model, NAME), begin, end, _model_words(m))
        for m, (begin, end) in zip(named, itertools.pairwise(ends), strict=True)
    ]
    bars = [
        dataclasses.replace(b, label=label) for b, label in zip(bars, distinct([b.label for b in bars]), strict=True)
    ]
    if rest:
        rest_s = sum(m.mean_per_request_s for m in rest)
        bars.append(ModelBar(f"{len(rest):,} more", ends[-1], ends[-1] + rest_s * 1000, format_duration(rest_s)))
    whole_s = sum(m.mean_per_request_s for m in summary.models)
    return Drawing(
        key="models",
        title="The chain of models",
        label=f"Mean time per request in each of {len(summary.models):,} models, {format_duration(whole_s)} in all; "
        f"{bars[0].label} takes {bars[0].words}.",
        note="Each bar begins where the one above it ends; beside it the calls a request makes and what one takes. The "
        "longest comes first; calls that ran at the same time count in full.",
        chart=charts.model_bars(bars, theme),
        table=_models_table(summary.models),
    )


def _model_words(found: ModelFindings) -> str:
    calls = number(found.calls_per_request)
    return f"{format_duration(found.mean_per_request_s)} = {calls} × {format_duration(found.mean_call_s)}"


def _models_table(models: tuple[ModelFindings, ...]) -> ChartTable:
    decimals = decimals_for(max(m.mean_call_s for m in models))
    rows = tuple(
        (
            visible(m.model), f"{m.calls:,}", number(m.calls_per_request), ms(m.mean_call_s, decimals),
            ms(m.mean_per_request_s, decimals), share(m.share),
        )
        for m in models
    )  # fmt: skip
    columns = ("model", "calls", "calls per request", "ms a call", "ms a request", "share of the mean latency")
    return ChartTable("Models of the chain", columns, rows)


def contrast_drawing(summary: Summary, _: pd.DataFrame, __: Views, theme: Theme = IN_PAGE) -> Drawing | None:
    """What slow requests have in common and typical ones do not."""
    found = [c for c in summary.contrasts[:MOST_CONTRASTS] if c.slow_of and c.typical_of]
    if not found:
        return None
    pairs = [
        Pair(
            f"{visible(c.attribute, NAME)}: {visible(c.value, NAME)}", c.slow / c.slow_of, c.typical / c.typical_of,
            f"slow {c.slow:,} of {c.slow_of:,}, typical {c.typical:,} of {c.typical_of:,}",
        )
        for c in found
    ]  # fmt: skip
    pairs = [
        dataclasses.replace(p, label=label) for p, label in zip(pairs, distinct([p.label for p in pairs]), strict=True)
    ]
    rows = tuple(
        (
            p.label, f"{c.slow:,} of {c.slow_of:,}", share(p.slow), f"{c.typical:,} of {c.typical_of:,}",
            share(p.typical),
        )
        for p, c in zip(pairs, found, strict=True)
    )  # fmt: skip
    return Drawing(
        key="contrast",
        title="What slow requests have in common",
        label="How many of the slow and of the typical requests have an attribute. "
        f"{pairs[0].label}: {pairs[0].words}.",
        note="Attributes in which they differ more than by chance; those that differ most come first.",
        chart=charts.contrast_pairs(pairs, theme),
        table=ChartTable("Slow against typical requests", ("attribute", "slow", "share", "typical", "share"), rows),
    )
