"""Runs that are on, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from harness.metrics.prometheus import exposition_of

router = APIRouter()


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """The exposition, in the form that the scraper asks for."""
    body, media_type = exposition_of(request.app.state.settings.runs, request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": media_type})
