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
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

from harness.spans.bodies import LIMIT_BYTES
from harness.spans.otlp import Decoded, MalformedBody, SpanRow, decode
from harness.spans.stored import JSON

_TRACES = b'"resourceSpans"'
_PREFIX = 8


@dataclass(slots=True)
class Counted:
    """What was seen so far: `lines` with spans in them, lines and spans that could not be read."""

    files: int = 0
    lines: int = 0
    unusable: int = 0


def read_lines(lines: Iterable[bytes], counted: Counted, prefixes: frozenset[bytes] | None = None) -> Iterator[SpanRow]:
    """The spans of complete lines. With `prefixes`, only lines that hold one of them are looked into."""
    for line in lines:
        text = line.strip()
        if not text:
            continue
        if _TRACES not in text:
            counted.unusable += text[:1] != b"{"  # else metrics or logs
            continue
        counted.lines += 1
        if prefixes is None or any(prefix in text for prefix in prefixes):
            try:
                decoded = decode(text, JSON)
            except MalformedBody:
                decoded = Decoded([], 1)
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
    counted: Counted = field(default_factory=Counted)
    _read: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)  # file -> (its size, bytes read of it)

    def new_lines(self) -> Iterator[bytes]:
        """Complete lines; the rest of a file that cannot be read is counted as one unusable line."""
        paths = [self.pattern] if os.path.isfile(self.pattern) else sorted(glob.iglob(self.pattern))
        self.counted.files = 0
        for path in paths:
            try:
                with open(path, "rb") as file:
                    self.counted.files += 1
                    yield from self._added(file, path.endswith(".gz"))
            except (OSError, EOFError, zlib.error) as error:
                if not isinstance(error, EOFError):  # a gzip file that is still written
                    self.counted.unusable += 1

    def _added(self, file: IO[bytes], zipped: bool) -> Iterator[bytes]:
        """The complete lines that were not read yet. Where reading of a zipped file goes on is counted inflated."""
        stat = os.fstat(file.fileno())
        key = (stat.st_dev, stat.st_ino)
        size, at = self._read.get(key, (0, 0))
        if stat.st_size == size:
            return
        if stat.st_size < size:  # emptied and written again
            at = 0
        plain: IO[bytes] = gzip.GzipFile(fileobj=file) if zipped else file  # type: ignore[assignment]
        plain.seek(at, io.SEEK_SET)
        while line := plain.readline(LIMIT_BYTES + 1):
            if not line.endswith(b"\n"):
                if len(line) <= LIMIT_BYTES:
                    break  # half a line, so far
                self.counted.unusable += 1
                at += len(line) + _skip_line(plain)
                continue
            at += len(line)
            self._read[key] = (at if not zipped else 0, at)
            yield line
        if line and _is_whole(line):  # the last line of a file that somebody else ended
            at += len(line)
            yield line
        self._read[key] = (stat.st_size, at)


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
