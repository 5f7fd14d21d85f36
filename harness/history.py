"""The runs of a scenario over time: what each came to, and where a figure became another one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.analysis.comparing import words
from harness.analysis.comparing.change_points import LEAST, MOST_RUNS, Floats, change_points, drifts
from harness.analysis.comparing.failures import SMALL
from harness.analysis.comparing.likeness import DECIDING
from harness.baseline.stored import Stored, runs_in, stored
from harness.comparison import SCHEMA_VERSION, ChangePoint, Histories, HistoryFindings, HistoryRow
from harness.errors import RunFolderError, UsageError, nearest
from harness.report.history_text import without_seed
from harness.units import format_count, format_duration, format_rate, format_share

COMMIT = "commit"
DRIFT_RUNS = 200
"""The newest: what moved little by little before them is no news, and the search takes long."""


def histories(parent: Path, scenario: str | None = None) -> Histories:
    """The runs in a folder, by scenario. Raises RunFolderError without a run, UsageError for an unknown scenario."""
    runs: list[Stored] = []
    unread: list[tuple[str, str]] = []
    for name, folder in runs_in(parent):
        try:
            if isinstance(folder, RunFolderError):
                raise folder
            runs.append(stored(folder))
        except RunFolderError as error:
            unread.append((name, error.message))
    if not runs:
        raise _nothing(parent, unread)
    names = sorted({run.run.scenario for run in runs})
    if scenario is not None and scenario not in names:
        raise UsageError(f"{parent} has no run of the scenario '{scenario}'", nearest(scenario, names))
    wanted = names if scenario is None else [scenario]
    return Histories(tuple(history(name, runs) for name in wanted), tuple(unread))


def _nothing(parent: Path, unread: Sequence[tuple[str, str]]) -> RunFolderError:
    if not unread:
        return RunFolderError(f"{parent} holds no runs", "name a folder that `harness run` writes to, e.g. runs/")
    many = "its only run" if len(unread) == 1 else f"none of its {format_count(len(unread))} runs"
    can = "cannot" if len(unread) == 1 else "can"
    return RunFolderError(f"{parent}: {many} {can} be read: {unread[0][1]}", "restore it, or name another folder")


def history(scenario: str, runs: Iterable[Stored]) -> HistoryFindings:
    """The history of one scenario, from runs in any order."""
    ordered = sorted(
        (run for run in runs if run.run.scenario == scenario), key=lambda each: (each.run.started_ns, each.run.run_id)
    )
    like = _like_the_newest(ordered)
    counted = [run for run, counts in zip(ordered, like, strict=True) if counts]
    series = _series(counted)
    changes, drifted = _changes(counted, series), _drifts(counted, series)
    rows = tuple(_row(run, counts) for run, counts in zip(ordered, like, strict=True))
    said = (*drifted, *_sentences(ordered, like, bool(changes or drifted)))
    return HistoryFindings(SCHEMA_VERSION, scenario, rows, changes, said)


def _like_the_newest(ordered: Sequence[Stored]) -> list[bool]:
    """Which runs carry a history: a change between two loads or two machines would be one of those."""
    newest = next((_setting(run) for run in reversed(ordered) if run.unfit is None), None)
    return [run.unfit is None and _setting(run) == newest for run in ordered]


def _setting(run: Stored) -> tuple[str | None, ...]:
    return (without_seed(run.run.load), *(run.environment.get(name) for name in DECIDING))


def _row(run: Stored, counted: bool) -> HistoryRow:
    return HistoryRow(
        run=run.run,
        commit=run.environment.get(COMMIT),
        p50_s=run.values["p50"],
        p95_s=run.values["p95"],
        error_rate=run.values["error_rate"],
        completed_per_s=run.values["throughput"],
        bottleneck=run.bottleneck,
        counted=counted,
    )


# --- what changed ------------------------------------------------------------------------------------------


def _series(runs: Sequence[Stored]) -> dict[str, Floats]:
    """What is looked at: a metric's value in each run, NaN where it is not known; those that are known often enough.

    The throughput of an open loop is what was asked for.
    """
    closed = bool(runs) and runs[-1].closed_loop
    names = ("p50", "p95", "error_rate", *(("throughput",) if closed else ()))
    found = {name: np.array([np.nan if (v := run.values[name]) is None else v for run in runs]) for name in names}
    return {name: values for name, values in found.items() if int((~np.isnan(values)).sum()) >= 2 * LEAST}


def _changes(runs: Sequence[Stored], series: Mapping[str, Floats]) -> tuple[ChangePoint, ...]:
    """Where a metric became another one, in the order of the runs."""
    found: list[tuple[int, ChangePoint]] = []
    for name, values in series.items():
        points = change_points(_on_their_scale(name, values), metrics=len(series))
        borders = [0, *(at for at, _ in points), len(runs)]
        for number, (at, p) in enumerate(points):
            before, after = (_typical(name, values[borders[i] : borders[i + 1]]) for i in (number, number + 1))
            known = np.flatnonzero(~np.isnan(values[:at]))
            last, first = runs[int(known[-1])].run.run_id, runs[at].run.run_id
            sentence = _sentence(name, before, after, last, first, p)
            found.append((at, ChangePoint(name, last, first, before, after, p, sentence)))
    return tuple(point for _, point in sorted(found, key=lambda each: each[0]))


def _drifts(runs: Sequence[Stored], series: Mapping[str, Floats]) -> list[str]:
    """Where a metric moved little by little: no run of them is to blame."""
    found = []
    for name, values in series.items():
        older = max(0, len(values) - DRIFT_RUNS)
        for drift in drifts(_on_their_scale(name, values[older:]), metrics=len(series)):
            way = "rose" if drift.ratio > 1.0 else "fell"
            by = "" if name == "error_rate" else f", by {words.change(drift.ratio)} in all,"
            first, last = (runs[older + at].run.run_id for at in (drift.start, drift.end))
            found.append(f"{_named(name)} {way} little by little{by} from run {first} to run {last}.")
    return found


def _on_their_scale(metric: str, values: Floats) -> Floats:
    """Ratios are looked at; those of error rates, where none and hardly any are alike, from one percentage point up."""
    return values + SMALL if metric == "error_rate" else values


def _typical(metric: str, values: Floats) -> float:
    """The geometric mean of a stretch; of error rates, which are often zero, the mean. Infinite when no run has one."""
    known = values[np.isfinite(values)]
    if metric == "error_rate":
        return float(known.mean()) if len(known) else math.inf
    known = known[known > 0.0]
    return float(np.exp(np.log(known).mean())) if len(known) else math.inf


def _sentence(metric: str, before: float, after: float, last: str, first: str, p: float) -> str:
    written = {"error_rate": format_share, "throughput": format_rate}.get(metric, format_duration)
    shown = [written(value) if math.isfinite(value) else "no answer" for value in (before, after)]
    by = ""
    if metric != "error_rate" and before > 0.0 and math.isfinite(before) and math.isfinite(after):
        by = f" ({words.change(after / before)})"
    way = "rose" if after > before else "fell"
    return f"{_named(metric)} {way} from {shown[0]} to {shown[1]}{by} between run {last} and run {first}, p = {p:.2g}."


def _named(metric: str) -> str:
    return metric.replace("_", " ")


def _sentences(ordered: Sequence[Stored], like: Sequence[bool], moved: bool) -> list[str]:
    """What was looked at for changes, and what was not."""
    counted = sum(like)
    unfit = sum(run.unfit is not None for run in ordered)
    other = len(ordered) - counted - unfit
    said = []
    if counted < 2 * LEAST:
        takes = f"at least {2 * LEAST} runs, {LEAST} on either side of it"
        said.append(f"To find a change takes {takes}; there are {counted}.")
    elif not moved:
        newest = "the newest " if counted > MOST_RUNS else ""
        said.append(f"No change was found over {newest}{format_count(min(counted, MOST_RUNS))} runs.")
    if unfit:
        said.append(f"{_runs(unfit)} interrupted or invalid: shown, and not looked at for changes.")
    if other:
        said.append(f"{_runs(other)} of another load or machine than the newest: shown, and not looked at for changes.")
    return said


def _runs(count: int) -> str:
    return f"{format_count(count)} run{' is' if count == 1 else 's are'}"
