"""The body of a WSGI request: reading it may mean waiting for the network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.instrument.marks import Mark, begin_wait, end_wait, innermost


def has_body(environ: Mapping[str, Any]) -> bool:
    return environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ


class MeasuredInput:
    """`wsgi.input`, with the time that reading takes noted as `upload`. To those who ask it is what it stands for."""

    __slots__ = ("_left", "_root", "_stream")

    def __init__(self, stream: Any, root: Mark, length: str | None = None) -> None:
        self._stream = stream
        self._root = root
        self._left = int(length) if length and length.isdecimal() and len(length) < 20 else None

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._stream)

    def read(self, *args: Any) -> Any:
        return self._waited(self._stream.read, *args)

    def readline(self, *args: Any) -> Any:
        return self._waited(self._stream.readline, *args)

    def readlines(self, *args: Any) -> Any:
        return self._waited(self._stream.readlines, *args)

    def __iter__(self) -> Iterator[Any]:
        lines = iter(self._stream)
        while (line := self._waited(next, lines, b"")) != b"":
            yield line

    def __next__(self) -> Any:
        return self._waited(next, self._stream)

    def __enter__(self) -> MeasuredInput:
        self._stream.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._stream.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)
        if name not in ("readinto", "readinto1", "read1", "readall"):
            return found
        return lambda *args: self._waited(found, *args)

    def _waited(self, read: Callable[..., Any], *args: Any) -> Any:
        if self._root.record.closed:
            return read(*args)
        wait = begin_wait(innermost() or self._root, "upload")
        try:
            piece = read(*args)
        finally:
            end_wait(wait)
        with contextlib.suppress(Exception):
            self._count(piece, wait.end, asked=args)
        return piece

    def _count(self, piece: Any, now: int | None, asked: tuple[Any, ...]) -> None:
        """Note when the last of the body was here: as much as was announced, or nothing more to an open question."""
        if isinstance(piece, list):
            length = sum(map(len, piece))
        else:
            length = piece if isinstance(piece, int) else len(piece or b"")
        if self._left is not None:
            self._left -= length
        ended = self._left <= 0 if self._left is not None else not length and asked != (0,)
        if ended and self._root.record.body_end is None:
            self._root.record.body_end = now
