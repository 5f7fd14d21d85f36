"""What a run said of itself before somebody began to watch: a few hundred points of its lines of progress."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.following.lines import FILE, parsed
from harness.following.planned import Planned
from harness.following.said import number
from harness.run_folder import RunFolder

_MOST_BYTES = 48 << 20
"""More than a run of days writes."""


@dataclass(frozen=True, slots=True)
class Point:
    """One line of progress: `t_s` seconds since the first scheduled request. Counts are of the whole run."""

    t_s: float
    offered_per_s: float | None
    rate_per_s: float | None
    in_flight: float | None
    backlog: float | None
    p50_s: float | None
    p95_s: float | None
    failed: float | None


def history(folder: Path, most: int = 300) -> tuple[Point, ...]:
    """At most about so many points of a run, in their order; none of a run that says nothing."""
    lines: list[bytes] = []
    with suppress(OSError):
        path = folder / FILE
        if path.is_file():
            with path.open("rb") as file:
                lines = file.read(_MOST_BYTES).splitlines()
    with_figures = [line for line in lines if b'"elapsed_s"' in line]
    step = max(1, -(-len(with_figures) // most))
    plan = Planned.of(RunFolder(folder))
    points = (_point(line, plan) for line in with_figures[::step])
    return tuple(point for point in points if point is not None)


def _point(line: bytes, plan: Planned) -> Point | None:
    said = parsed(line)
    t_s = None if said is None else number(said.get("elapsed_s"))
    if said is None or t_s is None:
        return None
    names = ("rate_per_s", "in_flight", "backlog", "p50_s", "p95_s", "failed")
    sending = said.get("phase") in ("warmup", "measure")
    return Point(t_s, plan.offered_per_s(t_s) if sending else None, *(number(said.get(name)) for name in names))
