"""A run at a glance, for the list of runs: the few fields of run.json and summary.json that a row shows.

Only they are built, and checked, from the text of the files: of a thousand runs nobody needs the rest.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness import tags
from harness.analysis.capacity import capacity
from harness.baseline.glanced import Blamed, Counted, Figure, Number, percentile
from harness.diagnosis import Steadiness, StepFindings
from harness.errors import RunFolderError
from harness.estimates import Estimate, LatencyFindings
from harness.findings import Verdict
from harness.report.verdict_text import VERDICT_WORDS, tone
from harness.run_folder import RunFolder
from harness.slo import SloError, parse_slos

MOST_BYTES = 32 * 1024 * 1024
"""Of a summary.json; one of a run with hundreds of request names has a few."""


@dataclass(frozen=True, slots=True)
class _Value:
    value: Figure | None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class _Latency:
    p50: _Value
    p95: _Value


@dataclass(frozen=True, slots=True)
class _Slo:
    expression: str


@dataclass(frozen=True, slots=True)
class _Step:
    step: int
    level: Figure
    scheduled: Number
    ok: Number
    failed: Estimate
    state: Steadiness
    latency: LatencyFindings


@dataclass(frozen=True, slots=True)
class _Summary:
    scenario: str
    started_ns: Number
    load: str
    interrupted: bool
    verdict: Verdict
    counts: Counted
    latency: _Latency
    bottleneck: Blamed | None
    slo: tuple[_Slo, ...]
    steps: tuple[_Step, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    to: float | None = None  # of a step that goes from one level to another


@dataclass(frozen=True, slots=True)
class _Load:
    steps: tuple[_Part, ...] = ()


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    load: _Load = _Load()


@dataclass(frozen=True, slots=True)
class _Record:
    status: Literal["running", "finished", "interrupted", "broken"]
    started_ns: Number
    plan: _Plan
    label: str | None = None


_SUMMARY, _RECORD = TypeAdapter(_Summary), TypeAdapter(_Record)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Glance:
    """One row of the list. `state`: concluded | unconcluded | unreadable; of the last two, `why` says more.

    A percentile that lies among failed requests is infinite; `refusals` say why others are not known.
    """

    run_id: str
    state: str
    started_ns: int | None = None
    scenario: str = ""
    label: str | None = None
    tags: tuple[str, ...] = ()
    load: str = ""
    why: str = ""
    verdict: str = ""
    tone: str = "unjudged"
    n: int | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    refusals: tuple[str | None, str | None] = (None, None)
    error_rate: float | None = None
    completed_per_s: float | None = None
    capacity: float | None = None
    closed_loop: bool = False
    bottleneck: str | None = None


Stamp = tuple[tuple[int, int] | None, ...]
_FILES = ("run.json", "summary.json", tags.FILE)


def stamp(path: Path) -> Stamp:
    """Another one as soon as one of the files is."""
    return tuple(map(_stamp_of, (path / name for name in _FILES)))


def _stamp_of(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None


def glance(path: Path, seen: Stamp) -> Glance:
    """The run in a folder, whatever is in there; `seen` is its stamp."""
    record_there, summary_there, tags_there = seen
    try:
        if record_there is None:
            raise RunFolderError("run.json is missing")
        record = _read(_RECORD, path / "run.json", record_there[1])
        made = Glance(path.name, "unconcluded", record.started_ns, record.plan.name, record.label)
        if tags_there is not None:
            made = replace(made, tags=tags.read_tags(RunFolder(path)))
        if summary_there is None:
            return made
        ramps = frozenset(at for at, part in enumerate(record.plan.load.steps) if part.to is not None)
        return _concluded(made, _read(_SUMMARY, path / "summary.json", summary_there[1]), ramps)
    except RunFolderError as error:
        return Glance(path.name, "unreadable", _named_instant(path.name), why=error.message)


def _named_instant(run_id: str) -> int | None:
    """When a run began, by its name."""
    try:
        return int(datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()) * 1_000_000_000
    except ValueError:
        return None


def _read(form: TypeAdapter[_T], path: Path, size: int) -> _T:
    if size > MOST_BYTES:
        raise RunFolderError(f"{path.name} is larger than any that a run writes")
    try:
        return form.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunFolderError(f"{path.name}: {where + ': ' if where else ''}{first['msg'].lower()}") from None
    except OSError as error:
        raise RunFolderError(f"{path.name} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _concluded(made: Glance, seen: _Summary, ramps: frozenset[int]) -> Glance:
    counts = seen.counts
    unjudged = seen.verdict is Verdict.PASSED and not seen.slo
    closed_loop = counts.offered_per_s is None and counts.completed_per_s is not None
    return replace(
        made,
        state="concluded",
        started_ns=seen.started_ns,
        scenario=seen.scenario,
        load=seen.load,
        verdict="no SLO" if unjudged else VERDICT_WORDS[seen.verdict] + (", interrupted" if seen.interrupted else ""),
        tone="unjudged" if unjudged else tone(seen.verdict, seen.interrupted).value,
        n=counts.scheduled,
        p50_s=percentile(seen.latency.p50.value, 0.50, counts),
        p95_s=percentile(seen.latency.p95.value, 0.95, counts),
        refusals=(seen.latency.p50.refusal, seen.latency.p95.refusal),
        error_rate=1.0 - min(counts.ok / counts.scheduled, 1.0) if counts.scheduled else None,
        completed_per_s=counts.completed_per_s,
        capacity=_capacity(seen, closed_loop, ramps),
        closed_loop=closed_loop,
        bottleneck=seen.bottleneck.text if seen.bottleneck is not None else None,
    )


def _capacity(seen: _Summary, closed_loop: bool, ramps: frozenset[int]) -> float | None:
    """The highest of several load steps that met the SLOs."""
    if len({step.level for step in seen.steps}) < 2:
        return None
    try:
        slos = [slo for each in seen.slo for slo in parse_slos(each.expression)]
    except SloError:
        return None
    steps = [
        StepFindings(
            each.step, each.level, each.scheduled, each.ok, each.failed, None, None, each.state, "", None, None,
            each.latency, each.latency, (), None, None,
        )
        for each in seen.steps
    ]  # fmt: skip
    return capacity(steps, slos, closed_loop, ramps).confirmed
