"""What a run says of itself while it is on, in live.jsonl of its folder: for those who watch from another process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from harness.errors import Interrupted, RunFolderError
from harness.following.lines import ENDED, FILE, first_line
from harness.load.drive import OnEvent
from harness.run_folder import RunFolder

_EVERY_S = 0.45
"""The load reports twice a second."""
_MUCH_BYTES = 32 << 20
_SPARSE_S = 5.0
"""Between two lines of a file that has grown to `_MUCH_BYTES`: a run of a day."""
_LONGEST = 200  # characters of a text
_MOST_NAMES = 20


@contextmanager
def recording(folder: RunFolder, on_event: OnEvent) -> Iterator[OnEvent]:
    """`on_event`, which also appends what it is told to live.jsonl; a last line says how the run ended."""
    file = _LiveFile(folder)
    ended = "broken"
    try:
        yield file.told_to(on_event)
        ended = _status(folder)
    except Interrupted:
        ended = "interrupted"
        raise
    finally:
        file.end(ended)


class _LiveFile:
    """Appends lines. A disk that is full costs lines, never the run."""

    def __init__(self, folder: RunFolder) -> None:
        self._fd: int | None = None
        self._torn = False  # the last line may be there in part
        self._bytes = 0
        self._written_at = -_SPARSE_S
        self._phase: object = None
        with suppress(OSError):
            self._fd = os.open(folder.path / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        with suppress(Exception):  # whatever psutil finds odd about this system
            self._append(first_line(folder.run_id, time.time_ns()))

    def told_to(self, on_event: OnEvent) -> OnEvent:
        def told(event: Mapping[str, object]) -> None:
            self._take(event)
            on_event(event)

        return told

    def _take(self, event: Mapping[str, object]) -> None:
        if "phase" not in event:
            return
        now = time.monotonic()
        every_s = _EVERY_S if self._bytes < _MUCH_BYTES else _SPARSE_S
        if event["phase"] == self._phase and now - self._written_at < every_s:
            return
        self._phase, self._written_at = event["phase"], now
        self._append({"at_ns": time.time_ns(), **{name: _cut(value) for name, value in event.items()}})

    def end(self, phase: str) -> None:
        """The last line."""
        if self._fd is None:
            return
        self._append({"at_ns": time.time_ns(), "phase": phase})
        with suppress(OSError):
            os.close(self._fd)
        self._fd = None

    def _append(self, line: Mapping[str, object]) -> None:
        if self._fd is None:
            return
        text = ("\n" if self._torn else "") + json.dumps(line, separators=(",", ":"), default=str) + "\n"
        try:
            written = os.write(self._fd, text.encode())
        except OSError:
            return
        self._bytes += written
        self._torn = written < len(text)


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_LONGEST]
    if isinstance(value, Mapping):
        return {str(name)[:_LONGEST]: _cut(inner) for name, inner in list(value.items())[:_MOST_NAMES]}
    if isinstance(value, list | tuple):
        return [_cut(inner) for inner in value[:_MOST_NAMES]]
    return value


def _status(folder: RunFolder) -> str:
    """How run.json says it ended; a full disk may have kept that from being written."""
    try:
        status = folder.read_json("run.json")["status"]
    except (RunFolderError, KeyError, TypeError):
        return "finished"
    return status if status in ENDED else "finished"
