"""The page of one request: its waterfall, what it is made of, and the same request for other tools."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter

from harness.dashboard.library import NoSuchRequest, open_run
from harness.dashboard.rendering import page
from harness.dashboard.selecting import shelf_of
from harness.dashboard.single import neighbours, position_of, stage_sum, trace_links, transfer_of
from harness.errors import UsageError, nearest
from harness.export import chrome, otlp, speedscope
from harness.export.aligned import onto_client
from harness.export.rows import requests, spans_and_batches
from harness.model import STAGES, Sample, Scenario, columns
from harness.report import waterfall_svg
from harness.report.figures import decimals_for, ms
from harness.report.lines import stage_label
from harness.run_folder import RunFolder
from harness.stored_run import StoredRun
from harness.tables import rows_of
from harness.views import Lane, Waterfall
from harness.waterfall import of_requests

router = APIRouter()

_LARGEST = 2**63
_MOST_BESIDE = 40
_LONGEST_VALUE = 2_000


@router.get("/runs/{run_id}/requests/{request_id}")
def one_request(request: Request, run_id: str, request_id: str) -> Response:
    """The page."""
    run, number = _of(request, run_id, request_id)
    waterfall, scenario = _waterfall(run, number)
    known = shelf_of(request.app).of(run).columns
    at = position_of(known, number)
    transfer_s = None if at is None else transfer_of(known, at, waterfall.split)
    return page(
        request,
        "request.html.j2",
        run=run,
        run_id=run_id,
        w=waterfall,
        drawing=waterfall_svg.render(waterfall, "w"),
        bars=waterfall_svg.table(waterfall),
        latency=ms(waterfall.latency_s, max(1, decimals_for(waterfall.latency_s))),
        stages=stage_sum(waterfall, transfer_s),
        legend=[(s, stage_label(s)) for s in STAGES if any(bar.stage == s for bar in waterfall.bars)],
        spans=_span_rows(waterfall),
        beside=waterfall.beside[:_MOST_BESIDE],
        more_beside=max(0, len(waterfall.beside) - _MOST_BESIDE),
        neighbours=None if at is None else neighbours(known, at),
        links=trace_links(waterfall.trace_id, request.app.state.settings.trace_link, scenario.spans),
        sample=_fields(_row(run.folder, "samples", number)),
        formats=_TITLES,
    )


@router.get("/runs/{run_id}/requests/{request_id}/{wanted}")
def download(request: Request, run_id: str, request_id: str, wanted: str) -> Response:
    """The request as a file of another tool."""
    if wanted not in _WRITTEN:
        raise UsageError(f"'{wanted[:40]}' is no format of a request", nearest(wanted[:40], _WRITTEN))
    run, number = _of(request, run_id, request_id)
    if _row(run.folder, "samples", number) is None:
        raise _absent(number)
    text = _WRITTEN[wanted](run.folder, number)
    ending = "jsonl" if wanted == "otlp" else "json"
    name = f"{run_id}-request-{number}-{wanted}.{ending}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    kind = "application/x-ndjson" if wanted == "otlp" else "application/json"
    return Response(text, media_type=kind, headers=headers)


def _of(request: Request, run_id: str, request_id: str) -> tuple[StoredRun, int]:
    run = open_run(request.app.state.settings.runs, run_id)
    if not (request_id.isascii() and request_id.isdecimal() and len(request_id) <= 19 and int(request_id) < _LARGEST):
        raise NoSuchRequest(f"'{request_id[:40]}' is no number of a request", "see the list of requests of the run")
    return run, int(request_id)


def _absent(number: int) -> NoSuchRequest:
    return NoSuchRequest(f"this run has no request {number}", "see the list of requests of the run")


def _waterfall(run: StoredRun, number: int) -> tuple[Waterfall, Scenario]:
    scenario = TypeAdapter(Scenario).validate_python(run.record["plan"])
    found = of_requests(run.folder, scenario, run.record, [number])
    if not found:
        raise _absent(number)
    return found[0], scenario


def _row(folder: RunFolder, table: str, number: int) -> dict[str, Any] | None:
    rows = rows_of(folder, table, [number])
    if not rows.num_rows:
        return None
    found: dict[str, Any] = rows.slice(0, 1).to_pylist()[0]
    return {name: None if isinstance(value, float) and value != value else value for name, value in found.items()}


# --- parts of the page -------------------------------------------------------------------------------------


def _span_rows(waterfall: Waterfall) -> list[dict[str, Any]]:
    """What the service recorded, in the order of its start."""
    decimals = max(1, decimals_for(waterfall.latency_s))
    return [
        {
            "label": bar.label,
            "depth": min(bar.depth, 8),
            "stage": bar.stage,
            "stage_label": stage_label(bar.stage) if bar.stage else "",
            "begins": ms(bar.from_s, decimals),
            "lasts": ms(bar.until_s - bar.from_s, decimals),
            "span_id": bar.span_id,
            "details": bar.details,
        }
        for bar in waterfall.bars
        if bar.lane is Lane.SERVER and (bar.span_id is not None or bar.details)
    ]


def _fields(sample: dict[str, Any] | None) -> list[tuple[str, str, str]]:
    """(column, value, how long after the scheduled instant) of the client's record, as it is stored."""
    if sample is None:
        return []
    zero = sample["scheduled_ns"]
    found = []
    for name in columns(Sample):
        value = sample.get(name)
        since = f"{ms((value - zero) / 1e9, 3)} ms" if name.endswith("_ns") and value is not None else ""
        found.append((name, "–" if value is None else str(value)[:_LONGEST_VALUE], since))
    return found


# --- files -------------------------------------------------------------------------------------------------


def _chrome(folder: RunFolder, number: int) -> str:
    return chrome.render(folder, [number], onto_client(folder))


def _speedscope(folder: RunFolder, number: int) -> str:
    return speedscope.render(folder, [number], shift=onto_client(folder))


def _otlp(folder: RunFolder, number: int) -> str:
    return "".join(otlp.lines(folder, [number], onto_client(folder)))


def _json(folder: RunFolder, number: int) -> str:
    """Everything that is stored of the request, the spans of its batches with it."""
    sample = _row(folder, "samples", number)
    own, batch = spans_and_batches(folder, requests(folder, [number]))
    found = {
        "sample": sample,
        "ledger": _row(folder, "ledger", number),
        "model_calls": rows_of(folder, "model_calls", [number]).to_pylist(),
        "waits": rows_of(folder, "waits", [number]).to_pylist(),
        "spans": own.to_pylist(),
        "batch_spans": batch.to_pylist(),
    }
    return json.dumps(_finite(found), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """Without numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_WRITTEN: dict[str, Callable[[RunFolder, int], str]] = {
    "chrome": _chrome, "speedscope": _speedscope, "otlp": _otlp, "json": _json,
}  # fmt: skip
_TITLES = (
    ("chrome", "Perfetto", "Chrome trace events: open it in ui.perfetto.dev or chrome://tracing"),
    ("speedscope", "speedscope", "open it in speedscope.app"),
    ("otlp", "OTLP lines", "spans as a collector takes them"),
    ("json", "Raw JSON", "everything that is stored of this request"),
)
