"""The list of runs, remembered run by run: what has not changed on disk is not read again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.dashboard.glance import Glance, Stamp, glance, stamp
from harness.dashboard.library import run_names


class Listing:
    """The runs of a folder, newest first."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Stamp, Glance]] = {}

    def glances(self) -> list[Glance]:
        """All of them; of a thousand the first time in half a second. Raises RunFolderError."""
        with self._lock:
            known = {}
            for name in run_names(self._runs):
                path = self._runs / name
                seen = stamp(path)
                before = self._known.get(name)
                known[name] = before if before is not None and before[0] == seen else (seen, glance(path, seen))
            self._known = known
        return [_if_on(self._runs, each) for _, each in known.values()]


def _if_on(runs: Path, run: Glance) -> Glance:
    """A run that is not concluded may be on."""
    if run.state != "unconcluded":
        return run
    from harness.following import is_on  # with pandas: a second that the first page does without

    return replace(run, state="running") if is_on(runs / run.run_id) else run


def matching(runs: Sequence[Glance], words: str) -> list[Glance]:
    """Those that have each of the words somewhere in what a row says."""
    wanted = words.lower().split()
    return [run for run in runs if all(word in text_of(run) for word in wanted)] if wanted else list(runs)


def text_of(run: Glance) -> str:
    """What the search looks at, in lower case."""
    parts = (run.run_id, run.scenario, run.label, *run.tags, run.verdict, run.load, run.bottleneck, run.state)
    return " ".join(filter(None, parts)).lower()
