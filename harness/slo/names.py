"""The names of the SLO language: which statistic goes with which subject, in which unit and direction."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model import STAGES, LedgerRow, columns
from harness.slo.words import PERCENTILE, Slo

SLO_STAGES = (*STAGES, "transfer")
SLO_SUBJECTS = ("latency", "service", *SLO_STAGES)

COLUMNS = columns(LedgerRow)
DURATIONS = (*SLO_SUBJECTS, "clipped")
YES_NO = ("ok",)
CALL = "call"
WITH_MODELS = ("inference", CALL)

FLOORS = ("completed", "check_rate", "throughput", "coverage")
FIGURES = ("error_rate", *FLOORS)
"""Statistics that need no subject."""
CALLED = ("mean", "max", "cv", "peak", "share", "count", "rate")
"""Those that do, beside the percentiles."""

ARGUMENTS = ("name", "step", "phase", "model")


@dataclass(frozen=True, slots=True)
class Vital:
    """A figure of a process of the service, read about once a second."""

    metric: str  # its name in the table of vitals
    unit: str  # as in Slo
    percentiles: bool = False


VITALS = {
    "rss": Vital("process.memory.usage", "B"),
    "cpu": Vital("process.cpu.utilization", "ratio"),  # 1: one core was busy all the time
    "threads": Vital("process.thread.count", ""),
    "loop_lag": Vital("harness.event_loop.lag", "s", percentiles=True),
    "gc_pause": Vital("harness.gc.pause", "s", percentiles=True),  # in the time since the reading before
    "in_flight": Vital("harness.requests.in_flight", ""),
    "waiting": Vital("harness.threadpool.waiting", ""),
}

_CLIENT_SUBJECTS = ("latency", "service", *YES_NO, None)


def subjects_of(statistic: str) -> tuple[str, ...]:
    """What a statistic can be of; empty for those without a subject."""
    if statistic in ("count", "rate"):
        return (*DURATIONS, *YES_NO)
    if statistic == "share":
        return (*SLO_STAGES, *YES_NO)
    if statistic == "peak":
        return tuple(VITALS)
    if statistic == "cv":
        return (*DURATIONS, CALL)
    if statistic in ("mean", "max"):
        return (*DURATIONS, CALL, *VITALS)
    if PERCENTILE.fullmatch(statistic):
        return (*DURATIONS, CALL, *(name for name, vital in VITALS.items() if vital.percentiles))
    return ()


def arguments_of(statistic: str, subject: str | None) -> tuple[str, ...]:
    """The arguments that may narrow it down."""
    if subject in VITALS:
        return ()
    has_model = subject in WITH_MODELS and statistic not in ("count", "rate")
    return ARGUMENTS if has_model else ARGUMENTS[:3]


def unit_of(statistic: str, subject: str | None) -> str:
    """The unit of the statistic, as in Slo."""
    if statistic in ("count", "cv"):
        return ""
    if statistic in ("rate", "throughput"):
        return "1/s"
    if subject in VITALS:
        return VITALS[subject].unit
    return "ratio" if statistic in ("share", *FIGURES) else "s"


def directions_of(statistic: str, subject: str | None) -> str:
    """ "<", ">" or "<>": which way a limit makes sense."""
    if statistic == "count":
        return "<>"
    is_floor = statistic in (*FLOORS, "rate") or (statistic == "share" and subject in YES_NO)
    return ">" if is_floor else "<"


def needs_server_half(slo: Slo) -> bool:
    """Whether requests without a server half say nothing about it."""
    return (
        slo.statistic == "coverage"
        or slo.where.model is not None
        or (slo.subject not in _CLIENT_SUBJECTS and slo.subject not in VITALS)
    )
