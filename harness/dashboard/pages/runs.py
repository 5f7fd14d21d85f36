"""The list of runs: what there is, how it developed, two to compare."""

from __future__ import annotations

import asyncio
import math
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse

from harness.dashboard.concluding import Concluding
from harness.dashboard.content import content_of
from harness.dashboard.glance import Glance
from harness.dashboard.library import path_of
from harness.dashboard.listing import Listing, matching, text_of
from harness.dashboard.rendering import page
from harness.dashboard.trends import HEIGHT, WIDTH, trends
from harness.report.figures import decimals_for, ms
from harness.report.history_text import when, without_seed
from harness.run_folder import RunFolder
from harness.tags import checked, write_tags

router = APIRouter()
_TAGGING = asyncio.Lock()
"""Two that write the same file at a time would take it from under each other."""

A_PAGE = 1000
"""Rows that are sent at a time; the browser shows some of them, and searches and sorts all."""


@router.get("/")
def runs(request: Request, q: str = "", at: int = 1) -> HTMLResponse:
    """The runs, newest first; `q` are words to search for, `at` the page of the list."""
    listing: Listing = request.app.state.listing
    everything = listing.glances()
    found = matching(everything, q[:200])
    pages = max(1, math.ceil(len(found) / A_PAGE))
    at = min(max(at, 1), pages)
    return page(
        request,
        "runs.html.j2",
        runs=[_row(each) for each in found[(at - 1) * A_PAGE : at * A_PAGE]],
        total=len(everything),
        found=len(found),
        q=q[:200],
        at=at,
        pages=pages,
        trends=trends(everything),
        line_box=f"0 0 {WIDTH:g} {HEIGHT:g}",
    )


def _row(run: Glance) -> dict[str, Any]:
    """The run and its figures as the table shows them."""
    return {
        "run": run,
        "when": "–" if run.started_ns is None else when(run.started_ns),
        "load": without_seed(run.load),
        "p50": _figure(run.p50_s, run.refusals[0]),
        "p95": _figure(run.p95_s, run.refusals[1]),
        "text": text_of(run),
    }


def _figure(seconds: float | None, refusal: str | None) -> tuple[str, str | None]:
    """A percentile as the table shows it, and why it is none."""
    if seconds is not None and math.isinf(seconds):
        return "failed", "it lies among the requests that failed or were never answered: slower than any answer"
    return ms(seconds, decimals_for(seconds)), refusal if seconds is None else None


@router.post("/api/runs/{run_id}/tags")
async def change_tags(request: Request, run_id: str) -> JSONResponse:
    """Replace the tags of a run: {"tags": [...]} -> those that are kept."""
    path = path_of(request.app.state.settings.runs, run_id)
    content = await content_of(request)
    wanted = checked(content.get("tags"))
    async with _TAGGING:
        kept = await run_in_threadpool(write_tags, RunFolder(path), wanted)
    return JSONResponse({"tags": list(kept)})


@router.post("/api/runs/{run_id}/conclude")
def conclude(request: Request, run_id: str) -> JSONResponse:
    """Begin to conclude a run that was killed."""
    concluding: Concluding = request.app.state.concluding
    return JSONResponse(asdict(concluding.start(path_of(request.app.state.settings.runs, run_id))), 202)


@router.get("/api/runs/{run_id}/conclude")
def concluded(request: Request, run_id: str) -> JSONResponse:
    """How far that is."""
    concluding: Concluding = request.app.state.concluding
    found = concluding.of(path_of(request.app.state.settings.runs, run_id).name)
    return JSONResponse(asdict(found) if found is not None else {"state": "none", "error": None, "hint": None})
