"""Sample rows -> Arrow chunks in the run folder, on disk within a second."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from harness.chunks import ChunkWriter
from harness.model import Sample

FLUSH_ROWS = 1000  # converting more at once would hold the hub for milliseconds


class Recorder:
    """Owns `samples-<worker>.arrows`. Rows are tuples in the field order of Sample."""

    def __init__(self, run_dir: Path, worker: str) -> None:
        self._chunks = ChunkWriter(run_dir / f"samples-{worker}.arrows", Sample)
        self._waiting = 0
        pa.array([0])  # the first conversion of a process imports pandas: most of a second, not to be spent mid-run

    def __call__(self, row: tuple[object, ...]) -> None:
        """Keep one row."""
        self._chunks.append(row)
        self._waiting += 1
        if self._waiting >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the system: from here on a killed process loses nothing of it."""
        self._waiting = 0
        self._chunks.flush()

    def close(self) -> None:
        """End the file. A second call does nothing."""
        self._chunks.close()
