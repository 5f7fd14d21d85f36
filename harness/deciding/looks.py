"""When a run that goes on until its SLOs are decided is looked at, and how sure each look has to be.

The looks are planned before the first request: the first at the scenario's own duration, then each half as long again,
the last at the longest that is allowed. Whoever looks several times and stops at the first answer is wrong more often
than one look is, so the chance to be wrong is dealt out (Bonferroni): each of k looks decides at 1 - 0.05 / k, and all
of them together are wrong in no more than 5 % of runs. What a look judges are all requests scheduled before it, and the
verdict of the run stands on the same ones: neither the stop nor what is sent meanwhile can favour fast answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.errors import UsageError
from harness.load.order import ALONE, Crew
from harness.model import Arrivals, LoadProfile, Scenario
from harness.scenario.load_section import MOST_REQUESTS
from harness.scenario.load_shapes import LONGEST_S
from harness.slo import Slo, parse_slos
from harness.spans import arrive
from harness.units import format_count, format_duration

FLAG = "--until-decided"
GROWTH = 1.5
MOST_LOOKS = 6
WRONG = 0.05
"""Chance to be wrong of all looks together: what one look of a usual run has."""
_WORTH_WAITING = 1.2
"""The last look comes with at least so many times the time of the one before."""
_CLIENT_SUBJECTS = ("latency", "service", "ok", None)


@dataclass(frozen=True, slots=True)
class Until:
    """The looks of a run: seconds from the start of the load at which the requests that are judged end.

    The last one is the planned end of the load. `stages`: an SLO needs more than what the client saw.
    """

    looks_s: tuple[float, ...]
    stages: bool = False

    @property
    def confidence(self) -> float:
        """Of each look, so that all together have 95 %."""
        return 1.0 - WRONG / len(self.looks_s)

    def written(self, look: int | None) -> dict[str, object]:
        """For run.json: the plan, and the look (from 1) that the verdict stands on; None as long as there is none."""
        return {
            "looks": len(self.looks_s),
            "look": look,
            "at_s": None if look is None else self.looks_s[look - 1],
            "max_s": self.looks_s[-1],
            "confidence": self.confidence,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """One look, as it travels to the judge: at all that was scheduled in the first `at_s` seconds of the load.

    `stages`: the SLOs need more than what the client saw.
    """

    look: int  # from 1
    at_s: float
    started_ns: int  # the load, ns since the epoch
    confidence: float
    stages: bool


def planned_looks(first_s: float, most_s: float) -> tuple[float, ...]:
    """Measured seconds at each look, increasing, from `first_s` to the larger `most_s`; at most MOST_LOOKS."""
    growth = max(GROWTH, (most_s / first_s) ** (1.0 / (MOST_LOOKS - 1)))
    found = [first_s]
    while len(found) < MOST_LOOKS - 1 and round(found[-1] * growth, 3) * _WORTH_WAITING <= most_s:
        found.append(round(found[-1] * growth, 3))
    return (*found, most_s)


def prolonged(scenario: Scenario, max_s: float, crew: Crew = ALONE) -> tuple[Scenario, Until]:
    """The scenario with its load drawn up for `max_s` seconds, warm-up included, and the looks at it.

    Raises UsageError for a load that cannot go on, for SLOs that nothing is known of until the end, and without SLOs.
    """
    load, slos = scenario.load, [slo for line in scenario.slo for slo in parse_slos(line)]
    stages = not all(_of_the_client(slo) for slo in slos)
    _check(load, slos, crew)
    if stages and not (arrive.wanted(scenario.spans) or scenario.spans.source == "server-timing"):
        message = f"{FLAG}: the spans of this scenario come after the run, so its SLOs on stages cannot be looked at"
        raise UsageError(message, "leave these SLOs out, or have the spans sent here: see `harness check --connect`")
    measured_s = max_s - load.warmup_s
    if measured_s <= load.measured_s:
        least = f"{format_duration(load.end_s)} with its warm-up" if load.warmup_s else format_duration(load.end_s)
        message = f"{FLAG} {format_duration(max_s)} is no longer than the scenario itself: {least}"
        raise UsageError(message, f"give the longest it may take, e.g. {FLAG} {5 * load.end_s:.0f}s")
    (step,) = load.steps
    longer = replace(step, duration_s=measured_s)
    if measured_s > LONGEST_S:
        raise UsageError(f"{FLAG} {format_duration(max_s)} is longer than a week", f"write e.g. {FLAG} 10min")
    if load.arrivals is not Arrivals.USERS and longer.expected > MOST_REQUESTS:
        message = f"{FLAG}: {format_count(round(longer.expected))} requests would be planned"
        raise UsageError(message, f"at most {format_count(MOST_REQUESTS)} can be: give a shorter time")
    looks = tuple(round(load.warmup_s + s, 6) for s in planned_looks(step.duration_s, measured_s))
    return replace(scenario, load=replace(load, steps=(longer,))), Until(looks, stages)


def _check(load: LoadProfile, slos: list[Slo], crew: Crew) -> None:
    if not slos:
        raise UsageError(f"{FLAG} has nothing to decide: there is no SLO", "add one: --slo 'p95(latency) < 200ms'")
    if crew.expected:
        message = f"{FLAG} does not go with --master: samples of other machines are put together after the run"
        raise UsageError(message, "leave one of them out, or use --processes")
    if load.arrivals is Arrivals.REPLAY:
        raise UsageError(f"{FLAG} does not go with a replay: a recording ends where it ends", "give a rate instead")
    if len(load.steps) > 1:
        message = f"{FLAG} needs a load of one step: of {len(load.steps)} it is not clear which one is to go on"
        raise UsageError(message, "run the step that matters, e.g. --rate 8/s")
    if load.steps[0].to is not None:
        raise UsageError(f"{FLAG} does not go with a ramp: it ends where it ends", "run one rate, e.g. --rate 8/s")


def _of_the_client(slo: Slo) -> bool:
    """Whether an SLO is judged on what the client saw alone."""
    return slo.subject in _CLIENT_SUBJECTS and slo.where.model is None and slo.statistic != "coverage"
