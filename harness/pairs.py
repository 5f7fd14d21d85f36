"""Interleaved pairs of runs against two targets: A B, B A, A B, ... until they decide, or there are enough of them.

Both runs of a pair have the same arrivals and payloads (one seed); another pair has others. A side given as a command
is started anew for each of its runs and stopped after it, so that what one process happens to be like (its memory
layout, its core) is not taken for a change.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from harness.analysis.statistics.quantiles import quantile
from harness.comparison import PairFindings, SideRun
from harness.diagnosis import Steadiness
from harness.environment import fingerprint
from harness.errors import HarnessError, Interrupted, RunFolderError
from harness.findings import Loss, Summary, Verdict
from harness.interrupt import Interrupt
from harness.ledger import measured
from harness.load.drive import OnEvent
from harness.model import STAGES, RunWarning, Scenario
from harness.run import Outcome, execute
from harness.run_folder import RunFolder
from harness.services import Start, running, span_port

METRICS = ("p50", "p95", "p99", "mean", "throughput")
SETTLE_S = 0.3
"""Between two runs: what the one before left behind (closing connections, a process that ends) is over."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two things that are compared: where it is, or how it is started."""

    name: str  # "A" or "B"
    target: str | None = None
    start: Start | None = None

    @property
    def label(self) -> str:
        """What it is, as reports name it: one command in two folders is two services."""
        if self.start is None:
            return str(self.target)
        return self.start.command if self.start.cwd is None else f"{self.start.command} (in {self.start.cwd})"


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs of a comparison share."""

    scenario: Scenario
    a: Side
    b: Side
    folder: RunFolder  # of the comparison; its runs are below it
    on_event: OnEvent
    interrupt: Interrupt
    say: Callable[[str], None]
    accept_suspect: bool = False
    environment: tuple[tuple[str, str], ...] = field(default_factory=fingerprint)  # before we load the machine


def open_folder(parent: Path, scenario: Scenario, what: str) -> RunFolder:
    """A new folder for a comparison, `<time>-<scenario>-<what>`."""
    return RunFolder.create(parent, f"{scenario.name[:50]}-{what}", datetime.now(UTC))


def spare(planned: int) -> int:
    """Pairs that may be measured again as a run of them was invalid: a neighbour on the machine, a lost process."""
    return max(2, planned // 4)


def measure(bench: Bench) -> Iterator[PairFindings]:
    """Pair after pair, without end; the caller stops asking.

    Raises Interrupted, and what a side's start, or a target that is not there, raises: with the pair and the side.
    """
    for number in range(1, 10_000):
        order = "AB" if number % 2 else "BA"
        first, second = (bench.a, bench.b) if order == "AB" else (bench.b, bench.a)
        runs = {side.name: _named_run(bench, side, number) for side in (first, second)}
        yield paired(number, order, runs["A"], runs["B"])


def paired(number: int, order: str, a: SideRun, b: SideRun) -> PairFindings:
    """Two runs as a pair; it counts when both can be judged, and the baseline holds the load.

    A candidate that does not hold it counts: that is what is looked for. So does one whose service ended under it.
    """
    wrong = [f"{name}: {reason}" for name, run in (("A", a), ("B", b)) for reason in run.invalid]
    if a.died is not None:
        wrong.append(f"A: {a.died}")
    elif a.unstable:
        wrong.append("A: more requests came than were answered in time; compare at a lower rate")
    if wrong and b.died is not None:
        wrong.append(f"B: {b.died}")
    return PairFindings(number, order, a, b, counted=not wrong, reason="; ".join(wrong))


def store(bench: Bench, name: str, text: str) -> tuple[RunWarning, ...]:
    """Write a file of the comparison. A full disk costs the file, not the answer: it gives a warning."""
    try:
        bench.folder.write_text(name, text)
    except RunFolderError as error:
        bench.say(f"warning: {error.message}")
        return (RunWarning("not_stored", error.message, error.hint or "choose another place with --out"),)
    return ()


def say_what_is_kept(error: HarnessError, path: Path, pairs: int) -> None:
    """Adds to the hint of an error in the middle of a comparison where its first pairs are."""
    if path.exists():
        kept = f"the pairs before it ({pairs}) are in {path}"
        error.hint = kept if error.hint is None else f"{error.hint}; {kept}"


def _named_run(bench: Bench, side: Side, number: int) -> SideRun:
    try:
        return _run(bench, side, number)
    except Interrupted:
        raise
    except HarnessError as error:  # the sides may be one command: which of them it was has to be said
        error.message = f"pair {number}, {side.name}: {error.message}"
        error.args = (error.message,)
        raise


def _run(bench: Bench, side: Side, number: int) -> SideRun:
    if bench.interrupt.stop:
        raise Interrupted("interrupted between two runs")
    seed = bench.scenario.load.seed + number - 1  # one for both runs of a pair
    scenario = replace(bench.scenario, slo=(), load=replace(bench.scenario.load, seed=seed))
    time.sleep(SETTLE_S)
    with _served(bench, side, number) as served:
        outcome = execute(
            replace(scenario, target=served.target),
            bench.folder.path / "runs",
            partial(_labelled, bench.on_event, f"{number}{side.name}"),
            bench.interrupt,
            served.listener,
            reports=("json",),
            label=f"{number:02d}-{side.name.lower()}",
            accept_suspect=bench.accept_suspect,
        )
    if outcome.summary.interrupted:
        raise Interrupted("interrupted while a pair was measured")
    return replace(side_run(outcome), died=served.died)


def _labelled(on_event: OnEvent, label: str, event: Mapping[str, object]) -> None:
    on_event({**event, "phase": f"{label} {event['phase']}"} if "phase" in event else event)


@dataclass(slots=True)
class _Served:
    """The target of one run, and where its spans are to arrive; `died` is known after it."""

    target: str
    listener: socket.socket | None = None
    died: str | None = None


@contextmanager
def _served(bench: Bench, side: Side, number: int) -> Iterator[_Served]:
    """The target of one run, there for as long as it lasts. A service that we start sends its spans to us."""
    if side.start is None:
        assert side.target is not None  # noqa: S101 - one of the two is always given
        yield _Served(side.target)
        return
    log = bench.folder.path / f"service-{number:02d}-{side.name.lower()}.log"
    with (
        span_port(side.start, bench.scenario.spans) as (listener, env),
        running(side.start, log, bench.interrupt, env) as service,
    ):
        served = _Served(service.target, listener)
        yield served
        served.died = service.died()


# --- what one run measured ---------------------------------------------------------------------------------


def side_run(outcome: Outcome) -> SideRun:
    """The figures of one run that pairs are made of."""
    summary, counts = outcome.summary, outcome.summary.counts
    latency = _latencies(outcome)
    answered = latency[np.isfinite(latency)]
    values: dict[str, float | None] = {metric: None for metric in METRICS}
    if len(latency):
        values |= {f"p{100 * p:g}": quantile(latency, p) for p in (0.50, 0.95, 0.99)}
    if len(answered):
        values["mean"] = float(answered.mean())
    values["throughput"] = counts.completed_per_s
    return SideRun(
        run_id=outcome.folder.run_id,
        n=counts.scheduled,
        failed=counts.scheduled - counts.ok,
        values=tuple(values.items()),
        stages=_stages(summary),
        models=tuple((model.model, model.mean_per_request_s) for model in summary.models) if _stages(summary) else (),
        unstable=any(step.state is Steadiness.UNSTABLE for step in summary.steps),
        invalid=summary.reasons if summary.verdict is Verdict.INVALID else (),
        accepted=summary.accepted,
    )


def _latencies(outcome: Outcome) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Of all measured requests, sorted; failed ones and those that never ended are infinite."""
    rows = measured(outcome.ledger)
    ended = np.where(rows["ok"], rows["latency_s"], np.inf).astype(np.float64)
    missing = max(0, outcome.summary.counts.scheduled - len(rows))
    return np.sort(np.concatenate([ended, np.full(missing, np.inf)]))


def _stages(summary: Summary) -> tuple[tuple[str, float], ...]:
    """Means of the additive stages, where the server halves can be trusted. Transfer as a whole, if it has no parts."""
    if summary.coverage is not None and summary.coverage.loss in (Loss.BIASED, Loss.CLUSTERED):
        return ()
    means = {stage.stage: stage.mean.value for stage in summary.stages}
    names = STAGES if means.get("upload") is not None else (*STAGES, "transfer")
    return tuple((name, mean) for name in names if (mean := means.get(name)) is not None)
