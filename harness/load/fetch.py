"""A worker gets files from its master, piece by piece, a few asks ahead."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from harness.errors import UsageError
from harness.load.shipping import PIECE_BYTES, Shipped, digest

_AHEAD = 8

Ask = Callable[[str, int], None]


def fetch(wanted: Sequence[Shipped], at: Mapping[str, str], ask: Ask, answer: Callable[[], Mapping[str, Any]]) -> None:
    """Write each file to its place `at`. `ask(path, offset)` is answered in order by what `answer()` gives:
    {"path", "offset", "piece"}. Raises UsageError when a file does not arrive as announced."""
    asked, due = _pieces(wanted), _pieces(wanted)
    for _ in range(_AHEAD):
        _ask_next(asked, ask)
    target: IO[bytes] | None = None
    try:
        for file, offset in due:
            if offset == 0:
                target = _opened(at[file.path], target)
            reply = answer()
            piece = reply.get("piece")
            if (reply.get("path"), reply.get("offset")) != (file.path, offset) or not isinstance(piece, bytes):
                raise UsageError(f"{file.path} did not arrive as announced")
            assert target is not None  # noqa: S101 - the first piece of a file has offset 0
            target.write(piece)
            _ask_next(asked, ask)
    finally:
        if target is not None:
            target.close()
    for file in wanted:
        if digest(at[file.path]) != file.sha256:
            raise UsageError(f"{file.path} did not arrive as announced", "did it change while the run began?")


def _pieces(wanted: Sequence[Shipped]) -> Iterator[tuple[Shipped, int]]:
    return ((file, offset) for file in wanted for offset in range(0, max(1, file.size), PIECE_BYTES))


def _ask_next(asked: Iterator[tuple[Shipped, int]], ask: Ask) -> None:
    following = next(asked, None)
    if following is not None:
        ask(following[0].path, following[1])


def _opened(path: str, before: IO[bytes] | None) -> IO[bytes]:
    if before is not None:
        before.close()
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    return open(path, "wb")
