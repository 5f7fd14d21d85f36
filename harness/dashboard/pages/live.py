"""What is on now, and a form that starts more of it."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.dashboard.control import Control, Unconfirmed
from harness.dashboard.library import RUN_NAME, path_of
from harness.dashboard.rendering import page
from harness.dashboard.starting import LONGEST, Ready, Wanted, choices, ready
from harness.dashboard.watching import Watching
from harness.errors import HarnessError
from harness.following import is_on, process_of, running
from harness.model import STAGES, Scenario
from harness.record import validated
from harness.report.charts import live_specs
from harness.report.lines import stage_label
from harness.run_folder import RunFolder
from harness.scenario import plan

_CONFIRM = 409
_LEGEND = [(stage, stage_label(stage)) for stage in ("backlog", "transfer", *STAGES[1:])]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.control = Control(app.state.settings)
    app.state.watching = Watching()
    yield
    app.state.watching.close()
    await anyio.to_thread.run_sync(app.state.control.close)


router = APIRouter(lifespan=_lifespan)

_Text = Annotated[str, Field(max_length=LONGEST)]


class StartForm(BaseModel):
    """What the form sends. Fields as typed; `confirmed`: the plan for another host was shown and accepted."""

    model_config = ConfigDict(extra="forbid", strict=True)

    scenario: _Text
    target: _Text = ""
    rate: _Text = ""
    users: _Text = ""
    duration: _Text = ""
    warmup: _Text = ""
    confirmed: bool = False

    @property
    def wanted(self) -> Wanted:
        return Wanted(**self.model_dump(exclude={"confirmed"}))


@router.get("/live")
def show(request: Request, scenario: str = "") -> HTMLResponse:
    """What is on, and the form."""
    settings = request.app.state.settings
    found = choices(settings.scenarios)
    starting = request.app.state.control.starting
    on = [folder.name for folder in running(settings.runs) if RUN_NAME.fullmatch(folder.name)]
    return page(request, "live.html.j2", on=on, starting=starting, choices=found, chosen=scenario[:LONGEST])


@router.get("/live/{run_id}")
def show_run(request: Request, run_id: str) -> Response:
    """One run that is on; one that has ended is shown on its own page."""
    path = path_of(request.app.state.settings.runs, run_id)
    on = is_on(path)
    if not on and (path / "summary.json").is_file():
        return RedirectResponse(f"/runs/{run_id}", 303)
    own = request.app.state.control.run_id == run_id
    pid = process_of(path) if on else None
    head = _head(RunFolder(path))
    return page(request, "live_run.html.j2", run_id=run_id, head=head, own=own, pid=pid, legend=_LEGEND)


@dataclass(frozen=True, slots=True)
class Head:
    """What a run is about: its scenario, its load in a line, and where that goes."""

    scenario: str
    load: str
    target: str


def _head(folder: RunFolder) -> Head | None:
    """None while run.json cannot be read."""
    try:
        record = validated(folder.read_json("run.json"), folder.run_json)
        scenario = TypeAdapter(Scenario).validate_python(record["plan"])
        return Head(scenario.name, plan(scenario).load, scenario.target)
    except (HarnessError, ValidationError):
        return None


@router.get("/api/live/charts")
def charts() -> Response:
    """The specifications of the live charts by key; see harness.report.charts.live."""
    return Response(_charts(), media_type="application/json", headers={"Cache-Control": "no-cache"})


@functools.cache
def _charts() -> str:
    return json.dumps(live_specs())


@router.get("/api/live/{run_id}/events")
async def events(request: Request, run_id: str) -> StreamingResponse:
    """Server-sent events: "past" first, a "frame" a second, "over" at the end."""
    folder = RunFolder(path_of(request.app.state.settings.runs, run_id))
    lines = _lines(request.app.state.watching, request.app.state.control, folder)
    return StreamingResponse(lines, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _lines(watching: Watching, control: Control, folder: RunFolder) -> AsyncGenerator[str, None]:
    yield "retry: 2000\n\n"
    async with aclosing(watching.events(folder)) as found:
        async for event in found:
            if event is None:
                yield ": still here\n\n"
                continue
            name, content = event
            if name == "past":
                content = content | {"own": control.run_id == folder.run_id}
            if name == "over":
                content = content | await anyio.to_thread.run_sync(_after, folder, control)
            yield f"event: {name}\ndata: {json.dumps(content, allow_nan=False)}\n\n"


def _after(folder: RunFolder, control: Control) -> dict[str, Any]:
    """Where to go when a run is over; what it said, where nothing was concluded."""
    there = folder.summary_json.is_file()
    said = None if there else control.said(folder.run_id)
    return {"url": f"/runs/{folder.run_id}" if there else None, "said": said}


@router.post("/api/runs/plan")
def show_plan(request: Request, form: StartForm) -> dict[str, Any]:
    """What the form would do, without doing it: {"line", "host"}; of one that is not finished {"error", "hint"}."""
    try:
        return _plan(ready(request.app.state.settings.scenarios, form.wanted))
    except HarnessError as error:  # asked while somebody types: an answer like any other
        return {"error": error.message, "hint": error.hint}


@router.post("/api/runs")
def start(request: Request, form: StartForm) -> Response:
    """Start a run: {"run_id", "url"}. Before another host, 409 with the plan to be confirmed. Raises HarnessError."""
    try:
        run_id = request.app.state.control.start(form.wanted, form.confirmed)
    except Unconfirmed as error:
        content = {"error": error.message, "hint": error.hint, "confirm": _plan(error.plan)}
        return JSONResponse(content, _CONFIRM)
    return JSONResponse({"run_id": run_id, "url": f"/live/{run_id}"}, 201)


@router.post("/api/runs/{run_id}/stop")
def stop(request: Request, run_id: str) -> dict[str, int]:
    """End a run that was started here: {"asked": how often it was}. Raises HarnessError."""
    path_of(request.app.state.settings.runs, run_id)
    return {"asked": request.app.state.control.stop(run_id)}


def _plan(found: Ready) -> dict[str, Any]:
    return {"line": found.line, "host": found.elsewhere}
