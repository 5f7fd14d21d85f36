"""What went wrong, as an answer: JSON for the API, a page for people; one sentence and what to do."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from harness.dashboard.library import NoSuchRequest, run_names
from harness.dashboard.rendering import NAVIGATION, page
from harness.errors import HarnessError, RunFolderError, nearest

_NOT_FOUND, _BAD_REQUEST, _OWN_FAULT = 404, 400, 500


def answer_failures(app: FastAPI) -> None:
    """Every failure of a request is told in the same form."""
    app.add_exception_handler(HarnessError, _of_user)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_exception_handler(HTTPException, _of_address)


def told(request: Request, status: int, error: str, hint: str | None, title: str | None = None) -> Response:
    """The failure for who asks: a script gets JSON, a person a page."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": error, "hint": hint}, status)
    return page(request, "error.html.j2", status, title=title or "This did not work", error=error, hint=hint)


def _of_user(request: Request, error: Exception) -> Response:
    assert isinstance(error, HarnessError)  # noqa: S101 - registered for it only
    missing = isinstance(error, RunFolderError)
    title = "This run cannot be shown" if missing else None
    if isinstance(error, NoSuchRequest):
        title = "There is no such request"
    return told(request, _NOT_FOUND if missing else _BAD_REQUEST, error.message, error.hint, title)


def _of_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it only
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    return told(request, _BAD_REQUEST, f"{where}: {str(first['msg']).lower()}", "correct the address, or begin at /")


def _of_address(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it only
    if error.status_code != _NOT_FOUND:
        return told(request, error.status_code, str(error.detail).lower(), None)
    path = request.url.path
    title = "There is no such page"
    return told(request, _NOT_FOUND, f"there is nothing at {path[:120]}", _nearest_address(request, path), title)


def told_of_ours(request: Request) -> Response:
    hint = "the terminal of `harness ui` has the details; the other pages still work"
    answer = told(request, _OWN_FAULT, "this is a mistake of the dashboard", hint)
    answer.headers["Connection"] = "close"  # the server does so after a mistake: nobody should send on it again
    return answer


def _nearest_address(request: Request, path: str) -> str:
    if path.startswith(("/runs/", "/api/runs/")):
        return nearest(path.split("/runs/", 1)[1].split("/")[0], run_names(request.app.state.settings.runs)[:500])
    return nearest(path, [place.path for place in NAVIGATION])
