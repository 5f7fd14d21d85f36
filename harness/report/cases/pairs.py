"""Interleaved pairs: a case for each metric that decides."""

from __future__ import annotations

from harness.comparison import AbFindings, Change, MetricChange
from harness.findings import Verdict
from harness.report import figures
from harness.report.cases.words import (
    Case,
    Told,
    change_text,
    closed,
    hints_of,
    property_rows,
    with_hint,
)
from harness.report.verdict_text import VERDICT_WORDS, accepted_lines, noted, tone

_MORE = "hint: measure more pairs (--pairs), or longer runs (--duration)"


def of_pairs(found: AbFindings) -> Told:
    gating = [metric for metric in found.metrics if metric.gating]
    why = [found.blame.sentence] if found.blame is not None else []
    why += [sentence for sentence in found.sentences[:2] if sentence not in why]
    named = "not known" if found.blame is None else _of_model(found.blame.stage, found.blame.model)
    blamed = (f"blamed stage: {named}",)
    cases = [_of_metric(m, found.allowed, found.strict, (*blamed, *why)) for m in gating]
    counted = sum(pair.counted for pair in found.pairs)
    properties = (
        ("a", found.a), ("b", found.b), ("pairs", f"{counted} of {len(found.pairs)} count"),
        ("n", str(sum(pair.a.n + pair.b.n for pair in found.pairs if pair.counted))), ("load", found.load),
        ("allowed", change_text(1 + found.allowed)), ("confidence", figures.share(found.confidence)),
        ("runs", " ".join(run.run_id for pair in found.pairs for run in (pair.a, pair.b))),
    )  # fmt: skip
    left_out = tuple(f"pair {pair.number} does not count: {pair.reason}" for pair in found.pairs if not pair.counted)
    judged = found.verdict is not Verdict.INVALID
    headline = noted(
        VERDICT_WORDS[found.verdict], [], accepted=bool(found.accepted), interrupted=found.interrupted, judged=judged
    )
    return Told(
        scenario=found.scenario,
        kind="ab",
        verdict=found.verdict,
        tone=tone(found.verdict, found.interrupted),
        headline=headline,
        reasons=(*found.reasons, *accepted_lines(found.accepted)),
        cases=closed(
            found.verdict,
            cases,
            found.reasons,
            (*hints_of(found.warnings), *left_out),
            found.accepted,
            found.interrupted,
        ),
        properties=property_rows(found.scenario, properties, headline, found.accepted),
        at_most="; ".join(filter(None, map(at_most_text, gating))) if judged else "",
        sentences=found.sentences if judged else (),
        accepted=found.accepted,
        notes=(*left_out, *map(with_hint, found.warnings)),
        started_ns=found.started_ns,
        duration_s=found.duration_s,
    )


def _of_model(stage: str, model: str | None) -> str:
    return stage if model is None else f"{stage}, model {model}"


def _of_metric(metric: MetricChange, allowed: float, strict: bool, why: tuple[str, ...]) -> Case:
    verdicts = {
        Change.WORSE: Verdict.FAILED,
        Change.WITHIN: Verdict.PASSED,
        Change.NOT_FOUND: Verdict.NOT_ENOUGH_DATA if strict else Verdict.PASSED,
        Change.UNKNOWN: Verdict.NOT_ENOUGH_DATA,
    }
    verdict = verdicts[metric.change]
    reason = f"{metric.metric}: {metric.reason}" if metric.reason else ""
    said = "; ".join(part for part in (reason, sides_text(metric), at_most_text(metric)) if part)
    because = {Verdict.FAILED: why, Verdict.NOT_ENOUGH_DATA: (_MORE,)}.get(verdict, ())
    limit = f"worse by no more than {change_text(1 + allowed)}" if metric.unit != "ratio" else "no more than before"
    return Case(f"{metric.metric}: {limit}", verdict, said, because)


def sides_text(metric: MetricChange) -> str:
    """`A 180 ms, B 198 ms: +10.0% (+7.1% … +13.0%, n = 5)`."""
    a, b = (figures.in_unit(value, metric.unit) for value in (metric.a, metric.b))
    return f"A {a}, B {b}: {ratio_text(metric)}"


def ratio_text(metric: MetricChange) -> str:
    """`+10.0% (+7.1% … +13.0%, n = 5)`, or why there is no ratio."""
    ratio = metric.ratio
    if ratio.value is None:
        return f"not known ({ratio.refusal or 'too few pairs'}; n = {ratio.n:,})"
    inside = (
        [] if ratio.low is None or ratio.high is None else [f"{change_text(ratio.low)} … {change_text(ratio.high)}"]
    )
    return f"{change_text(ratio.value)} ({', '.join([*inside, f'n = {ratio.n:,}'])})"


def at_most_text(metric: MetricChange) -> str:
    """`p95: at most +6.3% worse (such pairs find +7.0% and more)`; nothing where no limit is known."""
    if metric.at_most is None:
        return ""
    seen = "" if metric.detectable is None else f" (such pairs find {change_text(metric.detectable)} and more)"
    return f"{metric.metric}: at most {change_text(metric.at_most)} worse{seen}"
