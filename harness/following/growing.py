"""Chunk files that grow while they are read: each row once, however the file changes meanwhile."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.chunks import schema_of

_BLOCK = 1 << 20
_MOST_BLOCKS = 64
"""Of ids that are not all there yet: 64 MB. Ids of a run are given out in order, so few blocks are open at a time."""


class Growing:
    """The rows of one chunk file, from where the last look ended. A torn batch is given when it is whole.

    What is damaged is not given, nor what stands behind it. `behind` says that there was more than was asked for.
    """

    def __init__(self, path: Path, row_type: type) -> None:
        self.path = path
        self.behind = False
        self._wanted = schema_of(row_type)
        self._begin_again(0)

    def _begin_again(self, inode: int) -> None:
        self._inode = inode
        self._schema: pa.Schema | None = None
        self._at = 0
        self._tried = 0  # size of the file when there was nothing whole behind `_at`

    def new(self, most_rows: int) -> list[pa.Table]:
        """The batches that are new, until there are `most_rows` rows of them."""
        found: list[pa.Table] = []
        rows, size = 0, 0
        self.behind = False
        try:
            about = self.path.stat()
            size = about.st_size
            if about.st_ino != self._inode or size < self._at:  # it was written again: moved onto another clock
                self._begin_again(about.st_ino)
            if not stat.S_ISREG(about.st_mode) or size <= self._at or size == self._tried:
                return found
            with pa.OSFile(str(self.path)) as file:  # what is mapped dies with a file that is cut
                file.seek(self._at)
                while rows < most_rows:
                    batch = self._next(file)
                    if batch is not None:
                        found.append(batch)
                        rows += batch.num_rows
                    self._at = file.tell()
                self.behind = self._at < size
        except (EOFError, StopIteration, OSError, ValueError, KeyError, MemoryError, pa.ArrowException):
            self._tried = size
        return found

    def _next(self, file: pa.NativeFile) -> pa.Table | None:
        message = pa.ipc.read_message(file)
        if self._schema is None:
            self._schema = pa.ipc.read_schema(message)
            return None
        batch = pa.ipc.read_record_batch(message, self._schema)
        table = pa.Table.from_batches([batch]).select(self._wanted.names).cast(self._wanted)
        table.validate(full=True)
        return table


class Ids:
    """The request ids that were seen: a byte each while their neighbours are missing, nothing afterwards."""

    def __init__(self) -> None:
        self._open: dict[int, NDArray[np.bool_]] = {}
        self._full: set[int] = set()

    def add(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of them are new; of equal ones the first. What cannot be an id of this run is never new."""
        new = np.zeros(len(ids), np.bool_)
        blocks = ids // _BLOCK
        for block in np.unique(blocks).tolist():
            rows = np.flatnonzero(blocks == block)
            seen = self._block(block)
            if seen is None:
                continue
            places, first = np.unique(ids[rows] % _BLOCK, return_index=True)
            fresh = ~seen[places]
            new[rows[first[fresh]]] = True
            seen[places] = True
            if seen.all():
                del self._open[block]
                self._full.add(block)
        return new

    def _block(self, block: int) -> NDArray[np.bool_] | None:
        if block < 0 or block in self._full:
            return None
        if block not in self._open:
            if len(self._open) >= _MOST_BLOCKS:
                return None
            self._open[block] = np.zeros(_BLOCK, np.bool_)
        return self._open[block]
