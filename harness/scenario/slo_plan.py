"""What each SLO of a scenario needs, and what the load profile gives it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.model import Arrivals, LoadProfile, Phase, Scenario
from harness.slo import VITALS, Slo, Where, needs_server_half, parse_slos, requests_needed

_RATES = ("rate", "throughput")
_BY_THE_WORST = ("max", "peak")
_WHOLE = {"error_rate": 0.0, "completed": 1.0, "check_rate": 1.0, "coverage": 1.0, "share": 1.0}
"""Limits of none or all: a fact about the run, not a statement about a share."""


class Rule(StrEnum):
    """How an SLO is decided."""

    NONE_AGAINST = "none_against"  # by the share of requests against it, of which the fewest have none
    INTERVAL = "interval"  # of a mean
    EACH = "each"  # one against it fails it
    COUNT = "count"  # by how many there are
    RATE = "rate"  # by how many there are in the time


@dataclass(frozen=True, slots=True)
class PlannedSlo:
    """One SLO. `needs` requests at the least, with none over the limit; None when no such rule applies.

    `expected` requests it can stand on; None when that depends on the service, as then does `enough`.
    """

    expression: str
    needs: int | None
    expected: float | None
    enough: bool | None
    of: str = "requests"  # what is counted: requests, calls (of models) or readings (of each process)
    rule: Rule = Rule.NONE_AGAINST
    seconds: float | None = None  # of a rate: the time it is of
    some: bool = False  # only some of the measured ones count, as its arguments say


def planned_slos(scenario: Scenario) -> tuple[PlannedSlo, ...]:
    """Every SLO, in order."""
    return tuple(_planned(slo, scenario) for line in scenario.slo for slo in parse_slos(line))


def _planned(slo: Slo, scenario: Scenario) -> PlannedSlo:
    rule, seconds = _rule(slo), _seconds(slo.where, scenario.load)
    needs = requests_needed(slo) if rule is not Rule.RATE else _in_time(slo, seconds)
    expected = _expected(slo, scenario)
    enough = None if needs else True
    if expected is not None:
        enough = expected >= (needs or 1) or (needs is None and expected > 0)
    return PlannedSlo(
        expression=slo.expression,
        needs=needs,
        expected=expected,
        enough=enough,
        of="readings" if slo.subject in VITALS else "calls" if slo.subject == "call" else "requests",
        rule=rule,
        seconds=seconds if rule is Rule.RATE else None,
        some=slo.where != Where(),
    )


def _rule(slo: Slo) -> Rule:
    if slo.statistic in _RATES:
        return Rule.RATE
    if slo.statistic == "count":
        return Rule.COUNT
    of_all = slo.limit == _WHOLE.get(slo.statistic) and (slo.statistic != "share" or slo.subject == "ok")
    if slo.statistic in _BY_THE_WORST or of_all:
        return Rule.EACH
    return Rule.NONE_AGAINST if requests_needed(slo) else Rule.INTERVAL


def _in_time(slo: Slo, seconds: float) -> int:
    """Requests to be sent, so that the rule of shares holds if all of them count: of n, the share limit / n."""
    wanted = slo.limit * seconds
    n = math.floor(wanted) + 1
    while wanted > 0 and (requests_needed(replace(slo, statistic="completed", limit=wanted / n)) or 1) > n:
        n += 1
    return n


def _seconds(where: Where, load: LoadProfile) -> float:
    if where.phase == Phase.WARMUP:
        return load.warmup_s
    if where.phase == Phase.DRAIN:
        return load.drain_s
    return load.measured_s if where.step is None else load.steps[where.step].duration_s


def _expected(slo: Slo, scenario: Scenario) -> float | None:
    """Requests that are planned and count for it; readings of each process of the service, one a second."""
    if slo.subject in VITALS:
        return _seconds(slo.where, scenario.load)
    requests, share = _requests(slo.where, scenario.load), _share(slo.where.name, scenario)
    if requests == 0:
        return 0.0
    if requests is None or share is None or slo.subject == "call" or slo.where.model is not None:
        return None
    is_sampled = needs_server_half(slo) and slo.statistic != "coverage"
    return requests * share * (scenario.spans.sampled if is_sampled else 1.0)


def _requests(where: Where, load: LoadProfile) -> float | None:
    """Requests of a phase and step, whatever their name."""
    closed = load.arrivals is Arrivals.USERS
    if where.phase == Phase.DRAIN:
        return None if closed else 0.0
    if where.phase == Phase.WARMUP:
        if load.warmup_s == 0 or where.step:  # the warm-up belongs to the first step
            return 0.0
        return None if closed or load.arrivals is Arrivals.REPLAY else load.steps[0].level * load.warmup_s
    if closed:
        return None
    return sum(step.expected for number, step in enumerate(load.steps) if where.step in (None, number))


def _share(name: str | None, scenario: Scenario) -> float | None:
    """Of the requests, those with this name; None where a user class or a recording decides."""
    if name is None or [spec.name for spec in scenario.requests] == [name]:
        return 1.0
    if scenario.users is not None or scenario.load.arrivals is Arrivals.REPLAY:
        return None
    weights = {spec.name: spec.weight for spec in scenario.requests}
    return weights.get(name, 0.0) / sum(weights.values())
