"""The summary as GitHub-flavoured Markdown, for a comment on a pull request."""

from __future__ import annotations

from harness.findings import HealthState, Summary, Verdict
from harness.report import figures, markdown_why
from harness.report.health_text import generator_line, stamps_line
from harness.report.lines import (
    NAME_COLUMNS,
    counts_line,
    coverage_line,
    latency_columns,
    latency_lines,
    latency_note,
    name_lines,
    stage_table,
    waits_line,
)
from harness.report.markdown_text import bullets, table
from harness.report.markdown_text import escaped as escaped
from harness.report.markdown_text import named as named
from harness.report.verdict_text import reason_lines, slo_verdict, slo_word, tone_of, verdict_line, warning_lines

MARKS = {
    None: "ℹ️",
    Verdict.PASSED: "✅",
    Verdict.FAILED: "❌",
    Verdict.NOT_ENOUGH_DATA: "❔",
    Verdict.INVALID: "⚠️",
}


def render(summary: Summary) -> str:
    """The comment: verdict, stage table, latency, SLOs, models, errors, warnings."""
    blocks = [
        _head(summary), _slos(summary), markdown_why.steps(summary), _stages(summary), markdown_why.tail(summary),
        markdown_why.work(summary), _latency(summary), _names(summary), _models(summary), _errors(summary),
        _generator(summary), _warnings(summary), _foot(summary),
    ]  # fmt: skip
    return "\n\n".join(block for block in blocks if block) + "\n"


def _head(summary: Summary) -> str:
    title = f"## {MARKS[tone_of(summary)]} {named(summary.scenario)}: {verdict_line(summary)}"
    blocks = [
        title,
        bullets(map(escaped, reason_lines(summary))),
        markdown_why.sentences(summary),
        markdown_why.causes(summary),
        markdown_why.gains(summary),
    ]
    return "\n\n".join(block for block in blocks if block)


def _slos(summary: Summary) -> str:
    if not summary.slo:
        return ""
    rows = [
        (f"{MARKS[verdict]} {slo_word(verdict)}", named(slo.expression), figures.observed(slo), escaped(slo.reason))
        for slo in summary.slo
        for verdict in (slo_verdict(summary, slo),)
    ]
    return "### SLOs\n\n" + table(("verdict", "SLO", "observed", "why"), rows, words=(0, 1, 3))


def _stages(summary: Summary) -> str:
    stages = stage_table(summary)
    if not stages.lines:
        return ""
    rows = [
        (("&nbsp;&nbsp;" if line.part else "") + line.label, line.mean, line.share, line.p50, line.p95)
        for line in stages.lines
    ]
    total = ("**= mean latency**", f"**{stages.total}**", "", "", "")
    columns = ("stage", "mean (ms)", "share", "p50 alone", "p95 alone")
    waits = waits_line(summary)
    return (
        f"### Where the time goes\n\n{table(columns, [*rows, total])}\n\n<sub>{escaped(summary.stage_set)}. Means add"
        f" up; percentiles of a stage on its own do not.{f' {escaped(waits)}.' if waits else ''}</sub>"
    )


def _latency(summary: Summary) -> str:
    columns = latency_columns(summary)
    rows = [
        (line.statistic, *(cell.value + _aside(cell.interval, cell.refusal) for cell in line.cells))
        for line in latency_lines(summary)
    ]
    told = table(("ms", *columns), rows, words=range(len(columns) + 1))
    return f"### Latency\n\n{told}\n\n<sub>{latency_note(summary)}.</sub>"


def _aside(interval: str, refusal: str) -> str:
    inside = escaped(refusal) if refusal else interval
    return f" ({inside})" if inside else ""


def _names(summary: Summary) -> str:
    lines = [(named(name), *cells) for name, *cells in name_lines(summary)]
    return "### Requests\n\n" + table(NAME_COLUMNS, lines, words=(0, 6)) if lines else ""


def _models(summary: Summary) -> str:
    if not summary.models:
        return ""
    rows = []
    for m in summary.models:
        call, request = (figures.ms(s, figures.decimals_for(s)) for s in (m.mean_call_s, m.mean_per_request_s))
        rows.append(
            (named(m.model), f"{m.calls:,}", f"{m.calls_per_request:.2f}", call, request, figures.share(m.share))
        )
    columns = ("model", "calls", "per request", "ms a call", "ms a request", "share")
    return "### Models\n\n" + table(columns, rows)


def _errors(summary: Summary) -> str:
    if not summary.counts.errors:
        return ""
    rows = [(named(what), f"{n:,}") for what, n in summary.counts.errors]
    return "### Errors\n\n" + table(("what", "requests"), rows)


def _generator(summary: Summary) -> str:
    health = summary.health
    if health.state is HealthState.HEALTHY:
        return ""
    return f"### Load generator: {health.state.value}\n\n{bullets(map(escaped, health.reasons))}"


_WARNING_MARKS = {
    "invalid": "**invalidates the run:** ", "accepted": "**accepted as it is:** ", "failed": "**failed the run:** ",
    "warning": "",
}  # fmt: skip


def _warnings(summary: Summary) -> str:
    if not summary.warnings:
        return ""
    texts = [f"{_WARNING_MARKS[word]}{escaped(w.message)} *{escaped(w.hint)}*" for word, w in warning_lines(summary)]
    return "### Warnings\n\n" + bullets(texts)


def _foot(summary: Summary) -> str:
    parts = [named(summary.target), escaped(summary.load), escaped(counts_line(summary))]
    line = generator_line(summary.health)
    health = f"generator {summary.health.state.value}" + (f": {line}" if line else "")
    halves = (summary.span_source, coverage_line(summary))
    parts += [escaped(part) for part in (health, stamps_line(summary.health), *halves) if part]
    return f"<sub>{' · '.join(parts)} · run {named(summary.run_id)}</sub>"
