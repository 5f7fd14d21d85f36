"""The load steps as text: one line per step, written once, so that all reports agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.diagnosis import Steadiness, StepFindings
from harness.findings import Summary
from harness.report.figures import decimals_for, interval, ms, number, share, share_interval
from harness.report.lines import LatencyCell
from harness.units import format_count, format_rate

PERCENTILES = ("p50", "p95", "p99")
SECOND_HALF = "2nd half"
"""An unstable step is judged when its queue has filled; the run's own rate is of all its time."""
MOST_CHECKS = 5
"""Failed checks named per step; the others are summed up."""


@dataclass(frozen=True, slots=True)
class StepLine:
    """One load step. Percentiles are in milliseconds; `refused` is the reason when none of them is given, once."""

    level: str
    offered: str
    completed: str
    completed_when: str  # which part of the step that rate is of; empty: all of it
    failed: str
    failed_interval: str
    percentiles: tuple[LatencyCell, ...]
    refused: str
    state: Steadiness
    sentence: str
    in_flight: str
    gauge: str
    checks: tuple[tuple[str, str], ...]  # (failed check as it came, how many requests)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of the step, in sentences: its state, and why a percentile is missing."""
        refusals = [f"no percentiles: {self.refused}"] if self.refused else self._missing()
        checks = [f"failed check: {name} ({count} requests)" for name, count in self.checks]
        return (f"{self.state.value}: {self.sentence}", *refusals, *checks)

    def _missing(self) -> list[str]:
        """Which percentiles are missing, and what the first of them needs: the others need more."""
        told = zip(PERCENTILES, self.percentiles, strict=True)
        missing = [(name, cell.refusal) for name, cell in told if cell.refusal]
        return [f"no {' or '.join(name for name, _ in missing)}: {missing[0][1]}"] if missing else []


def shows_steps(summary: Summary) -> bool:
    """Whether the steps say more than the run as a whole: there are several, or the only one is not steady."""
    steps = summary.steps
    if not any(step.scheduled for step in steps):
        return False
    return len(steps) > 1 or steps[0].state is not Steadiness.STEADY


def level_text(summary: Summary, step: StepFindings) -> str:
    """`20/s`, or `16 users` of a closed loop."""
    if any(s.offered_per_s is not None for s in summary.steps):
        return format_rate(step.level)
    return f"{number(step.level)} user{'' if step.level == 1 else 's'}"


def step_lines(summary: Summary) -> tuple[StepLine, ...]:
    """A line per load step, in their order; none when they are not worth a table."""
    if not shows_steps(summary):
        return ()
    known = [e.value for s in summary.steps for e in (s.latency.p50, s.latency.p95) if e.value is not None]
    decimals = decimals_for(max(known, default=None))
    return tuple(_line(level_text(summary, step), step, decimals) for step in summary.steps)


def _line(level: str, step: StepFindings, decimals: int) -> StepLine:
    found = [getattr(step.latency, name) for name in PERCENTILES]
    cells = tuple(LatencyCell(ms(e.value, decimals), interval(e, decimals), e.refusal or "") for e in found)
    reasons = {cell.refusal for cell in cells}
    only = next(iter(reasons)) if len(reasons) == 1 and all(e.value is None for e in found) else ""
    failed = step.failed
    return StepLine(
        level=level,
        offered=format_rate(step.offered_per_s),
        completed=format_rate(step.completed_per_s),
        completed_when=SECOND_HALF if step.state is Steadiness.UNSTABLE and step.completed_per_s is not None else "",
        failed=share(failed.value),
        failed_interval=share_interval(failed.low, failed.high) if failed.value is not None else "",
        percentiles=cells,
        refused=only,
        state=step.state,
        sentence=step.sentence,
        in_flight=number(step.in_flight),
        gauge=number(step.gauge),
        checks=_checks(step),
    )


def _checks(step: StepFindings) -> tuple[tuple[str, str], ...]:
    named, rest = step.checks[:MOST_CHECKS], step.checks[MOST_CHECKS:]
    shown = [(name, format_count(count)) for name, count in named]
    if rest:
        shown.append((f"{len(rest):,} more", format_count(sum(count for _, count in rest))))
    return tuple(shown)


_NOTES = {
    "in flight": "in flight: completed per second times the mean time inside the service (Little's law)",
    "gauge": "gauge: the same as the service counts it",
}


def steps_note(columns: Sequence[str]) -> str:
    """What the columns stand on, of those that are shown."""
    notes = [note for column, note in _NOTES.items() if column in columns]
    return "; ".join(["latency from the scheduled instant, failed requests as slowest", *notes])


def columns(summary: Summary) -> tuple[str, ...]:
    """The columns of the table where there is room for all: without those that nothing is known for."""
    told = ["step", "state"]
    told += ["offered"] if any(step.offered_per_s is not None for step in summary.steps) else []
    told += ["completed", "failed", *PERCENTILES]
    told += ["in flight"] if any(step.in_flight is not None for step in summary.steps) else []
    told += ["gauge"] if any(step.gauge is not None for step in summary.steps) else []
    return tuple(told)
