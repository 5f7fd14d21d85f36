"""The application. The list of runs is there at once, the other pages when they are loaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.staticfiles import StaticFiles

from harness.dashboard import loading, login, vega
from harness.dashboard.comparing import Comparisons
from harness.dashboard.concluding import Concluding
from harness.dashboard.failures import answer_failures
from harness.dashboard.listing import Listing
from harness.dashboard.pages import runs
from harness.dashboard.rendering import theme
from harness.dashboard.security import Guard
from harness.dashboard.settings import Settings

STATIC = Path(__file__).parent / "static"


def create_app(settings: Settings) -> FastAPI:
    """The dashboard over `settings.runs`."""
    app = FastAPI(title="harness", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    app.state.settings = settings
    app.state.listing = Listing(settings.runs)
    app.state.comparisons = Comparisons()
    app.state.concluding = Concluding()
    answer_failures(app)
    app.add_middleware(loading.Patience, owner=app)
    app.add_middleware(Guard, settings=settings)  # around everything
    for router in (runs.router, login.router, vega.router):
        app.include_router(router)
    app.add_api_route("/static/theme.css", _theme)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncExitStack() as pages:
        app.state.loading = asyncio.create_task(_load(app, pages))
        yield
        app.state.comparisons.close()
        app.state.concluding.close()
        with suppress(Exception):  # who asked for a page was told
            await app.state.loading


async def _load(app: FastAPI, pages: AsyncExitStack) -> None:
    await loading.load(app, pages)
    vega.make_ahead()


def _theme() -> Response:
    return Response(theme(), media_type="text/css", headers={"Cache-Control": "no-cache"})
