"""What a run is going to do, worked out from the scenario alone: for `harness check` and the notice before a run."""

from __future__ import annotations

import os
from dataclasses import dataclass

from harness.model import BodySpec, RequestSpec, Scenario
from harness.scenario.target import host_of, is_loopback
from harness.slo import Slo, parse_slo, requests_needed

_CLIENT_SUBJECTS = ("latency", "service", None)


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of the load profile. `requests` is expected: Poisson arrivals vary around it."""

    step: int
    rate_per_s: float
    duration_s: float
    requests: float


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One kind of request. Bytes are those of the body, without headers and multipart borders."""

    name: str
    method: str
    path: str
    share: float  # of all requests, 0..1
    requests: float  # expected while measuring
    payloads: int  # distinct files to draw from
    body_bytes: float  # mean per request
    largest_bytes: int


@dataclass(frozen=True, slots=True)
class PlannedSlo:
    """One SLO. `needs` requests at the least, with none over the limit; None when no such rule applies."""

    expression: str
    needs: int | None
    expected: float  # measured requests it can stand on
    enough: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The run as planned. `requests` counts the measured steps, `warmup_requests` come on top."""

    target: str
    host: str
    loopback: bool
    arrivals: str
    warmup_s: float
    warmup_requests: float
    steps: tuple[PlannedStep, ...]
    requests: float
    duration_s: float  # warm-up and steps; the drain may add up to `drain_s`
    drain_s: float
    kinds: tuple[PlannedRequest, ...]  # empty when a user class decides
    slos: tuple[PlannedSlo, ...]


def plan(scenario: Scenario) -> Plan:
    """The plan of a checked scenario. Reads payload sizes, sends nothing, looks no host up."""
    load = scenario.load
    steps = tuple(PlannedStep(i, step.level, step.duration_s, step.expected) for i, step in enumerate(load.steps))
    requests = sum(step.requests for step in steps)
    weights = sum(spec.weight for spec in scenario.requests)
    host = host_of(scenario.target)
    return Plan(
        target=scenario.target,
        host=host,
        loopback=is_loopback(host),
        arrivals=load.arrivals.value,
        warmup_s=load.warmup_s,
        warmup_requests=load.steps[0].level * load.warmup_s,
        steps=steps,
        requests=requests,
        duration_s=load.end_s,
        drain_s=load.drain_s,
        kinds=tuple(_kind(spec, spec.weight / weights, requests) for spec in scenario.requests),
        slos=tuple(_planned_slo(parse_slo(line), requests, scenario.spans.sampled) for line in scenario.slo),
    )


def _kind(spec: RequestSpec, share: float, requests: float) -> PlannedRequest:
    drawn = [[_size(path) for path in paths] for paths in (spec.body.body, *(paths for _, paths in spec.body.files))]
    drawn = [sizes for sizes in drawn if sizes]
    fixed = _fixed_bytes(spec.body)
    return PlannedRequest(
        name=spec.name,
        method=spec.method,
        path=spec.path,
        share=share,
        requests=requests * share,
        payloads=len({path for paths in (spec.body.body, *(p for _, p in spec.body.files)) for path in paths}),
        body_bytes=fixed + sum(sum(sizes) / len(sizes) for sizes in drawn),
        largest_bytes=fixed + sum(max(sizes) for sizes in drawn),
    )


def _fixed_bytes(body: BodySpec) -> int:
    texts = [body.json or "", body.text or "", *(part for pair in body.form for part in pair)]
    return sum(len(text.encode()) for text in texts)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # gone since the scenario was checked: the run will say so
        return 0


def _planned_slo(slo: Slo, requests: float, sampled: float) -> PlannedSlo:
    expected = requests if slo.subject in _CLIENT_SUBJECTS else requests * sampled
    needs = requests_needed(slo)
    return PlannedSlo(slo.expression, needs, expected, needs is None or expected >= needs)
