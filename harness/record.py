"""run.json as it comes back from the disk: everything that is concluded from it, checked before anyone relies on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from harness.errors import RunFolderError
from harness.findings import Reading
from harness.instrument.host import host_key
from harness.model import PRESETS, SERVER_STAGES, Arrivals, LoadProfile, RunWarning, Scenario, SpanSpec
from harness.scenario.span_section import ADDRESSED, SOURCES
from harness.slo import SloError, parse_slos

_HINT = "was it edited by hand? restore it from a copy, or run the scenario again"
_LARGEST = 1e12
"""Of any duration in seconds, rate per second or reading: beyond it a figure is damage, not a measurement."""


_Instant = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


@dataclass(frozen=True, slots=True)
class _Load:
    """How the load ended; without the instants when its processes were killed before they could say."""

    readings: tuple[Reading, ...] = ()
    measured_from_ns: _Instant | None = None
    measured_until_ns: _Instant | None = None


@dataclass(frozen=True, slots=True)
class _Decided:
    """How often a run that went on until it was decided was to be looked at, and when it was."""

    looks: Annotated[int, Field(strict=True, ge=1, le=100)]
    confidence: Annotated[float, Field(ge=0.5, lt=1.0)]
    at_s: Annotated[float, Field(ge=0.0, le=_LARGEST)] | None = None
    look: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None


@dataclass(frozen=True, slots=True)
class _Record:
    """What is read from run.json; other fields may be there and are not looked at."""

    run_id: Annotated[str, Field(min_length=1)]
    status: Literal["running", "finished", "interrupted", "broken"]
    started_ns: _Instant
    plan: Scenario
    loopback: bool = False
    load: _Load = _Load()
    warnings: tuple[RunWarning, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    decided: _Decided | None = None


_RECORD = TypeAdapter(_Record)


def validated(content: object, path: Path) -> dict[str, object]:
    """`content` of the run.json at `path`, with all that the conclusions read in its declared form.

    Raises RunFolderError, which names the first place that is wrong.
    """
    wrong = next(_not_finite(content), None)
    if wrong is not None:
        raise _refused(path, *wrong)
    try:
        record = _RECORD.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise _refused(path, ".".join(str(part) for part in first["loc"]), _lowered(first["msg"])) from None
    wrong = next(_absurd(record), None)
    if wrong is not None:
        raise _refused(path, *wrong)
    assert isinstance(content, Mapping)  # noqa: S101 - the adapter takes nothing else
    return {
        **content,
        "loopback": record.loopback,
        "load": _stored_load(record.load),
        "warnings": [asdict(warning) for warning in record.warnings],
        "environment": record.environment,
        **({"decided": {**content["decided"], **asdict(record.decided)}} if record.decided is not None else {}),
    }


def own_host(record: Mapping[str, object]) -> str:
    """The key of the host the run was on: wherever it is read, services with this key shared the client's clock.

    Of a run that does not say it: of this host.
    """
    found = record.get("host")
    return found if isinstance(found, str) and found else host_key()


def _stored_load(load: _Load) -> dict[str, object]:
    known = {name: value for name, value in asdict(load).items() if value is not None}
    return {**known, "readings": [asdict(reading) for reading in load.readings]}


def _refused(path: Path, where: str, what: str) -> RunFolderError:
    return RunFolderError(f"{path} does not describe a run: {f'{where}: ' if where else ''}{what}", _HINT)


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


_Wrong = tuple[str, str]  # (where, what)


def _not_finite(content: object) -> Iterator[_Wrong]:
    """Numbers that JSON does not have, wherever they are. A loop: nesting may be as deep as the reader allowed."""
    left: list[tuple[str, object]] = [("", content)]
    while left:
        where, value = left.pop()
        if isinstance(value, float) and not math.isfinite(value):
            yield where, f"{value} is not a number"
        elif isinstance(value, Mapping):
            left.extend((f"{where}.{key}".lstrip("."), item) for key, item in value.items())
        elif isinstance(value, list):
            left.extend((f"{where}.{index}".lstrip("."), item) for index, item in enumerate(value))


def _absurd(record: _Record) -> Iterator[_Wrong]:
    """Values of the right type that no run can have."""
    yield from _absurd_load(record.plan.load)
    yield from _absurd_spans(record.plan.spans)
    for number, expression in enumerate(record.plan.slo):
        try:
            parse_slos(expression)
        except SloError as error:
            yield f"plan.slo.{number}", error.message
    began, ended = record.load.measured_from_ns, record.load.measured_until_ns
    if began is not None and ended is not None and began > ended:
        yield "load.measured_until_ns", f"{ended} is before measured_from_ns"
    for number, reading in enumerate(record.load.readings):
        for name in ("value", "suspect", "invalid"):
            if abs(getattr(reading, name) or 0.0) > _LARGEST:
                yield f"load.readings.{number}.{name}", "is beyond every measure"


def _absurd_load(load: LoadProfile) -> Iterator[_Wrong]:
    if not load.steps:
        yield "plan.load.steps", "is empty"
    positive: dict[str, float | None] = {"replay.speed": load.replay.speed if load.replay else None}
    for number, step in enumerate(load.steps):
        positive |= {f"steps.{number}.{name}": getattr(step, name) for name in ("level", "duration_s", "to")}
    for name, value in positive.items():
        if value is not None and not 0 < value <= _LARGEST:
            yield f"plan.load.{name}", f"{value:g} is not between 0 and {_LARGEST:g}"
    low, high = load.think_s
    for name, value in {
        "warmup_s": load.warmup_s,
        "drain_s": load.drain_s,
        "think_s.0": low,
        "think_s.1": high,
    }.items():
        if not 0 <= value <= _LARGEST:
            yield f"plan.load.{name}", f"{value:g} is not between 0 and {_LARGEST:g}"
    if low > high:
        yield "plan.load.think_s", f"the shortest pause, {low:g}, is longer than the longest, {high:g}"
    if load.abort_above is not None and not 0 <= load.abort_above <= 1:
        yield "plan.load.abort_above", f"{load.abort_above:g} is not between 0 and 1"
    if (load.replay is None) == (load.arrivals is Arrivals.REPLAY):
        yield "plan.load.replay", f"does not go with {load.arrivals} arrivals"


def _absurd_spans(spans: SpanSpec) -> Iterator[_Wrong]:
    if not 0 <= spans.sampled <= 1:
        yield "plan.spans.sampled", f"{spans.sampled:g} is not between 0 and 1"
    if spans.source not in SOURCES:
        yield "plan.spans.source", f"is none of {', '.join(SOURCES)}"
    if (spans.address is None) == (spans.source in ADDRESSED):
        yield "plan.spans.address", f"does not go with the source {spans.source}"
    if spans.preset is not None and spans.preset not in PRESETS:
        yield "plan.spans.preset", f"is none of {', '.join(PRESETS)}"
    for number, (stage, _) in enumerate(spans.stages):
        if stage not in SERVER_STAGES:
            yield f"plan.spans.stages.{number}", "names no stage of a service"
