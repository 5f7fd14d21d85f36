"""One kind of request that costs many times what the others do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.analysis.causes.queues import Pool
from harness.analysis.causes.scene import WAITS, WORK, Flags, Floats, Scene
from harness.diagnosis import Cause
from harness.units import format_bytes, format_count, format_duration, format_share

KINDS = ("name", "models")
NUMBERS = ("bytes_sent", "model_calls", "bytes_received")
TIMES = 3.5
"""Images of a natural mix differ by less than this."""
RARE = 0.30
"""A larger share of the requests is no exception."""
LEAST = 3
FEW = 8
ALMOST_ALL = 0.8
"""Of the kind, that take longer than nine of ten others. Of fewer than FEW it must be all, and 19 of 20 others."""
GAP = 1.5
"""So many times as long as the slowest of the others: in a mix that runs from small to large without a gap, the large
ones are no kind of their own."""
COST = 0.15
WAITS_BEHIND = 0.05
"""From this share of the latency on that others wait behind them, it is worth a remedy."""
MOST_KINDS = 50
LARGER = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """Requests of a kind. Own time is without queues."""

    attribute: str
    value: str
    flags: Flags
    own_s: float
    others_s: float

    @property
    def share(self) -> float:
        return float(self.flags.mean())

    @property
    def excess_s(self) -> float:
        return self.share * (self.own_s - self.others_s)


def payload(scene: Scene, pool: Pool) -> tuple[Cause, float] | None:
    """The cause, and the share of the wait for threads that it accounts for.

    Judged by the time without queues: behind a slow request all kinds wait alike. How long others wait behind a
    request grows with the square of its work (Pollaczek and Khinchine).
    """
    waited = sum((scene.column(stage) for stage in WAITS), np.zeros(len(scene.rows)))
    own = np.maximum(0.0, scene.latencies() - waited)
    kinds = [kind for kind in _kinds(scene, own) if _is_poison(kind, own)]
    if not kinds:
        return None
    top = max(kinds, key=lambda kind: kind.excess_s)
    squares = sum((scene.column(stage) for stage in WORK), np.zeros(len(own))) ** 2
    behind = float(squares[top.flags].sum() / squares.sum()) if squares.sum() > 0 else 0.0
    cost_s = top.excess_s + behind * pool.wait_s
    return (_told(scene, top, cost_s, behind * pool.wait_s), behind) if scene.is_worth(cost_s, COST) else None


def _is_poison(kind: Kind, own: Floats) -> bool:
    if kind.flags.sum() < LEAST or kind.share > RARE or kind.own_s < TIMES * kind.others_s:
        return False
    among = 1.0 - min(0.05, kind.share / 4)  # of a mix without a gap the slowest others are as rare as the kind
    if float(np.quantile(own[kind.flags], 0.1)) < GAP * float(np.quantile(own[~kind.flags], among)):
        return False
    few = kind.flags.sum() < FEW
    usual = float(np.quantile(own[~kind.flags], 0.95 if few else 0.9))
    return float((own[kind.flags] > usual).mean()) >= (1.0 if few else ALMOST_ALL)


def _kinds(scene: Scene, own: Floats) -> Iterator[Kind]:
    """Of each attribute the values, or the cut, that tell slow requests from others best."""
    if scene.attributes is None:
        return
    for attribute in KINDS:
        if attribute in scene.attributes:
            column = scene.attributes[attribute]
            for value in column.value_counts().index[:MOST_KINDS]:
                yield from _kind(attribute, str(value), (column == value).fillna(False).to_numpy(dtype=np.bool_), own)
    for attribute in NUMBERS:
        values = scene.attribute(attribute)
        least = _cut(values, own) if values is not None else None
        if values is None or least is None:
            continue
        # Answers carry their own timings and are a little longer when slow: only much larger ones are another kind.
        if attribute != "bytes_received" or least >= LARGER * float(np.nanmedian(values)):
            shown = format_bytes(least) if attribute.startswith("bytes") else f"{least:g}"
            yield from _kind(attribute, f"{shown} or more", values >= least, own)


def _kind(attribute: str, value: str, flags: Flags, own: Floats) -> Iterator[Kind]:
    if 0 < flags.sum() < len(flags):
        yield Kind(attribute, value, flags, float(own[flags].mean()), float(own[~flags].mean()))


def _cut(values: Floats, own: Floats) -> float | None:
    """The least of the large values for which the variance between the two parts is largest."""
    known = np.isfinite(values)
    order = np.argsort(values[known], kind="stable")
    ordered, took = values[known][order], own[known][order]
    n = len(ordered)
    begins = np.flatnonzero(np.diff(ordered) > 0) + 1  # where the large part may begin
    begins = begins[(n - begins <= RARE * n) & (n - begins >= LEAST)]
    if not len(begins):
        return None
    below = np.cumsum(took)[begins - 1]
    apart = (took.sum() - below) / (n - begins) - below / begins
    return float(ordered[begins[np.argmax(apart * np.abs(apart) * begins * (n - begins))]])


def _told(scene: Scene, kind: Kind, cost_s: float, behind_s: float) -> Cause:
    flags = kind.flags
    stages = {name: scene.column(name) for name in (*WORK, "upload", "download", "other")}
    stage = max(stages, key=lambda name: float(stages[name][flags].mean() - stages[name][~flags].mean()))
    what = f"{kind.attribute} {kind.value}"
    waited = scene.is_worth(behind_s, WAITS_BEHIND)
    apart = ", or give them workers of their own, so that others do not wait behind them" if waited else ""
    times = f"{kind.own_s / kind.others_s:.1f} times" if kind.others_s > 0 else "many times"
    return Cause(
        code="payload",
        stage=stage,
        resource=None,
        model=None,
        sentence=(
            f"One kind of request costs {times} what the others do: those with {what}, {format_share(kind.share)} of "
            f"all, take {format_duration(kind.own_s)} against {format_duration(kind.others_s)}, waiting left out."
        ),
        remedy=f"limit or reduce such requests (size, number of items){apart}",
        evidence=(
            f"n = {format_count(int(flags.sum()))} with {what}, {format_count(int((~flags).sum()))} others",
            f"mostly {stage}: {format_duration(float(stages[stage][flags].mean()))} against "
            f"{format_duration(float(stages[stage][~flags].mean()))}",
            f"cost{', with waiting behind them' if waited else ''}: {scene.counted(cost_s)}",
            *(c.sentence for c in scene.facts.contrasts if c.attribute == kind.attribute),
        ),
        cost_s=cost_s,
    )
