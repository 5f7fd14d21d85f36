"""Files of OTLP as JSON lines, as the OpenTelemetry Collector's file exporter writes them: one TracesData a line.

The format is stable in its content and says nothing about order; lines of metrics and logs may stand between. A file
that is still written ends in half a line, a rotated one goes on under another name: files are told apart by what they
are, not by what they are called.
"""

from __future__ import annotations

import glob
import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from harness.spans.bodies import LIMIT_BYTES
from harness.spans.otlp import MalformedBody, SpanRow, decode
from harness.spans.stored import JSON, check_parts

_TRACES = b'"resourceSpans"'
_PREFIX = 8
_PIECE_BYTES = 1 << 20  # of what is read at once; a zipped piece may be a thousand times as much
_ZIPPED_PIECE_BYTES = 1 << 16


@dataclass(slots=True)
class Counted:
    """What was seen so far: `lines` with spans in them, lines and spans that could not be used.

    `unreadable` are those of `unusable` that are no OTLP in JSON at all, or a file that could not be read.
    """

    files: int = 0
    lines: int = 0
    unusable: int = 0
    unreadable: int = 0
    skipped: set[str] = field(default_factory=set)  # paths that name no file that can be read

    def broken(self) -> None:
        """Count something that could not be read."""
        self.unusable += 1
        self.unreadable += 1


class _TimeIsOver(Exception):  # noqa: N818 - reads as what happened
    """There is no more time to read."""


class _Watched(io.RawIOBase):
    """A file that asks `over` before each piece: a line, or what a zipped piece inflates to, may have no end."""

    def __init__(self, raw: io.FileIO, over: Callable[[], bool]) -> None:
        self._raw, self._over = raw, over

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, at: int, whence: int = io.SEEK_SET) -> int:
        return self._raw.seek(at, whence)

    def readinto(self, buffer: Any) -> int | None:
        if self._over():
            raise _TimeIsOver
        return self._raw.readinto(buffer)


def read_lines(lines: Iterable[bytes], counted: Counted, prefixes: frozenset[bytes] | None = None) -> Iterator[SpanRow]:
    """The spans of complete lines. With `prefixes`, only lines that hold one of them are looked into."""
    for line in lines:
        text = line.strip()
        if not text:
            continue
        if _TRACES not in text:
            if text[:1] != b"{":  # else metrics or logs
                counted.broken()
            continue
        counted.lines += 1
        if prefixes is None or any(prefix in text for prefix in prefixes):
            try:
                check_parts(text)
                decoded = decode(text, JSON)
            except MalformedBody:
                counted.broken()
                continue
            counted.unusable += decoded.rejected
            yield from decoded.rows


def prefixes_of(trace_ids: Iterable[str]) -> frozenset[bytes] | None:
    """What all lines with these traces hold: the digits that name the run. None when there are many of them."""
    found = frozenset(trace_id[:_PREFIX].encode() for trace_id in trace_ids)
    return found if len(found) <= 4 else None


@dataclass(slots=True)
class Files:
    """The files that a path or a glob names; each look gives the lines that were added since the one before."""

    pattern: str
    over: Callable[[], bool] = lambda: False
    """Whether there is no more time: asked again and again while reading."""
    counted: Counted = field(default_factory=Counted)
    _read: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)  # file -> (its size, bytes read of it)

    def new_lines(self) -> Iterator[bytes]:
        """Complete lines, until `over`; the rest of a file that cannot be read is counted as one unreadable line."""
        paths = [self.pattern] if os.path.isfile(self.pattern) else sorted(glob.iglob(self.pattern))
        self.counted.files = 0
        for path in paths:
            zipped = path.endswith(".gz")
            raw = self._opened(path)
            if raw is None:
                continue
            piece_bytes = _ZIPPED_PIECE_BYTES if zipped else _PIECE_BYTES
            try:
                with raw, io.BufferedReader(_Watched(raw, self.over), piece_bytes) as file:
                    self.counted.files += 1
                    yield from self._added(file, os.fstat(raw.fileno()), zipped)
            except _TimeIsOver:
                return
            except EOFError:  # a gzip file that is still written
                continue
            except (OSError, zlib.error):
                self.counted.broken()

    def _opened(self, path: str) -> io.FileIO | None:
        """A regular file; whatever else has this name may block, have no end, or do something when it is opened."""
        try:
            if stat.S_ISREG(os.stat(path).st_mode):
                raw = io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
                if stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
                    return raw
                raw.close()
        except OSError:
            pass
        self.counted.skipped.add(path)
        return None

    def _added(self, file: IO[bytes], now: os.stat_result, zipped: bool) -> Iterator[bytes]:
        """The complete lines that were not read yet. Where reading of a zipped file goes on is counted inflated."""
        key = (now.st_dev, now.st_ino)
        size, at = self._read.get(key, (0, 0))
        if now.st_size == size:
            return
        if now.st_size < size:  # emptied and written again
            at = 0
        plain: IO[bytes] = gzip.GzipFile(fileobj=file) if zipped else file  # type: ignore[assignment]
        plain.seek(at, io.SEEK_SET)
        while line := plain.readline(LIMIT_BYTES + 1):
            if not line.endswith(b"\n"):
                if len(line) <= LIMIT_BYTES:
                    break  # half a line, so far
                self.counted.broken()
                at += len(line) + _skip_line(plain)
                continue
            at += len(line)
            self._read[key] = (at if not zipped else 0, at)
            yield line
        if line and _is_whole(line):  # the last line of a file that somebody else ended
            at += len(line)
            yield line
        self._read[key] = (now.st_size, at)


def _skip_line(file: IO[bytes]) -> int:
    """Pass over the rest of a line that is too long. Returns its length in bytes."""
    skipped = 0
    while piece := file.readline(1 << 20):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


def _is_whole(line: bytes) -> bool:
    try:
        decode(line, JSON)
    except MalformedBody:
        return False
    return True
