"""Sample chunks on their way from a worker to the master: bytes of an Arrow stream, in order, each piece once.

A piece is kept until the master has written it. After a broken connection the master asks again from the first piece
it misses: a hole in the stream would make everything behind it unreadable.
"""

from __future__ import annotations

import errno
import io
from collections import deque
from collections.abc import Callable
from pathlib import Path

from harness.load.shipping import PIECE_BYTES

UNTAKEN_BYTES = 64 << 20

Send = Callable[[int, bytes], None]


class ChunkSink(io.RawIOBase):
    """What a worker's recorder writes into; `send(number, piece)` is called at each flush."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send
        self._buffer = bytearray()
        self._untaken: deque[tuple[int, bytes]] = deque()
        self._next = 0
        self.untaken_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: object, /) -> int:
        """Keep bytes for the next flush. Raises OSError when the master has not taken the last ones for long."""
        content = memoryview(piece)  # type: ignore[arg-type]  # anything with a buffer
        if self.untaken_bytes + len(self._buffer) + content.nbytes > UNTAKEN_BYTES:
            raise OSError(errno.ENOBUFS, "the master does not take them")
        self._buffer += content
        return content.nbytes

    def flush(self) -> None:
        """Send what was written since the last flush."""
        while self._buffer:
            piece = bytes(self._buffer[:PIECE_BYTES])
            del self._buffer[:PIECE_BYTES]
            number, self._next = self._next, self._next + 1
            self._untaken.append((number, piece))
            self.untaken_bytes += len(piece)
            self._send(number, piece)

    def taken(self, below: int) -> None:
        """The master has written the pieces with a number below `below`."""
        while self._untaken and self._untaken[0][0] < below:
            self.untaken_bytes -= len(self._untaken.popleft()[1])

    def send_again(self) -> None:
        """Send all that was not taken, oldest first."""
        for number, piece in list(self._untaken):
            self._send(number, piece)


class ChunkFile:
    """The master's copy of one worker's chunk file. `failure` says why it cannot be written any more."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.next = 0
        self.failure: str | None = None

    def take(self, number: object, piece: object) -> int:
        """Write a piece if it is the next one. The number of the piece to come next."""
        if number == self.next and isinstance(piece, bytes) and not self._file.closed:
            self.next += 1
            try:
                if self.failure is None:
                    self._file.write(piece)
                    self._file.flush()
            except OSError as error:  # later pieces would stand behind a hole
                self.failure = (error.strerror or str(error)).lower()
        return self.next

    def close(self) -> None:
        """A second call does nothing."""
        try:
            self._file.close()
        except OSError as error:
            self.failure = self.failure or (error.strerror or str(error)).lower()
