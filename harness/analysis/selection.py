"""A selection of a run's requests beside the others: how many, how slow, and in which stages.

What is told of a selection is a description of these requests: they were picked by looking at them. Only its
percentiles are estimates, with intervals, and are refused where there are too few requests for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.analysis.selection_attributes import Kinds, Overrepresented, overrepresented
from harness.analysis.statistics.quantiles import latency_findings
from harness.estimates import LatencyFindings

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Rows: TypeAlias = NDArray[np.intp]

ALL, OK, FAILED = "all", "ok", "failed"
OUTCOMES = (ALL, OK, FAILED)
ANSWERED = "ok"
"""The outcome of a request that was answered as expected; every other outcome says what went wrong."""
_BLOCK = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The ended requests of a run in the order of their scheduled instants, a value each.

    `stages` has a row per name of `stage_names`: those that hold any time, 0 where one is not known, as `known` says;
    where it was not known of every request which part of the transfer is which, `transfer` stands for its parts.
    `others` are attributes beside name, step and outcome.
    """

    request_id: NDArray[np.integer]
    at_s: Floats  # since the first scheduled request
    latency_s: Floats
    ok: Flags
    with_half: Flags  # the service gave its side
    stage_names: tuple[str, ...]
    stages: NDArray[np.float32]
    known: NDArray[np.bool_]
    name: Kinds
    phase: Kinds
    step: Kinds
    outcome: Kinds
    others: tuple[tuple[str, Kinds], ...]
    by_latency: NDArray[np.integer]  # positions, fastest first

    def __len__(self) -> int:
        return len(self.latency_s)

    def stage(self, name: str) -> tuple[NDArray[np.float32], Flags]:
        """The seconds of a stage of `stage_names`, and of which requests it is known."""
        at = self.stage_names.index(name)
        return self.stages[at], self.known[at]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which requests: all that is asked for has to be true. Limits belong to the selection.

    `names` empty means any. `phase` is the set that the selection is taken from: None for all of them. `error` is an
    outcome other than ANSWERED, in its words; `step` counts from 0.
    """

    from_s: float | None = None
    until_s: float | None = None
    least_s: float | None = None
    most_s: float | None = None
    stage: str | None = None
    stage_least_s: float | None = None
    stage_least_share: float | None = None  # of the latency
    names: tuple[str, ...] = ()
    outcome: str = ALL
    error: str | None = None
    phase: str | None = None
    step: int | None = None


@dataclass(frozen=True, slots=True)
class StageMeans:
    """The mean of one stage in the selection and in the rest, seconds; None where no request knows it."""

    stage: str
    selected_s: float | None
    rest_s: float | None

    @property
    def difference_s(self) -> float | None:
        """How much more it is in the selection."""
        return None if self.selected_s is None or self.rest_s is None else self.selected_s - self.rest_s


@dataclass(frozen=True, slots=True)
class Selected:
    """What is said of a selection. `of` requests are in its phase, `n` of them are selected, the others are the rest.

    Stage means are those of `split_n` and `split_rest_n` requests: ok, with a server half. `latency` ranks a failed
    request as slowest; where all have failed (`all_failed`) it is the time until they did.
    """

    n: int
    of: int
    failed: int
    all_failed: bool
    latency: LatencyFindings
    split_n: int
    split_rest_n: int
    mean_s: float | None
    rest_mean_s: float | None
    stages: tuple[StageMeans, ...]
    attributes: tuple[Overrepresented, ...]
    no_attributes: str | None  # why there are none, if so


def pool(columns: Columns, selection: Selection) -> Flags:
    """The requests that the selection is taken from: those of its phase."""
    if selection.phase is None:
        return np.ones(len(columns), np.bool_)
    return columns.phase.equal_to(selection.phase)


def mask(columns: Columns, selection: Selection) -> Flags:
    """The selected requests. A name, an error or a stage that the run does not have selects none."""
    found = pool(columns, selection)
    for values, least, most in (
        (columns.at_s, selection.from_s, selection.until_s),
        (columns.latency_s, selection.least_s, selection.most_s),
    ):
        if least is not None:
            found &= values >= least
        if most is not None:
            found &= values <= most
    if selection.names:
        found &= columns.name.among(selection.names)
    if selection.outcome != ALL:
        found &= columns.ok if selection.outcome == OK else ~columns.ok
    if selection.error is not None:
        found &= columns.outcome.equal_to(selection.error)
    if selection.step is not None:
        found &= columns.step.equal_to(str(selection.step + 1))
    if selection.stage is not None:
        found &= _by_stage(columns, selection)
    return found


def _by_stage(columns: Columns, selection: Selection) -> Flags:
    if selection.stage not in columns.stage_names:
        return np.zeros(len(columns), np.bool_)
    seconds, known = columns.stage(selection.stage)
    found = known.copy()
    if selection.stage_least_s is not None:
        found &= seconds >= selection.stage_least_s
    if selection.stage_least_share is not None:
        found &= seconds >= selection.stage_least_share * columns.latency_s
    return found


def ordered(columns: Columns, selected: Flags, by: str, descending: bool) -> Rows:
    """Positions of the selected requests by `latency`, `time` or a stage; those of which it is not known come last."""
    found: Rows
    if by == "latency":
        found = columns.by_latency[selected[columns.by_latency]]
    elif by in columns.stage_names:
        at = np.flatnonzero(selected)
        seconds, known = columns.stage(by)
        with_it = at[known[at]]
        order: Rows = with_it[np.argsort(seconds[with_it], kind="stable")]
        return np.concatenate([order[::-1] if descending else order, at[~known[at]]])
    else:
        found = np.flatnonzero(selected)
    return found[::-1] if descending else found


def describe(columns: Columns, selection: Selection, selected: Flags) -> Selected:
    """The selection beside the rest of its phase. `selected` is its mask."""
    everyone = pool(columns, selection)
    n, failed = int(np.count_nonzero(selected)), int(np.count_nonzero(selected & ~columns.ok))
    comparable = columns.ok & columns.with_half
    attributes, why_none = _attributes(columns, selection, selected, everyone)
    inside, outside = selected & comparable, everyone & ~selected & comparable
    split_n, split_rest_n = int(np.count_nonzero(inside)), int(np.count_nonzero(outside))
    means = _means(columns, inside, split_n), _means(columns, outside, split_rest_n)
    return Selected(
        n=n,
        of=int(np.count_nonzero(everyone)),
        failed=failed,
        all_failed=0 < n == failed,
        latency=_latency(columns, selected, 0 < n == failed),
        split_n=split_n,
        split_rest_n=split_rest_n,
        mean_s=_mean(columns.latency_s[inside]),
        rest_mean_s=_mean(columns.latency_s[outside]),
        stages=tuple(map(StageMeans, columns.stage_names, *means)),
        attributes=attributes,
        no_attributes=why_none,
    )


def _latency(columns: Columns, selected: Flags, all_failed: bool) -> LatencyFindings:
    latency = columns.latency_s[selected]
    if not all_failed:
        latency[~columns.ok[selected]] = np.inf
    strata = columns.step.codes[selected].astype(np.int64) if len(columns.step.texts) > 1 else None
    return latency_findings(latency, strata)


def _means(columns: Columns, some: Flags, n: int) -> list[float | None]:
    """The mean of each stage over these `n` requests, where one that is not known counts as nothing: they add up."""
    if not n:
        return [None] * len(columns.stage_names)
    total, known = np.zeros(len(columns.stage_names)), np.zeros(len(columns.stage_names), np.bool_)
    for begin in range(0, len(some), _BLOCK):  # sums of so few do not lose digits in float32
        block = slice(begin, begin + _BLOCK)
        total += columns.stages[:, block] @ some[block].astype(np.float32)
        if not known.all():
            known |= (columns.known[:, block] & some[block]).any(axis=1)
    return [each / n if is_known else None for each, is_known in zip(total.tolist(), known.tolist(), strict=True)]


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def _attributes(
    columns: Columns, selection: Selection, selected: Flags, everyone: Flags
) -> tuple[tuple[Overrepresented, ...], str | None]:
    """Without those that were asked for: that the selection has them says nothing."""
    asked = {
        "name": bool(selection.names),
        "step": selection.step is not None,
        "outcome": selection.outcome != ALL or selection.error is not None,
    }
    own = (("name", columns.name), ("phase", columns.phase), ("step", columns.step), ("outcome", columns.outcome))
    candidates = [(name, kinds) for name, kinds in (*own, *columns.others) if not asked.get(name)]
    return overrepresented(candidates, selected, everyone)
