"""What stepped runs say of the load that a service holds, remembered by run."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.capacity import capacity
from harness.dashboard.library import open_run, run_names
from harness.errors import RunFolderError
from harness.findings import Summary
from harness.slo import Slo, parse_slos
from harness.stored_run import StoredRun
from harness.views import CapacityFindings

MOST_RUNS = 60
"""Of all scenarios, or of one: the newest."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """A run of several load steps."""

    run_id: str
    summary: Summary
    ramps: frozenset[int]  # steps that go from one level to another

    @classmethod
    def of(cls, run: StoredRun) -> Stepped:
        steps = run.record["plan"]["load"]["steps"]
        return cls(run.folder.run_id, run.summary, frozenset(i for i, s in enumerate(steps) if s.get("to") is not None))

    @property
    def closed_loop(self) -> bool:
        """Levels are users: nobody offered a rate."""
        return all(step.offered_per_s is None for step in self.summary.steps)

    def holds(self, slos: Sequence[Slo] = ()) -> CapacityFindings:
        """Its steps against its own SLOs, or against those that are given."""
        own = [slo for each in self.summary.slo for slo in parse_slos(each.expression)]
        return capacity(self.summary.steps, list(slos) or own, self.closed_loop, self.ramps)


def stepped_runs(runs: Path, names: Iterable[str] | None = None) -> list[Stepped]:
    """The newest runs of several load steps, of all or of those `names`, newest first; unreadable ones are left out."""
    found: list[Stepped] = []
    for name in run_names(runs) if names is None else names:
        try:
            run = _stepped(name, *_stamp(runs / name))
        except (RunFolderError, OSError):
            continue
        if run is not None:
            found.append(run)
        if len(found) == MOST_RUNS:
            break
    return found


def _stamp(path: Path) -> tuple[Path, int]:
    return path.parent, (path / "summary.json").stat().st_mtime_ns


@functools.lru_cache(maxsize=1024)
def _stepped(run_id: str, runs: Path, stamp: int) -> Stepped | None:
    """A run of several load steps; None of another one, which is not kept in memory."""
    del stamp  # a key: the file is another one when it changes
    path = runs / run_id / "summary.json"
    if not path.is_file():  # a pipe would be read for ever
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    if text.count('"settled_after_s"') < 2:  # of each step one: a thousand other runs need not be read in full
        return None
    run = open_run(runs, run_id)
    return Stepped.of(run) if sum(step.scheduled > 0 for step in run.summary.steps) > 1 else None
