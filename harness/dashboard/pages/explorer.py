"""The request explorer: a selection of a run's requests beside the rest, and the requests themselves."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import islice

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from harness.analysis.selection import ANSWERED, FAILED, OK, Columns, Selection
from harness.analysis.selection_attributes import Kinds
from harness.analysis.statistics.quantiles import quantile
from harness.dashboard.library import open_run
from harness.dashboard.rendering import page
from harness.dashboard.selecting import Held, shelf_of
from harness.dashboard.selecting_ahead import heatmap_of
from harness.dashboard.selecting_answer import MOST_ROWS, answer, csv_lines, unended
from harness.dashboard.selecting_query import ASCENDING, PHASES, SORTED_BY, View, parse, written
from harness.model import Phase
from harness.report.figures import ms
from harness.report.lines import stage_label
from harness.stored_run import StoredRun

router = APIRouter()

_CHUNK = 2_000  # lines of a CSV file that are sent at once
_MOST_OFFERED = 200  # names, or errors, in a form
_SLOWEST, _TYPICAL = 0.95, (0.45, 0.55)


@router.get("/runs/{run_id}/requests")
def explorer(request: Request, run_id: str) -> Response:
    """The page; what it shows comes from the endpoints below."""
    run, held = _held(request, run_id)
    selection, view = parse(request.query_params)
    columns = held.columns
    return page(
        request,
        "explorer.html.j2",
        run=run,
        run_id=run_id,
        selection=selection,
        query=written(selection, view),
        n=len(columns),
        names=_offered(columns.name),
        errors=[text for text in _offered(columns.outcome) if text != ANSWERED],
        phases=_phases(columns),
        steps=columns.step.texts,
        stages=[(name, stage_label(name)) for name in columns.stage_names],
        sorts=[s for s in SORTED_BY if s in ("latency", "time", *columns.stage_names)],
        view=view,
        shortcuts=held.drawn("shortcuts", functools.partial(_shortcuts, unended=run.summary.counts.censored)),
        unended=unended(run.summary.counts),
        most_rows=MOST_ROWS,
    )


@router.get("/api/runs/{run_id}/requests")
def requests(request: Request, run_id: str) -> Response:
    """What the explorer shows of the selection that the query asks for."""
    run, held = _held(request, run_id)
    selection, view = parse(request.query_params)
    selected, found = held.selected(selection)
    return JSONResponse(answer(held.columns, selection, view, selected, found, run.summary.counts))


@router.get("/api/runs/{run_id}/requests.csv")
def requests_csv(request: Request, run_id: str) -> Response:
    """The selected requests as a file, at most MOST_ROWS."""
    _, held = _held(request, run_id)
    selection, view = parse(request.query_params)
    selected, _ = held.selected(selection)
    headers = {"Content-Disposition": f'attachment; filename="{run_id}-requests.csv"'}
    lines = _together(csv_lines(held.columns, view, selected))
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/api/runs/{run_id}/heatmap")
def heatmap(request: Request, run_id: str) -> Response:
    """Latency over time, to draw a selection on."""
    _, held = _held(request, run_id)
    return JSONResponse(held.drawn("heatmap", heatmap_of))


def _held(request: Request, run_id: str) -> tuple[StoredRun, Held]:
    run = open_run(request.app.state.settings.runs, run_id)
    return run, shelf_of(request.app).of(run)


def _together(lines: Iterator[str]) -> Iterator[str]:
    while chunk := "".join(islice(lines, _CHUNK)):
        yield chunk


# --- what the form offers ----------------------------------------------------------------------------------


def _offered(kinds: Kinds) -> list[str]:
    """The texts that some request has, the most frequent first."""
    counts = np.bincount(kinds.codes[kinds.codes >= 0], minlength=len(kinds.texts))
    return [kinds.texts[i] for i in np.argsort(-counts, kind="stable")[:_MOST_OFFERED].tolist() if counts[i]]


def _phases(columns: Columns) -> list[tuple[str, str]]:
    present = {*_offered(columns.phase), Phase.MEASURE.value}
    return [(value, words) for value, words in PHASES.items() if value in present or value not in set(Phase)]


def _shortcuts(columns: Columns, unended: int) -> list[tuple[str, str, str]]:
    """(words, query, what it is) of selections that are often wanted."""
    measured = columns.phase.equal_to(Phase.MEASURE.value)
    wanted = measured & columns.ok
    latency = columns.latency_s[columns.by_latency[wanted[columns.by_latency]]]
    latency = latency[np.isfinite(latency)]
    found = []
    if len(latency):
        p95, low, high = (quantile(latency, p) for p in (_SLOWEST, *_TYPICAL))
        what = f"answered, {ms(p95, 3)} ms or more: from the p95 on"
        found.append(("Slowest", written(Selection(least_s=p95, outcome=OK, phase=Phase.MEASURE.value)), what))
        what = f"answered, {ms(low, 3)} to {ms(high, 3)} ms: around the p50"
        around = Selection(least_s=low, most_s=high, outcome=OK, phase=Phase.MEASURE.value)
        found.append(("Typical (p50)", written(around, View(order=ASCENDING)), what))
    if unended or not columns.ok.all():
        found.append(("Failed", written(Selection(outcome=FAILED, phase=None)), "of all phases"))
    return found
