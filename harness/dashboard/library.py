"""The runs of a folder by their names: no name leads out of the folder."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import RunFolderError
from harness.stored_run import StoredRun

RUN_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[a-z0-9._-]{1,100}")
"""Of a folder that `harness run` made; nothing else is looked for."""


def path_of(runs: Path, run_id: str) -> Path:
    """The folder of a run. Raises RunFolderError for a name that is none, or leads elsewhere."""
    path = runs / run_id
    if not RUN_NAME.fullmatch(run_id) or not path.is_dir() or path.resolve().parent != runs.resolve():
        raise RunFolderError(f"there is no run '{run_id[:80]}' here", "see the list of runs")
    return path


def open_run(runs: Path, run_id: str) -> StoredRun:
    """A concluded run. Raises RunFolderError."""
    return StoredRun.open(path_of(runs, run_id))
