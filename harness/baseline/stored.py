"""Stored runs at a glance: what is needed of each to set it beside others, read without concluding it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.baseline.glanced import Blamed, Counted, Figure, Number, percentile
from harness.comparison import RunRef
from harness.errors import RunFolderError
from harness.findings import HealthState, Summary, Verdict
from harness.record import validated
from harness.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class _Estimate:
    value: Figure | None


@dataclass(frozen=True, slots=True)
class _Latency:
    p50: _Estimate
    p95: _Estimate


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    ok: Number
    failed: Number
    mean: _Estimate


@dataclass(frozen=True, slots=True)
class _Health:
    state: HealthState


@dataclass(frozen=True, slots=True)
class _Doubt:
    invalidates: bool


@dataclass(frozen=True, slots=True)
class _Glance:
    """What is read of summary.json. Of a thousand runs nobody needs the rest, and it takes ten times as long."""

    scenario: str
    started_ns: Number
    load: str
    interrupted: bool
    verdict: Verdict
    counts: Counted
    latency: _Latency
    names: tuple[_Kind, ...]
    bottleneck: Blamed | None
    environment: dict[str, str]
    health: _Health
    warnings: tuple[_Doubt, ...]
    accepted: tuple[str, ...] = ()

    @property
    def invalid(self) -> bool:
        """Of the measurement itself: a verdict is invalid as well where an SLO could not be judged."""
        doubted = self.health.state is not HealthState.HEALTHY or any(each.invalidates for each in self.warnings)
        return self.verdict is Verdict.INVALID and doubted


_GLANCE = TypeAdapter(_Glance)


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored run as far as it is set beside others. `values`: seconds, shares and rates; None where not known.

    A percentile that lies among the requests that failed is infinite.
    """

    folder: RunFolder
    run: RunRef
    closed_loop: bool
    values: Mapping[str, float | None]  # p50, p95, error_rate, throughput
    kinds: Mapping[str, int]  # how many of each kind of request ended
    mean_s: Mapping[str, float]  # latency of the ok ones of a kind
    bottleneck: str | None
    environment: Mapping[str, str]
    invalid: bool  # the measurement; an SLO that could not be judged says nothing of it
    unfit: str | None  # why it stands for nothing, if so: it is invalid, or was interrupted


def stored(folder: RunFolder) -> Stored:
    """A run as its summary.json has it; one without, with a broken one or with figures no run has, is concluded again.

    Raises RunFolderError when that is not possible either.
    """
    if folder.summary_json.is_file():  # a pipe would keep the reader waiting for ever
        with suppress(OSError, ValidationError):
            seen = _GLANCE.validate_json(folder.summary_json.read_bytes())
            if seen.counts.ok <= seen.counts.scheduled:
                return _stored(folder, seen)
    return concluded(folder)


def concluded(folder: RunFolder) -> Stored:
    """A run as its tables have it. Raises RunFolderError."""
    from harness.conclude import conclude
    from harness.model import Scenario

    record = validated(folder.read_json("run.json"), folder.run_json)
    scenario = TypeAdapter(Scenario).validate_python(record["plan"])
    return of_summary(folder, conclude(folder, scenario, record).summary)


def of_summary(folder: RunFolder, summary: Summary) -> Stored:
    """A run that was just concluded."""
    latency = _Latency(*(_Estimate(getattr(summary.latency, name).value) for name in ("p50", "p95")))
    counts = Counted(**{name: getattr(summary.counts, name) for name in Counted.__slots__})
    found = summary.bottleneck
    glance = _Glance(
        scenario=summary.scenario,
        started_ns=summary.started_ns,
        load=summary.load,
        interrupted=summary.interrupted,
        verdict=summary.verdict,
        counts=counts,
        latency=latency,
        names=tuple(_Kind(k.name, k.ok, k.failed, _Estimate(k.mean.value)) for k in summary.names),
        bottleneck=Blamed(found.stage, found.resource, found.model) if found is not None else None,
        environment=dict(summary.environment),
        health=_Health(summary.health.state),
        warnings=tuple(_Doubt(warning.invalidates) for warning in summary.warnings),
        accepted=summary.accepted,
    )
    return _stored(folder, glance)


def _stored(folder: RunFolder, seen: _Glance) -> Stored:
    counts = seen.counts
    unfit = "it was interrupted" if seen.interrupted else None
    if seen.invalid:
        unfit = "its measurement is invalid"
    elif seen.accepted:
        unfit = "its measurement is invalid, and was accepted"
    return Stored(
        folder=folder,
        run=RunRef(folder.run_id, seen.scenario, seen.started_ns, seen.load, counts.scheduled, seen.verdict),
        closed_loop=counts.offered_per_s is None and counts.completed_per_s is not None,
        values={
            "p50": percentile(seen.latency.p50.value, 0.50, counts),
            "p95": percentile(seen.latency.p95.value, 0.95, counts),
            "error_rate": 1.0 - counts.ok / counts.scheduled if counts.scheduled else None,
            "throughput": counts.completed_per_s,
        },
        kinds={kind.name: kind.ok + kind.failed for kind in seen.names},
        mean_s={kind.name: kind.mean.value for kind in seen.names if kind.mean.value is not None},
        bottleneck=seen.bottleneck.text if seen.bottleneck is not None else None,
        environment=seen.environment,
        invalid=seen.invalid,
        unfit=unfit,
    )


# --- folders of runs -----------------------------------------------------------------------------------------


def runs_in(path: Path) -> Iterator[tuple[str, RunFolder | RunFolderError]]:
    """The run at `path`, or those in it: the name of each, and what can be opened. Raises RunFolderError."""
    if (path / "run.json").exists():
        yield path.resolve().name, _opened(path)
        return
    try:
        children = sorted(child for child in path.iterdir() if (child / "run.json").is_file())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunFolderError(f"{path} cannot be read: {reason}", "name a folder that holds runs, e.g. runs/") from error
    yield from ((child.name, _opened(child)) for child in children)


def _opened(path: Path) -> RunFolder | RunFolderError:
    try:
        return RunFolder.open(path)
    except RunFolderError as error:
        return error
