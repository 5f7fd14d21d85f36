"""The runs of a folder by their names: no name leads out of the folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.errors import RunFolderError
from harness.stored_run import StoredRun

RUN_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[a-z0-9._-]{1,100}")
"""Of a folder that `harness run` made; nothing else is looked for."""


class NoSuchRequest(RunFolderError):  # noqa: N818 - reads as the condition it reports
    """The run is there, a request of it is not."""


def path_of(runs: Path, run_id: str) -> Path:
    """The folder of a run. Raises RunFolderError for a name that is none, or leads elsewhere."""
    path = runs / run_id
    if not RUN_NAME.fullmatch(run_id) or not path.is_dir() or path.resolve().parent != runs.resolve():
        raise RunFolderError(f"there is no run '{run_id[:80]}' here", "see the list of runs")
    return path


def open_run(runs: Path, run_id: str) -> StoredRun:
    """A concluded run. Raises RunFolderError."""
    return StoredRun.open(path_of(runs, run_id))


def run_names(runs: Path) -> list[str]:
    """The names of all run folders, newest first; none where there is no folder."""
    try:
        with os.scandir(runs) as entries:
            return sorted((e.name for e in entries if RUN_NAME.fullmatch(e.name) and e.is_dir()), reverse=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        message = f"{runs} cannot be read: {(error.strerror or str(error)).lower()}"
        raise RunFolderError(message, "give another folder: harness ui DIR") from error
