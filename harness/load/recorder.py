"""Sample rows -> Arrow chunks in the run folder, on disk within a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

from harness.chunks import ChunkWriter, convert_without_pandas
from harness.model import Sample

FLUSH_ROWS = 1000  # converting more at once would hold the hub for milliseconds


class Recorder:
    """Turns rows, tuples in the field order of Sample, into the bytes of `samples-<worker>.arrows`.

    When the disk refuses a flush, `failure` says why, and later rows are only counted in `lost`.
    """

    def __init__(self, path: Path, sink: IO[bytes] | None = None) -> None:
        self._chunks = ChunkWriter(path, Sample, sink)
        self._rows: list[tuple[object, ...]] = []
        self.failure: str | None = None
        self.lost = 0
        convert_without_pandas()

    def __call__(self, row: tuple[object, ...]) -> None:
        """Keep one row."""
        rows = self._rows
        rows.append(row)
        if len(rows) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the system: from here on a killed process loses nothing of it."""
        self._hand_over(self._chunks.flush if self.failure is None else None)

    def close(self) -> None:
        """End the file. A second call does nothing."""
        self._hand_over(self._chunks.close)

    def _hand_over(self, write: Callable[[], object] | None) -> None:
        rows, self._rows = self._rows, []
        if self.failure is not None:
            self.lost += len(rows)
        else:
            self._chunks.append_all(rows)
        try:
            if write is not None:
                write()
        except OSError as error:
            if self.failure is None:
                self.lost += len(rows)
                self.failure = (error.strerror or str(error)).lower()
