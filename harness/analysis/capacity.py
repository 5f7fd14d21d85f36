"""Which load a stepped run was shown to hold: each step against the SLOs, on the step's own intervals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from harness.diagnosis import Steadiness, StepFindings
from harness.estimates import Estimate
from harness.findings import Verdict
from harness.slo import Slo, Where
from harness.units import format_count, format_duration, format_rate, format_share
from harness.views import CapacityFindings, LevelFindings

_PERCENTILES = ("p50", "p90", "p95", "p99", "mean")


def capacity(
    steps: Sequence[StepFindings], slos: Sequence[Slo], closed_loop: bool, ramps: Collection[int] = ()
) -> CapacityFindings:
    """The highest level that met every SLO that can be asked of a step, while no lower one failed.

    A percentile is met where its whole interval is within the limit, and missed where none of it is, or where it lies
    among requests that failed; an unstable step has no percentiles and misses them all. Each step is judged at its own
    95 %: of twenty steps one may be wrong. A step of `ramps` goes through many levels and says nothing of any.
    """
    judged = tuple(slo for slo in slos if _of_a_step(slo))
    at_one_level = (step for step in steps if step.scheduled and step.step not in ramps)
    ordered = sorted(at_one_level, key=lambda step: (step.level, step.step))
    levels = tuple(_level(step, judged) for step in ordered) if judged else ()
    broken = next((each.level for each in levels if each.verdict is Verdict.FAILED), None)
    held = [each.level for each in levels if each.verdict is Verdict.PASSED]
    confirmed = max((level for level in held if broken is None or level < broken), default=None)
    return CapacityFindings(
        levels=levels,
        confirmed=confirmed,
        broken=broken,
        judged=tuple(slo.expression for slo in judged),
        left_out=tuple(slo.expression for slo in slos if slo not in judged),
        closed_loop=closed_loop,
        sentence=_sentence(levels, confirmed, broken, _users if closed_loop else format_rate)
        if levels or not judged
        else "No load step stayed at one level and had requests: nothing can be said of a level.",
    )


def _users(level: float) -> str:
    return f"{level:g} user{'' if level == 1 else 's'}"


def _of_a_step(slo: Slo) -> bool:
    """Whether a step's findings hold the figure: the latency of all its requests, or how many of them failed."""
    known = slo.statistic == "error_rate" or (slo.statistic in _PERCENTILES and slo.subject == "latency")
    return known and slo.where == Where()


def _level(step: StepFindings, slos: Sequence[Slo]) -> LevelFindings:
    """The answer of one step: the worst of its SLOs, with the reasons that decide."""
    answers = [_judged(step, slo) for slo in slos]
    for wanted in (Verdict.FAILED, Verdict.NOT_ENOUGH_DATA, Verdict.PASSED):
        reasons = [reason for verdict, reason in answers if verdict is wanted]
        if reasons:
            return LevelFindings(step.step, step.level, wanted, "; ".join(reasons))
    raise AssertionError("unreachable: a step is only judged when there are SLOs")


def _judged(step: StepFindings, slo: Slo) -> tuple[Verdict, str]:
    if slo.statistic == "error_rate":
        return _against(slo, step.failed, format_share)
    if step.state is Steadiness.UNSTABLE:
        return Verdict.FAILED, f"{slo.expression}: more requests come than are answered, so the latency only grows"
    return _failures_alone(step, slo) or _against(slo, getattr(step.latency, slo.statistic), format_duration)


def _failures_alone(step: StepFindings, slo: Slo) -> tuple[Verdict, str] | None:
    """Failed requests that miss the SLO, however fast the others are: they are slower than any limit."""
    lost = step.scheduled - step.ok
    if slo.quantile is None:
        if not lost:
            return None
        return Verdict.FAILED, f"{slo.expression}: {format_count(lost)} failed requests, which a mean would hide"
    if step.failed.low is None or step.failed.low <= 1.0 - slo.quantile:
        return None
    return Verdict.FAILED, f"{slo.expression}: {format_share(step.failed.value)} failed, so it lies among these"


def _against(slo: Slo, found: Estimate, shown: Callable[[float | None], str]) -> tuple[Verdict, str]:
    if found.value is None:
        return Verdict.NOT_ENOUGH_DATA, f"{slo.expression}: {found.refusal or 'not known'}"
    figure = f"{slo.expression}: {shown(found.value)} [{shown(found.low)} … {shown(found.high)}]"
    figure += f", n = {format_count(found.n)}"
    if found.high is not None and _within(found.high, slo):
        return Verdict.PASSED, figure
    if found.low is not None and not _within(found.low, slo):
        return Verdict.FAILED, figure
    return Verdict.NOT_ENOUGH_DATA, f"{figure}: the limit lies within the interval"


def _within(value: float, slo: Slo) -> bool:
    return value <= slo.limit if slo.op == "<=" else value < slo.limit


def _sentence(
    levels: Sequence[LevelFindings], confirmed: float | None, broken: float | None, shown: Callable[[float], str]
) -> str:
    if not levels:
        return "No SLO can be asked of a single load step: give a limit on a percentile of the latency, or error_rate."
    if confirmed is None and broken is None:
        return "Not enough data: no load step decides its SLOs. Longer steps would."
    if confirmed is None:
        return f"No load was shown to meet the SLOs; {shown(broken or 0.0)} misses them."
    if broken is None:
        return f"A load of {shown(confirmed)} meets the SLOs, and no step missed them: the service may hold more."
    between = [each for each in levels if confirmed < each.level < broken]
    steps = "step is" if len(between) == 1 else "steps are"
    undecided = f" Between the two {len(between)} {steps} undecided." if between else ""
    return f"A load of {shown(confirmed)} meets the SLOs, {shown(broken)} misses them.{undecided}"
