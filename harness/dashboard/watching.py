"""Runs that are watched: one follower for all who watch a run, polled once a second while somebody does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio.to_thread

from harness.dashboard.told import told
from harness.errors import HarnessError
from harness.following import Follower, history
from harness.run_folder import RunFolder

EVERY_S = 1.0
MOST_POINTS = 600
_BEAT_S = 10.0
_LEFT_ALONE_S = 5.0  # a page that is loaded again comes back sooner
_WATCHED_AT_ONCE = 20  # runs

Event = tuple[str, dict[str, Any]]


class Watching:
    """The runs that are watched now, by their folders. Lives in the event loop."""

    def __init__(self) -> None:
        self._watched: dict[Path, _Watched] = {}

    async def events(self, folder: RunFolder) -> AsyncGenerator[Event | None, None]:
        """What a watcher is told: ("past", ...) first, then a ("frame", ...) a second, then ("over", ...); None is a
        sign of life in between. Raises HarnessError."""
        watched = self._watched.get(folder.path)
        if watched is None or watched.ended:
            if len(self._watched) >= _WATCHED_AT_ONCE:
                self._forget()
            watched = self._watched[folder.path] = _Watched(folder)
        async with aclosing(watched.events()) as events:
            async for event in events:
                yield event
        self._forget()

    def close(self) -> None:
        """Send everyone home."""
        for watched in self._watched.values():
            watched.end()

    def _forget(self) -> None:
        self._watched = {path: each for path, each in self._watched.items() if not each.ended}


class _Watched:
    """One run."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._frames: deque[dict[str, Any]] = deque(maxlen=MOST_POINTS)
        self._count = 0  # of frames
        self._changed = asyncio.Event()
        self._watchers = 0
        self._over: dict[str, Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self.ended = False

    async def events(self) -> AsyncGenerator[Event | None, None]:
        self._watchers += 1
        try:
            self._task = self._task or asyncio.create_task(self._follow())
            while not self._frames and not self.ended:
                await self._wait()
            past = [asdict(point) for point in await anyio.to_thread.run_sync(history, self._folder.path)]
            seen = self._count
            yield "past", {"points": past, "frames": list(self._frames)}
            while not self.ended:
                if seen == self._count and not await self._wait():
                    yield None
                if seen < self._count:
                    seen = self._count
                    yield "frame", self._frames[-1]
            if self._over is not None:
                yield "over", self._over
        finally:
            self._watchers -= 1

    async def _wait(self) -> bool:
        try:
            await asyncio.wait_for(self._changed.wait(), _BEAT_S)
        except TimeoutError:
            return False
        return True

    async def _follow(self) -> None:
        alone_since: float | None = None
        try:
            follower = await anyio.to_thread.run_sync(Follower, self._folder)
            while not self.ended:
                began = time.monotonic()
                seen = await anyio.to_thread.run_sync(follower.poll)
                self._tell(told(seen.frame))
                if seen.over:
                    self._over = {"phase": seen.frame.phase}
                    return
                alone_since = None if self._watchers else alone_since or time.monotonic()
                if alone_since is not None and time.monotonic() - alone_since > _LEFT_ALONE_S:
                    return
                await asyncio.sleep(max(0.05, EVERY_S - (time.monotonic() - began)))
        except HarnessError as error:
            self._over = {"phase": "broken", "error": error.message, "hint": error.hint}
        except Exception:  # a page that is told nothing comes back every other second, for ever
            logging.getLogger(__name__).exception("%s cannot be watched", self._folder.path)
            self._over = {"phase": "unknown", "error": "this run cannot be watched: a mistake of the dashboard"}
        finally:
            self.end()

    def _tell(self, frame: dict[str, Any]) -> None:
        self._frames.append(frame)
        self._count += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def end(self) -> None:
        """No more events."""
        self.ended = True
        self._changed.set()
