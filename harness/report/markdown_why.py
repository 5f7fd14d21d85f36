"""The parts of the Markdown report that explain: causes, load steps, the tail, who held what, works or waits."""

from __future__ import annotations

from harness.findings import Summary
from harness.report import gains_text, said, steps_text, why, work_text
from harness.report.markdown_text import bullets, escaped, named, nested, table
from harness.report.steps_text import StepLine


def sentences(summary: Summary) -> str:
    """The verdict in words, the figures behind each sentence as a list below it."""
    lines: list[str] = []
    for line in said.said_lines(summary):
        remedy = f" **{said.TRY_FIRST}** {escaped(line.remedy, 600)}" if line.remedy else ""
        lines += [f"- {escaped(line.text, 600)}{remedy}", *nested(map(escaped, line.evidence))]
    return "\n".join(lines)


def causes(summary: Summary) -> str:
    """Each cause that no sentence tells, with what to try first and what shows it; or the one sentence that there is
    none.
    """
    none = said.no_cause(summary)
    if none:
        return none
    lines: list[str] = []
    for line in said.cause_lines(summary):
        mark = f"{line.number}. "
        below = [f"**{said.TRY_FIRST}** {escaped(line.remedy, 600)}", *map(escaped, line.further)]
        lines += [f"{mark}{escaped(line.sentence, 600)}", *nested(below, " " * len(mark))]
    return f"### {said.causes_title(summary)}\n\n" + "\n".join(lines) if lines else ""


def gains(summary: Summary) -> str:
    """What the usual changes would give, and what those figures stand on; or why nobody can say."""
    answers = gains_text.gain_table(summary)
    if answers is None:
        refusal = gains_text.no_gain(summary)
        return f"<sub>{escaped(refusal, 500)}</sub>" if refusal else ""
    told = table(answers.columns, [tuple(map(escaped, line)) for line in answers.lines])
    notes = ". ".join(note[:1].upper() + note[1:] for note in map(escaped, answers.notes))
    return f"### {gains_text.TITLE}\n\n{told}\n\n<sub>{notes}.</sub>"


def steps(summary: Summary) -> str:
    """A row per load step, and what is to be said of each below the table."""
    lines = steps_text.step_lines(summary)
    if not lines:
        return ""
    columns = steps_text.columns(summary)
    rows = [[_step_cells(line)[column] for column in columns] for line in lines]
    notes = bullets(f"{line.level}: {escaped(note)}" for line in lines for note in line.notes)
    told = table(columns, rows, words=(0, 1))
    foot = f"<sub>{steps_text.steps_note(columns)}.</sub>"
    return "\n\n".join(part for part in ("### Load steps (ms)", told, notes, foot) if part)


def _step_cells(line: StepLine) -> dict[str, str]:
    pairs = zip(steps_text.PERCENTILES, line.percentiles, strict=True)
    percentiles = {name: cell.value + _aside(cell.interval) for name, cell in pairs}
    rates = {"step": line.level, "offered": line.offered, "completed": line.completed + _aside(line.completed_when)}
    failed = line.failed + _aside(line.failed_interval)
    told = {"failed": failed, "in flight": line.in_flight, "gauge": line.gauge, "state": f"**{line.state.value}**"}
    return {**rates, **percentiles, **told}


def _aside(interval: str) -> str:
    return f" ({interval})" if interval else ""


def tail(summary: Summary) -> str:
    """The gap between slow and typical requests, who held what they waited for, and what slow ones share."""
    parts = [part for part in (_split(summary), _blame(summary), _contrasts(summary)) if part]
    return "\n\n".join([f"### {why.title(summary)}", *parts]) if parts else ""


def _split(summary: Summary) -> str:
    split = why.tail_table(summary)
    if split is None:
        return ""
    rows = [(escaped(line.label), line.share, line.interval, line.ms) for line in split.lines]
    total = ("**= difference**", "**100.0%**", "", f"**{split.total}**")
    told = table(("stage", "share", "95% interval", "ms"), [*rows, total])
    return f"{escaped(split.answer)}\n\n{told}\n\n<sub>{escaped(split.headline)}.</sub>"


def _blame(summary: Summary) -> str:
    rows = [
        (named(group.resource), escaped(line.holder), line.share, line.ms)
        for group in why.blame_groups(summary)
        for line in group.lines
    ]
    if not rows:
        return ""
    told = table(("waited for", "held by", "share", "ms a request"), rows, words=(0, 1))
    note = why.blame_note(summary)
    below = f"\n\n<sub>{escaped(note[:1].upper() + note[1:])}.</sub>" if note else ""
    alone = why.title(summary) == why.HELD  # then the heading says it
    return (told if alone else f"**{why.HELD}**\n\n{told}") + below


def _contrasts(summary: Summary) -> str:
    told = bullets(escaped(line.sentence) for line in why.contrast_lines(summary))
    return f"**Slow requests against typical ones**\n\n{told}" if told else ""


def work(summary: Summary) -> str:
    """Wall clock against CPU per stage, and what grows from the lowest load step to the highest."""
    return "\n\n".join(part for part in (_work(summary), _growth(summary)) if part)


def _work(summary: Summary) -> str:
    columns = work_text.work_columns(summary)
    rows = [tuple(map(escaped, line.cells[: len(columns)])) for line in work_text.work_lines(summary)]
    if not rows:
        return ""
    return f"### Works or waits\n\n{table(columns, rows)}\n\n<sub>{work_text.work_note(summary)}.</sub>"


def _growth(summary: Summary) -> str:
    rows = [
        (escaped(g.label), g.low, g.high, g.change + _aside(escaped(g.interval)), g.share, g.grows)
        for g in work_text.growth_lines(summary)
    ]
    if not rows:
        return ""
    columns = ("stage", *work_text.growth_levels(summary), "change", "of all", "what grows")
    return f"### What grows with the load (ms)\n\n{table(columns, rows, words=(0, 5))}"
