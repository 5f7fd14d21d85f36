"""The application: its pages, in the order of the navigation."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from harness.dashboard.pages import capacity, compare, explorer, live, request, run, runs
from harness.dashboard.settings import Settings

STATIC = Path(__file__).parent / "static"


def create_app(settings: Settings) -> FastAPI:
    """The dashboard over `settings.runs`."""
    app = FastAPI(title="harness", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.settings = settings
    for page in (runs, live, run, explorer, request, compare, capacity):
        app.include_router(page.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
