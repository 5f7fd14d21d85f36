"""The verdict as short Markdown: a comment on a pull request, or the summary page of a job.

The whole report is `markdown`; this fits a screen. Text from outside cannot break it.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.comparison import (
    AbFindings,
    BaselineFindings,
    CalibrationFindings,
    Change,
    StageChange,
)
from harness.errors import HarnessError
from harness.findings import Summary, Verdict
from harness.report import figures
from harness.report.cases import Findings, Told, told_together
from harness.report.cases.pairs import ratio_text
from harness.report.cases.words import change_text
from harness.report.lines import stage_label
from harness.report.markdown import MARKS
from harness.report.markdown_text import bullets, escaped, named, table
from harness.report.verdict_text import NOT_JUDGED, slo_verdict

MOST_SENTENCES = 3
MOST_ROWS = 12


def render(*found: Findings) -> str:
    """One part for each: the verdict, the table it stands on, what changed or what is slow."""
    return "\n\n".join(map(_one, found, told_together(found))) + "\n"


def render_ab(found: AbFindings) -> str:
    """Interleaved pairs."""
    return render(found)


def render_refusal(error: HarnessError, name: str) -> str:
    """Nothing was found: the error in place of the verdict."""
    hint = f"\n\n*{escaped(error.hint)}*" if error.hint else ""
    return f"### {MARKS[Verdict.INVALID]} {named(name)}: not measured\n\n{escaped(error.message)}{hint}\n"


def _one(found: Findings, each: Told) -> str:
    blocks = [
        f"### {MARKS[each.tone]} {named(each.scenario)}: {escaped(each.headline)}",
        bullets(map(escaped, each.reasons[:MOST_ROWS])),
        _limits(found),
        f"**{escaped(each.at_most, 600)}**" if each.at_most else "",
        bullets(escaped(text, 600) for text in each.sentences[:MOST_SENTENCES]),
        _changed(found),
        _doubts(each),
        _foot(each),
    ]
    return "\n\n".join(block for block in blocks if block)


def _limits(found: Findings) -> str:
    """What was judged: the SLOs, or the metrics."""
    if isinstance(found, Summary):
        return _slos(found)
    if isinstance(found, AbFindings):
        return _metrics(found)
    return _predicted(found) if isinstance(found, BaselineFindings) else _noise(found)


def _slos(summary: Summary) -> str:
    rows = [
        (f"{_answer(slo_verdict(summary, slo))} {named(slo.expression)}", figures.observed(slo), f"{slo.n:,}",
         escaped(slo.reason))
        for slo in summary.slo
    ]  # fmt: skip
    return table(("SLO", "observed", "n", "why"), rows, words=(0, 3)) if rows else ""


def _answer(verdict: Verdict | None) -> str:
    return MARKS[verdict] if verdict is not None else f"{MARKS[None]} {NOT_JUDGED}"


_CHANGES = {
    Change.WORSE: (Verdict.FAILED, "worse"),
    Change.WITHIN: (Verdict.PASSED, "within"),
    Change.NOT_FOUND: (Verdict.PASSED, "not found"),
    Change.UNKNOWN: (Verdict.NOT_ENOUGH_DATA, "not known"),
}


def _change(whole: Verdict, change: Change) -> str:
    """What is not decided has a tick where that is good enough; nothing of an invalid measurement has an answer."""
    if whole is Verdict.INVALID:
        return _answer(None)
    verdict, word = _CHANGES[change]
    undecided = whole is Verdict.NOT_ENOUGH_DATA and change is not Change.WITHIN
    return f"{MARKS[whole if undecided else verdict]} {word}"


def _metrics(found: AbFindings) -> str:
    rows = [
        (f"{escaped(m.metric)}{'' if m.gating else ' *(explains)*'}", figures.in_unit(m.a, m.unit),
         figures.in_unit(m.b, m.unit), escaped(ratio_text(m)), change_text(m.at_most), change_text(m.detectable),
         _change(found.verdict, m.change) if m.gating else "")
        for m in found.metrics[:MOST_ROWS]
    ]  # fmt: skip
    columns = ("metric", "A", "B", "worse by", "at most", "can be seen", "")
    return table(columns, rows, words=(0, 3, 6)) if rows else ""


def _predicted(found: BaselineFindings) -> str:
    rows = [
        (_change(found.verdict, m.change), escaped(m.metric),
         *(figures.in_unit(v, m.unit) for v in (m.value, m.typical, m.limit)), f"{m.n:,}", escaped(m.reason))
        for m in found.metrics[:MOST_ROWS]
    ]  # fmt: skip
    columns = ("", "metric", "this run", "typical", "limit", "baseline runs", "why")
    return table(columns, rows, words=(0, 1, 6)) if rows else ""


def _noise(found: CalibrationFindings) -> str:
    rows = []
    for noise in found.noise[:MOST_ROWS]:
        seen = "; ".join(f"{pairs} pairs: {change_text(ratio)}" for pairs, ratio in noise.detectable)
        rows.append((escaped(noise.metric), figures.in_unit(noise.value, noise.unit),
                     figures.share(noise.deviation.value), f"{noise.deviation.n:,}", seen))  # fmt: skip
    columns = ("metric", "typical", "noise between two runs", "pairs", "can be seen")
    return table(columns, rows, words=(0, 4)) if rows else ""


def _changed(found: Findings) -> str:
    """Where the time went: the stage that changed, or the one that is slow."""
    if isinstance(found, Summary):
        slow = found.bottleneck
        said = any(slow is not None and slow.sentence == sentence.text for sentence in found.sentences[:MOST_SENTENCES])
        return f"**Bottleneck:** {escaped(slow.sentence, 600)}" if slow is not None and not said else ""
    if isinstance(found, AbFindings):
        said = found.blame is None or found.blame.sentence in found.sentences[:MOST_SENTENCES]
        blame = "" if said or found.blame is None else f"**What changed:** {escaped(found.blame.sentence, 600)}"
        return "\n\n".join(part for part in (blame, _stages(found.stages)) if part)
    return ""


def _stages(stages: Sequence[StageChange]) -> str:
    known = [stage for stage in stages if stage.a_s or stage.b_s]
    rows = [
        (escaped(stage_label(s.stage)), figures.in_unit(s.a_s, "s"), figures.in_unit(s.b_s, "s"), _moved(s),
         figures.share(s.share), "" if s.works else "waits")
        for s in known[:MOST_ROWS]
    ]  # fmt: skip
    told_stages = table(("stage (mean)", "A", "B", "change", "of all", ""), rows, words=(0, 5))
    summary = "<details><summary>Stage by stage</summary>"
    return f"{summary}\n\n{told_stages}\n\n</details>" if rows else ""


def _moved(stage: StageChange) -> str:
    change = stage.change
    if change.value is None:
        return "–"
    low, high = (figures.in_unit(x, "s") for x in (change.low, change.high))
    inside = f" ({low} … {high})" if change.low is not None and change.high is not None else ""
    return f"{'+' if change.value > 0 else ''}{figures.in_unit(change.value, 's')}{inside}"


def _doubts(each: Told) -> str:
    if not each.notes:
        return ""
    shown = [escaped(note) for note in each.notes[:MOST_ROWS]]
    more = len(each.notes) - len(shown)
    shown += [f"{more:,} more in the report"] if more else []
    return f"<details><summary>Doubts: {len(each.notes):,}</summary>\n\n{bullets(shown)}\n\n</details>"


def _foot(each: Told) -> str:
    shown = [f"{name} {escaped(text, 120)}" for name, text in each.properties if name in ("n", "pairs", "load")]
    names = [f"{name} {named(text)}" for name, text in each.properties if name in ("run", "target", "a", "b")]
    return f"<sub>{' · '.join([*names, *shown])}</sub>"
