"""The body of a WSGI request: reading it may mean waiting for the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.instrument.marks import Mark, begin_wait, end_wait, innermost


def has_body(environ: Mapping[str, Any]) -> bool:
    return environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ


class MeasuredInput:
    """`wsgi.input`, with the time that reading takes noted as `upload`."""

    __slots__ = ("_root", "_stream")

    def __init__(self, stream: Any, root: Mark) -> None:
        self._stream = stream
        self._root = root

    def read(self, *args: Any) -> Any:
        return self._waited(self._stream.read, *args)

    def readline(self, *args: Any) -> Any:
        return self._waited(self._stream.readline, *args)

    def readlines(self, *args: Any) -> Any:
        return self._waited(self._stream.readlines, *args)

    def __iter__(self) -> Iterator[Any]:
        lines = iter(self._stream)
        missing = object()
        while (line := self._waited(next, lines, missing)) is not missing:
            yield line

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)
        if name not in ("readinto", "read1", "readall"):
            return found
        return lambda *args: self._waited(found, *args)

    def _waited(self, read: Callable[..., Any], *args: Any) -> Any:
        if self._root.record.closed:
            return read(*args)
        wait = begin_wait(innermost() or self._root, "upload")
        try:
            return read(*args)
        finally:
            end_wait(wait)
