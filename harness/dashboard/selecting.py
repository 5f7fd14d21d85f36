"""The columns of runs in memory, as selections are made from them: of the runs that were looked at last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from fastapi import FastAPI

from harness.analysis.selection import Columns, Selected, Selection, describe, mask
from harness.analysis.selection import Flags as Flags
from harness.dashboard.selecting_columns import read
from harness.stored_run import StoredRun

RUNS_KEPT = 2
ANSWERS_KEPT = 8
"""Selections of a run: pages of the table, its order and its CSV belong to the same one."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(eq=False)
class Held:
    """One run: its columns, and what was made of them."""

    columns: Columns
    _selected: OrderedDict[Selection, tuple[Flags, Selected]] = field(default_factory=OrderedDict)
    _drawings: OrderedDict[str, object] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def selected(self, selection: Selection) -> tuple[Flags, Selected]:
        """Which requests are selected, and what is said of them."""

        def made() -> tuple[Flags, Selected]:
            found = mask(self.columns, selection)
            return found, describe(self.columns, selection, found)

        with self._lock:
            return _kept(self._selected, selection, made, ANSWERS_KEPT)

    def drawn(self, name: str, make: Callable[[Columns], object]) -> object:
        """A drawing of the columns, made once."""
        with self._lock:
            return _kept(self._drawings, name, lambda: make(self.columns), 4)


class Shelf:
    """The runs that were looked at last. Each is read once, whoever asks at the same time."""

    def __init__(self, kept: int = RUNS_KEPT) -> None:
        self._kept = kept
        self._held: OrderedDict[tuple[str, tuple[int, ...]], Held] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, run: StoredRun) -> Held:
        """A run as it is on disk now. Raises RunFolderError."""
        key = (str(run.folder.path), run.stamp)
        with self._lock:
            for stale in [k for k in self._held if k[0] == key[0] and k != key]:
                del self._held[stale]
            if key not in self._held and len(self._held) >= self._kept:
                self._held.popitem(last=False)  # before the next one is read: both would be too much
            return _kept(self._held, key, lambda: Held(read(run.folder)), self._kept)


def _kept(known: OrderedDict[_Key, _Value], key: _Key, make: Callable[[], _Value], most: int) -> _Value:
    """What is known by that key, else made; the one asked for longest ago goes."""
    if key not in known:
        known[key] = make()
    known.move_to_end(key)
    while len(known) > most:
        known.popitem(last=False)
    return known[key]


_making = threading.Lock()


def shelf_of(app: FastAPI) -> Shelf:
    """The one of the application."""
    with _making:
        if not hasattr(app.state, "shelf"):
            app.state.shelf = Shelf()
        found: Shelf = app.state.shelf
        return found
