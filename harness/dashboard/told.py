"""A frame of a run that is on, as its page takes it: numbers for the charts, texts for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.findings import HealthState
from harness.following.figures import WHOLE_TRANSFER
from harness.model import STAGES, TRANSFER
from harness.report.text import visible
from harness.units import MISSING, format_count, format_duration, format_rate
from harness.views import LiveFrame

PHASES = {
    "starting": "starting",
    "waiting": "waiting for workers",
    "warmup": "warming up, not measured",
    "measure": "measuring",
    "drain": "waiting for the last answers",
    "spans": "waiting for the last spans",
    "report": "making the report",
    "finished": "finished",
    "interrupted": "stopped early",
    "broken": "broken off",
}
_SENDING = ("warmup", "measure")
_SHOWN_ERRORS = 12
_TRANSFER = (*TRANSFER, WHOLE_TRANSFER)
HEALTH = {
    HealthState.HEALTHY: "the generator keeps up",
    HealthState.SUSPECT: "the generator is in doubt",
    HealthState.INVALID: "the generator does not keep up: the run will be invalid",
}


def told(frame: LiveFrame) -> dict[str, Any]:
    """Durations in the charts are milliseconds."""
    left_s = _left_s(frame)
    return {
        "t_s": frame.elapsed_s,
        "phase": frame.phase,
        "phase_words": PHASES.get(frame.phase, visible(frame.phase, 40)),
        "share": None if left_s is None or not frame.total_s else min(1.0, 1.0 - left_s / frame.total_s),
        "rows": {
            "rate": _rows(offered=frame.offered_per_s, achieved=frame.rate_per_s),
            "in_flight": _rows(**{"in flight": frame.in_flight, "backlog": frame.backlog}),
            "latency": _rows(p50=_ms(frame.p50_s), p95=_ms(frame.p95_s), p99=_ms(frame.p99_s)),
            "stages": [[stage, _ms(seconds)] for stage, seconds in merged(frame.stages)],
        },
        "failed_total": frame.failed,
        "texts": {
            "rate": format_rate(frame.rate_per_s),
            "offered": _offered(frame),
            "in_flight": format_count(frame.in_flight),
            "backlog": _backlog(frame),
            "p50": format_duration(frame.p50_s),
            "p95": format_duration(frame.p95_s),
            "p99": format_duration(frame.p99_s),
            "n": _of_how_many(frame),
            "ok": format_count(frame.ok),
            "failed": format_count(frame.failed),
            "censored": f"{format_count(frame.censored)} never answered" if frame.censored else "",
            "left": ""
            if left_s is None or frame.phase not in _SENDING
            else f"{format_duration(left_s, trim=True)} left",
            "elapsed": _elapsed(frame),
            "split": _split(frame),
        },
        "errors": [[visible(name, 200), format_count(count)] for name, count in frame.errors[:_SHOWN_ERRORS]],
        "health": None if frame.health is None else frame.health.value,
        "health_words": MISSING if frame.health is None else HEALTH[frame.health],
        "doubts": [visible(doubt, 400) for doubt in frame.doubts],
        "summary": summary(frame),
    }


def summary(frame: LiveFrame) -> str:
    """One sentence for those who listen."""
    words = PHASES.get(frame.phase, "on").capitalize()
    if not frame.n:
        return f"{words}."
    failed = f", {format_count(frame.failed)} failed" if frame.failed else ""
    return f"{words}: {format_rate(frame.rate_per_s)}, p95 {format_duration(frame.p95_s)}{failed}."


def merged(stages: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Without the stages that took nothing; transfer in one where the colours of its parts would be slivers."""
    moved = sum(seconds for stage, seconds in stages if stage in _TRANSFER)
    others = [(stage, seconds) for stage, seconds in stages if stage not in _TRANSFER and seconds > 0]
    if moved <= 0:
        return others
    ahead = sum(stage == STAGES[0] for stage, _ in others)
    return [*others[:ahead], ("transfer", moved), *others[ahead:]]


def _rows(**values: float | None) -> list[list[Any]]:
    return [[name, value] for name, value in values.items()]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _left_s(frame: LiveFrame) -> float | None:
    if frame.elapsed_s is None or frame.total_s is None:
        return None
    return max(0.0, round(frame.total_s - frame.elapsed_s))


def _offered(frame: LiveFrame) -> str:
    if frame.users is not None:
        return f"{format_count(frame.users)} user{'' if frame.users == 1 else 's'}, each waits for its answer"
    return "" if frame.offered_per_s is None else f"of {format_rate(round(frame.offered_per_s, 1))} asked for"


def _backlog(frame: LiveFrame) -> str:
    if frame.backlog is None:
        return ""
    return f"{format_count(frame.backlog)} due, not yet sent" if frame.backlog else "none waits to be sent"


def _of_how_many(frame: LiveFrame) -> str:
    if frame.n:
        return f"of {format_count(frame.n)} in {frame.window_s:g} s"
    return "no answer in the last seconds" if frame.phase in (*_SENDING, "drain") else ""


def _elapsed(frame: LiveFrame) -> str:
    if frame.elapsed_s is None or frame.total_s is None:
        return ""
    return f"{frame.elapsed_s:.0f} of {format_duration(frame.total_s, trim=True)}"


def _split(frame: LiveFrame) -> str:
    if not frame.n_split:
        return "no server half in the last seconds" if frame.phase in (*_SENDING, "drain") else ""
    return f"mean of {format_count(frame.n_split)} requests with a server half"
