"""A stored run as pages read it: what was concluded. Of its tables they read single columns, see tables.py.

Nothing is concluded here: a run of a million requests takes half a minute for that, and its summary is on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import RunFolderError
from harness.findings import Summary
from harness.record import validated
from harness.report import json_report
from harness.run_folder import RunFolder

_DAMAGED = "it was damaged or written by another version; `harness report` writes it again"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run folder that was concluded. `record` is its run.json, checked."""

    folder: RunFolder
    record: Mapping[str, Any]
    summary: Summary

    @classmethod
    def open(cls, path: Path) -> StoredRun:
        """Raises RunFolderError for what is no run, or one that was never concluded."""
        folder = RunFolder.open(path)
        record = validated(folder.read_json("run.json"), folder.run_json)
        if folder.summary_json.exists() and not folder.summary_json.is_file():  # a pipe would be read for ever
            raise RunFolderError(f"{folder.summary_json} is not a regular file", _DAMAGED)
        try:
            text = folder.summary_json.read_text(encoding="utf-8")
        except FileNotFoundError:
            message = f"{folder.path} has no summary.json: the run is still on, or was killed"
            raise RunFolderError(message, f"conclude it with `harness report {folder.path} --format json`") from None
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{folder.summary_json} cannot be read: {error}", _DAMAGED) from error
        return cls(folder, record, json_report.parse(text))

    @property
    def stamp(self) -> tuple[int, ...]:
        """Another one as soon as the run is written again: a key for what is kept of it in memory."""
        files = (self.folder.summary_json, self.folder.ledger, self.folder.samples)
        return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in files)
