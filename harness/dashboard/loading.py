"""Pages that take seconds to import: the list of runs is answered meanwhile, and who asks for another one waits."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import AsyncExitStack
from types import ModuleType

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

PAGES = ("live", "explorer", "request", "run", "compare", "capacity", "scraped")
"""In this order: the page of a run has an address for any name below it."""


async def load(app: FastAPI, pages: AsyncExitStack) -> None:
    """Import the other pages in a thread, then answer them. What begins with a page ends with `pages`."""
    for page in await run_in_threadpool(_imported):
        await pages.enter_async_context(page.router.lifespan_context(app))
        app.include_router(page.router)


def _imported() -> list[ModuleType]:
    importlib.import_module("pyarrow.dataset")  # else the first table that is read waits for it
    return [importlib.import_module(f"harness.dashboard.pages.{name}") for name in PAGES]


class Patience:
    """ASGI middleware: an address that nobody answers yet may be one of a page that is being loaded."""

    def __init__(self, app: ASGIApp, owner: FastAPI) -> None:
        self.app = app
        self.owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            loading: asyncio.Task[None] = self.owner.state.loading
            if not loading.done() or loading.exception() is not None:
                await self._wait(loading, scope)
        await self.app(scope, receive, send)

    async def _wait(self, loading: asyncio.Task[None], scope: Scope) -> None:
        """Raises what went wrong with the pages."""
        if not any(route.matches(scope)[0] is Match.FULL for route in self.owner.router.routes):
            await asyncio.shield(loading)
