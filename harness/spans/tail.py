"""A chunk file that is still being written, read from where the last look ended."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa


class Tail:
    """Gives each record batch of a chunk file once. A batch that is only half there is given when it is whole.

    The file is mapped, not read: columns that nobody looks at cost nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schema: pa.Schema | None = None
        self._at = 0

    def new(self) -> list[pa.RecordBatch]:
        """The batches that were written since the last call; none while there is no file."""
        found: list[pa.RecordBatch] = []
        try:
            if self._path.stat().st_size <= self._at:  # nothing new; an empty file could not be mapped
                return found
            with pa.memory_map(str(self._path)) as file:
                file.seek(self._at)
                while True:
                    message = pa.ipc.read_message(file)
                    if self._schema is None:
                        self._schema = pa.ipc.read_schema(message)
                    else:
                        found.append(pa.ipc.read_record_batch(message, self._schema))
                    self._at = file.tell()
        except (EOFError, pa.ArrowInvalid, OSError):
            return found  # the end of the stream, or of what has been written of it
