"""Two runs side by side: at once what their summaries say, and as soon as they are there the differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from harness.comparison import CompareFindings
from harness.dashboard import side_by_side
from harness.dashboard.comparing import Comparisons
from harness.dashboard.drawn import as_json
from harness.dashboard.glance import Glance
from harness.dashboard.library import open_run
from harness.dashboard.listing import Listing
from harness.dashboard.rendering import page
from harness.errors import RunFolderError, UsageError
from harness.report import compare_text
from harness.report.drawings import Drawing, delta_chart, shift_chart
from harness.report.text import visible
from harness.report.verdict_text import verdict_line
from harness.stored_run import StoredRun

router = APIRouter()

MOST_CHOICES = 500
"""Runs that can be chosen from a list; others are named in the address."""
_CHARTS: dict[str, Callable[[CompareFindings], Drawing | None]] = {"shift": shift_chart, "delta": delta_chart}


@dataclass(frozen=True, slots=True)
class Side:
    """One run as the head of the page names it."""

    letter: str
    run_id: str
    line: str
    verdict: str


@router.get("/compare")
def compare(request: Request, a: str = "", b: str = "") -> HTMLResponse:
    """Choose two runs, or see them side by side."""
    listing: Listing = request.app.state.listing
    concluded = [each for each in listing.glances() if each.state == "concluded"][:MOST_CHOICES]
    names = {each.run_id: _named(each) for each in concluded}
    if not a or not b:
        return page(request, "compare.html.j2", choices=names, a=a, b=b, sides=(), found=None, failed=None)
    one, other = _opened(request, a, b)
    found, failed = None, None
    try:
        found = _differences(request, one, other)
    except RunFolderError as error:
        failed = error
    return page(
        request,
        "compare.html.j2",
        choices=names,
        a=a,
        b=b,
        sides=(_side("A", one), _side("B", other)),
        found=found,
        failed=failed,
        unlike=_sentences(found, True),
        beside=_sentences(found, False),
        tables=compare_text.tables(found) if found else side_by_side.tables(one.summary, other.summary),
        charts=[key for key, draw in _CHARTS.items() if found is not None and draw(found) is not None],
        query=urlencode({"a": a, "b": b}),
    )


@router.get("/api/compare")
def state(request: Request, a: str, b: str) -> dict[str, bool]:
    """Whether the differences are there: `ready` also where they cannot be had, which the page then says."""
    one, other = _opened(request, a, b)
    try:
        return {"ready": _differences(request, one, other) is not None}
    except RunFolderError:
        return {"ready": True}


@router.get("/api/compare/charts/{key}")
def chart(request: Request, key: str, a: str, b: str) -> dict[str, object]:
    """One chart of a comparison that is there."""
    draw = _CHARTS.get(key)
    found = _differences(request, *_opened(request, a, b)) if draw is not None else None
    drawing = draw(found) if draw is not None and found is not None else None
    if drawing is None:
        raise UsageError(f"there is no chart '{key[:40]}' of this comparison", f"one of {', '.join(_CHARTS)}")
    return as_json(drawing)


def _named(run: Glance) -> str:
    """A run as an entry of the lists: its id, then what tells it from others of its scenario."""
    parts = (run.run_id, run.label, run.load.partition(", ")[0], run.verdict, ", ".join(run.tags))
    return " · ".join(visible(part, 80) for part in parts if part)


def _opened(request: Request, a: str, b: str) -> tuple[StoredRun, StoredRun]:
    runs = request.app.state.settings.runs
    return open_run(runs, a), open_run(runs, b)


def _differences(request: Request, a: StoredRun, b: StoredRun) -> CompareFindings | None:
    """None while they are computed. Raises RunFolderError."""
    if a.folder.run_id == b.folder.run_id:
        raise RunFolderError("both are the same run", "choose another one to see how two runs differ")
    comparisons: Comparisons = request.app.state.comparisons
    return comparisons.of(a, b)


def _side(letter: str, run: StoredRun) -> Side:
    summary = run.summary
    line = f"{summary.scenario}, {summary.load}, n = {summary.counts.scheduled:,}"
    return Side(letter, run.folder.run_id, line, verdict_line(summary))


def _sentences(found: CompareFindings | None, matters: bool) -> list[str]:
    return [each.sentence for each in found.differences if each.matters is matters] if found else []
