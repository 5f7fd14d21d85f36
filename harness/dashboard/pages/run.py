"""The page of a run: what its summary says, in the words of the report, its charts, and the ways on from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from harness.dashboard.drawing_runs import LONGEST_SLO, drawn_chart
from harness.dashboard.glance import Glance
from harness.dashboard.library import open_run, path_of
from harness.dashboard.listing import Listing
from harness.dashboard.rendering import page
from harness.dashboard.selecting_ahead import read_ahead
from harness.errors import RunFolderError
from harness.following import is_on
from harness.report import html
from harness.report.drawings import KEYS
from harness.slo import parse_slos
from harness.stored_run import StoredRun
from harness.tags import read_tags

router = APIRouter()


@dataclass(frozen=True, slots=True)
class File:
    """A file of a run folder that may be asked for."""

    name: str
    title: str
    media_type: str
    shown: bool = False  # in the browser, else it is saved


FILES = (
    File("report.html", "report", "text/html", shown=True),
    File("report.md", "Markdown", "text/markdown"),
    File("junit.xml", "JUnit", "application/xml"),
    File("summary.json", "summary.json", "application/json"),
)
_OF_A_REPORT = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""A report needs no script; what a damaged folder has in its place gets none."""
_LARGEST_REPORT = 8 * 1024 * 1024


@router.get("/runs/{run_id}")
def run(request: Request, run_id: str) -> Response:
    runs = request.app.state.settings.runs
    path = path_of(runs, run_id)
    if not (path / "summary.json").exists() and is_on(path):
        return RedirectResponse(f"/live/{run_id}", 303)
    stored = open_run(runs, run_id)
    summary = stored.summary
    context: dict[str, Any] = {
        **html.context(summary),
        "run_id": run_id,
        "label": stored.record.get("label"),
        "tags": read_tags(stored.folder),
        "drawings": _drawn_later(stored),
        "files": [file for file in FILES if _is_there(runs, run_id, file)],
        "in_report": _has_flames(runs, run_id),
        "before": _before(request, run_id),
    }
    read_ahead(request.app, stored)
    return page(request, "run.html.j2", **context)


@router.get("/api/runs/{run_id}/charts/{key}")
def chart(request: Request, run_id: str, key: str, slo: Annotated[str, Query(max_length=LONGEST_SLO)] = "") -> Response:
    """{spec, title, label, note, table} of a chart, or {"spec": null}; the load curve with the limits of `slo`."""
    before = _before(request, run_id) if key == "curve" else None
    slos = tuple(each.expression for each in parse_slos(slo)) if slo.strip() else ()
    found = drawn_chart(request.app.state.settings.runs, run_id, key, before.run_id if before else None, slos)
    return Response(found, media_type="application/json")


@router.get("/runs/{run_id}/{name}")
def file(request: Request, run_id: str, name: str) -> Response:
    """A file of the run as it is stored."""
    runs = request.app.state.settings.runs
    wanted = next((each for each in FILES if each.name == name), None)
    if wanted is None or not _is_there(runs, run_id, wanted):
        known = ", ".join(each.name for each in FILES if _is_there(runs, run_id, each))
        raise RunFolderError(f"this run has no '{name[:40]}'", f"it has {known}" if known else "conclude it first")
    path = path_of(runs, run_id) / name
    if wanted.shown:
        return FileResponse(path, media_type=wanted.media_type, headers={"Content-Security-Policy": _OF_A_REPORT})
    return FileResponse(path, media_type=wanted.media_type, filename=f"{run_id}-{name}")


@dataclass(frozen=True, slots=True)
class Later:
    """A chart that the browser fetches from `later` and draws."""

    later: str


def _drawn_later(stored: StoredRun) -> dict[str, Later | None]:
    """The charts that this run may have. One that has nothing to show after all goes when it is fetched."""
    summary, folder = stored.summary, stored.folder
    there = {
        "tail": summary.tail is not None, "contrast": bool(summary.contrasts), "models": bool(summary.models),
        "load": len(summary.steps) > 1, "vitals": folder.vitals.is_file(),
    }  # fmt: skip
    return {
        key: Later(f"/api/runs/{folder.run_id}/charts/{key}") if there.get(key, folder.ledger.is_file()) else None
        for key in KEYS
    }


def _has_flames(runs: Path, run_id: str) -> bool:
    """Whether the stored report has flame graphs, which need more of the run than a page may read."""
    if not _is_there(runs, run_id, FILES[0]):
        return False
    with (path_of(runs, run_id) / FILES[0].name).open("rb") as stored:
        return b'id="flames"' in stored.read(_LARGEST_REPORT)


def _is_there(runs: Path, run_id: str, file: File) -> bool:
    """A file of its own: a link may lead anywhere."""
    path = path_of(runs, run_id) / file.name
    return path.is_file() and not path.is_symlink()


def _before(request: Request, run_id: str) -> Glance | None:
    """The concluded run of the same scenario that came before."""
    listing: Listing = request.app.state.listing
    concluded = [each for each in listing.glances() if each.state == "concluded"]
    own = next((each for each in concluded if each.run_id == run_id), None)
    if own is None:
        return None
    return next((each for each in concluded if each.run_id < run_id and each.scenario == own.scenario), None)
