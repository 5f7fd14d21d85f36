"""The application: its pages, in the order of the navigation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.staticfiles import StaticFiles

from harness.dashboard import login, vega
from harness.dashboard.comparing import Comparisons
from harness.dashboard.concluding import Concluding
from harness.dashboard.failures import answer_failures
from harness.dashboard.listing import Listing
from harness.dashboard.pages import capacity, compare, explorer, live, request, run, runs, scraped
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
    app.add_middleware(Guard, settings=settings)
    for page in (runs, live, explorer, request, run, compare, capacity, scraped):
        app.include_router(page.router)
    for router in (login.router, vega.router):
        app.include_router(router)
    app.add_api_route("/static/theme.css", _theme)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    vega.make_ahead()
    yield
    app.state.comparisons.close()
    app.state.concluding.close()


def _theme() -> Response:
    return Response(theme(), media_type="text/css", headers={"Cache-Control": "no-cache"})
