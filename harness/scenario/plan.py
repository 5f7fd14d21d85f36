"""What a run is going to do, worked out from the scenario alone: for `harness check` and the notice before a run."""

from __future__ import annotations

import os
from dataclasses import dataclass

from harness.model import Arrivals, BodySpec, RequestSpec, Scenario
from harness.scenario.load_text import amount_text, length_text
from harness.scenario.slo_plan import PlannedSlo, planned_slos
from harness.scenario.target import host_of, is_loopback

_AT_A_RATE = (Arrivals.POISSON, Arrivals.CONSTANT)


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of the load profile. `requests` is expected: Poisson arrivals vary around it.

    None in a closed loop, where it depends on the service.
    """

    step: int
    level: float  # arrivals per second, or users
    to: float | None  # where a ramp ends
    duration_s: float
    requests: float | None


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One kind of request. Bytes are those of the body, without headers and multipart borders."""

    name: str
    method: str
    path: str
    share: float  # of all requests, 0..1
    requests: float | None  # expected while measuring
    payloads: int  # distinct files to draw from
    body_bytes: float  # mean per request
    largest_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The run as planned. `requests` counts the measured steps, `warmup_requests` come on top; None if not known."""

    target: str
    host: str
    loopback: bool
    arrivals: str
    load: str  # how much, in words
    length: str | None  # how long, where `load` does not say
    warmup_s: float
    warmup_requests: float | None
    steps: tuple[PlannedStep, ...]
    requests: float | None
    duration_s: float  # warm-up and steps; the drain may add up to `drain_s`
    drain_s: float
    kinds: tuple[PlannedRequest, ...]  # empty when a user class decides
    slos: tuple[PlannedSlo, ...]


def plan(scenario: Scenario) -> Plan:
    """The plan of a checked scenario. Reads payload sizes, sends nothing, looks no host up."""
    load = scenario.load
    closed = load.arrivals is Arrivals.USERS
    steps = tuple(
        PlannedStep(i, step.level, step.to, step.duration_s, None if closed else step.expected)
        for i, step in enumerate(load.steps)
    )
    requests = None if closed else sum(step.expected for step in load.steps)
    weights = sum(spec.weight for spec in scenario.requests)
    host = host_of(scenario.target)
    return Plan(
        target=scenario.target,
        host=host,
        loopback=is_loopback(host),
        arrivals=load.arrivals.value,
        load=amount_text(load),
        length=length_text(load),
        warmup_s=load.warmup_s,
        warmup_requests=load.steps[0].level * load.warmup_s if load.arrivals in _AT_A_RATE else None,
        steps=steps,
        requests=requests,
        duration_s=load.end_s,
        drain_s=load.drain_s,
        kinds=tuple(_kind(spec, spec.weight / weights, requests) for spec in scenario.requests),
        slos=planned_slos(scenario),
    )


def _kind(spec: RequestSpec, share: float, requests: float | None) -> PlannedRequest:
    drawn = [[_size(path) for path in paths] for paths in (spec.body.body, *(paths for _, paths in spec.body.files))]
    drawn = [sizes for sizes in drawn if sizes]
    fixed = _fixed_bytes(spec.body)
    return PlannedRequest(
        name=spec.name,
        method=spec.method,
        path=spec.path,
        share=share,
        requests=None if requests is None else requests * share,
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
