"""A run against its SLOs: a case each."""

from __future__ import annotations

from harness.findings import ABORTED, Bottleneck, SloFindings, Summary, Verdict
from harness.report import figures
from harness.report.cases.words import (
    ABORT_CASE,
    LONGER,
    Case,
    Told,
    accepted_lines,
    closed,
    hints_of,
    property_rows,
    with_hint,
)
from harness.report.lines import UNJUDGED, VERDICT_WORDS, reason_lines, unjudged, verdict_line, warning_lines

_LOOK = "hint: `harness check SCENARIO --spans` shows what the service tells about itself"


def of_run(summary: Summary) -> Told:
    why = {
        Verdict.FAILED: _why(summary),
        Verdict.NOT_ENOUGH_DATA: (f"hint: {LONGER}",),
        Verdict.INVALID: hints_of(summary.warnings) or (_LOOK,),
    }
    cases = [*_of_abort(summary), *(_of_slo(slo, why.get(slo.verdict, ())) for slo in summary.slo)]
    properties = (
        ("run", summary.run_id), ("n", str(summary.counts.scheduled)), ("target", summary.target),
        ("load", summary.load), ("decided", summary.decided or ""),
    )  # fmt: skip
    word = UNJUDGED if unjudged(summary) else VERDICT_WORDS[summary.verdict]
    return Told(
        scenario=summary.scenario,
        kind="run",
        verdict=summary.verdict,
        headline=verdict_line(summary),
        reasons=tuple(reason_lines(summary)),
        cases=closed(summary.verdict, cases, summary.reasons, hints_of(summary.warnings), summary.interrupted),
        properties=property_rows(summary.scenario, properties, word, summary.accepted),
        at_most="",
        sentences=tuple(sentence.text for sentence in summary.sentences),
        notes=(*accepted_lines(summary.accepted), *(f"{w}: {with_hint(each)}" for w, each in warning_lines(summary))),
        started_ns=summary.started_ns,
        duration_s=summary.duration_s,
    )


def _of_abort(summary: Summary) -> list[Case]:
    """Without an SLO nothing else would say that the run failed."""
    messages = [warning.message for warning in summary.warnings if warning.code == ABORTED]
    failed = messages and summary.verdict is Verdict.FAILED
    return [Case(ABORT_CASE, Verdict.FAILED, "; ".join(messages), _why(summary))] if failed else []


def _of_slo(slo: SloFindings, why: tuple[str, ...]) -> Case:
    said = f"{slo.expression}: {VERDICT_WORDS[slo.verdict]}, observed {figures.observed(slo)} (n = {slo.n:,})"
    return Case(slo.expression, slo.verdict, f"{said}; {slo.reason}" if slo.reason else said, why)


def _why(summary: Summary) -> tuple[str, ...]:
    """The blamed stage, the first sentences of the verdict, and what to try."""
    lines = [_blamed(summary.bottleneck)] if summary.bottleneck is not None else []
    lines += [sentence.text for sentence in summary.sentences[:2]]
    if summary.causes:
        cause = summary.causes[0]
        told_already = any(cause.sentence in line for line in lines)
        lines.append(f"try first: {cause.remedy}" if told_already else f"{cause.sentence} Try first: {cause.remedy}")
    return tuple(line for i, line in enumerate(lines) if not any(line in earlier for earlier in lines[:i]))


def _blamed(found: Bottleneck) -> str:
    parts = [found.stage]
    parts += [f"{word} {name}" for word, name in (("model", found.model), ("resource", found.resource)) if name]
    if found.share_of_tail is not None:
        low, high = found.interval if found.interval is not None else (None, None)
        between = figures.share_interval(low, high)
        share = f"{figures.share(found.share_of_tail)} of what makes slow requests slow"
        parts.append(f"{share} ({between})" if between else share)
    return f"blamed stage: {', '.join(parts)}; n = {found.n:,}"
