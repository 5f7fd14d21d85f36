"""Whether stages work or wait, and what grows with the load, as text: written once, so that all reports agree."""

from __future__ import annotations

from dataclasses import dataclass

from harness.diagnosis import Grows, GrowthFindings
from harness.findings import Summary
from harness.report.figures import decimals_for, interval, ms, share
from harness.report.lines import SHOWN_ORDER, stage_label
from harness.report.steps_text import level_text
from harness.report.text import visible

WORK_COLUMNS = ("stage", "time (ms)", "CPU", "waiting", "busy", "n")


def work_columns(summary: Summary) -> tuple[str, ...]:
    """The columns of the table: n only where it is not the same for all stages."""
    return WORK_COLUMNS if len({w.n for w in summary.work}) > 1 else WORK_COLUMNS[:-1]


def work_note(summary: Summary) -> str:
    """What the table says, with n where no column has it."""
    counted = {w.n for w in summary.work}
    return f"{WORK_NOTE}; n = {counted.pop():,}" if len(counted) == 1 else WORK_NOTE


@dataclass(frozen=True, slots=True)
class WorkLine:
    """One stage, wall clock against thread CPU; `busy` is their ratio, `weight` the same as a number for a bar."""

    stage: str
    label: str
    wall: str
    cpu: str
    waits: str
    busy: str
    weight: float
    n: str

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of WORK_COLUMNS."""
        return (self.label, self.wall, self.cpu, self.waits, self.busy, self.n)


def work_lines(summary: Summary) -> tuple[WorkLine, ...]:
    """A line per stage whose CPU time is known, in the order of the stage table."""
    ranks = {stage: rank for rank, stage in enumerate(SHOWN_ORDER)}
    found = sorted(summary.work, key=lambda w: ranks.get(w.stage, len(ranks)))
    decimals = decimals_for(max((w.wall_s for w in found), default=None))
    return tuple(
        WorkLine(
            stage=w.stage,
            label=visible(stage_label(w.stage), 40),
            wall=ms(w.wall_s, decimals),
            cpu=ms(w.cpu_s, decimals),
            waits=ms(w.waits_s, decimals),
            busy=share(w.busy),
            weight=min(max(w.busy, 0.0), 1.0),
            n=f"{w.n:,}",
        )
        for w in found
    )


WORK_NOTE = (
    "a stage works while its thread is on the CPU and waits otherwise: for a lock, for the network, for a core; "
    "work that a library spreads over threads of its own counts as waiting"
)

_GROWS = {Grows.WORKS: "works longer", Grows.WAITS: "waits longer", None: "not known"}


@dataclass(frozen=True, slots=True)
class GrowthLine:
    """How a stage changed from the lowest load step to the highest, in milliseconds."""

    stage: str
    label: str
    low: str
    high: str
    change: str
    interval: str
    share: str
    grows: str


def growth_lines(summary: Summary) -> tuple[GrowthLine, ...]:
    """A line per stage, the largest growth first."""
    found = summary.growth
    decimals = decimals_for(max((max(g.low_s, g.high_s) for g in found), default=None))
    return tuple(_growth_line(g, decimals) for g in found)


def _growth_line(found: GrowthFindings, decimals: int) -> GrowthLine:
    change = found.change
    signed = f"+{ms(change.value, decimals)}" if change.value is not None and change.value > 0 else None
    return GrowthLine(
        stage=found.stage,
        label=visible(stage_label(found.stage), 40),
        low=ms(found.low_s, decimals),
        high=ms(found.high_s, decimals),
        change=signed or ms(change.value, decimals),
        interval=interval(change, decimals) or visible(change.refusal or "", 80),
        share=share(found.share),
        grows=_GROWS[found.grows] if (change.value or 0.0) > 0 else "–",
    )


def growth_levels(summary: Summary) -> tuple[str, str]:
    """The two load levels the growth is between, as text; the numbers of the steps where these are not known."""
    if not summary.growth:
        return ("", "")
    levels = {step.step: level_text(summary, step) for step in summary.steps}
    first = summary.growth[0]
    return tuple(levels.get(n, f"step {n + 1}") for n in (first.low_step, first.high_step))  # type: ignore[return-value]
