"""The login page of a dashboard that others can reach: the token once, as a form, never in an address."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from harness.dashboard import tokens
from harness.dashboard.rendering import page
from harness.dashboard.settings import Settings
from harness.dashboard.tokens import COOKIE, for_cookie, is_token

PATH = "/login"
router = APIRouter()


def login_page(request: Request, wanted: str = "/", status: int = 200, wrong: bool = False) -> Response:
    """`wanted` is where to go afterwards. Nothing on it tells of the runs, or holds the token."""
    answer = page(request, "login.html.j2", status, token="", navigation=(), wanted=_inside(wanted), wrong=wrong)
    answer.headers["Referrer-Policy"] = "same-origin"  # without one, a browser hides the origin of a form, too
    return answer


@router.get(PATH)
async def show(request: Request) -> Response:
    return login_page(request) if request.app.state.settings.guarded else RedirectResponse("/", 303)


@router.post(PATH)
async def log_in(request: Request) -> Response:
    settings: Settings = request.app.state.settings
    form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
    given, wanted = (form.get(name, [""])[0] for name in ("token", "wanted"))
    if not is_token(settings, given.strip()):
        await asyncio.sleep(tokens.WRONG_WAIT_S)
        return login_page(request, wanted, 401, wrong=True)
    answer = RedirectResponse(_inside(wanted), 303)
    secure = request.headers.get("origin", "").startswith("https:")
    answer.set_cookie(COOKIE, for_cookie(settings), httponly=True, samesite="strict", secure=secure, path="/")
    return answer


def _inside(wanted: str) -> str:
    """A path of ours: never the address of another host, however it is spelt."""
    plain = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    return wanted if plain and len(wanted) <= 400 else "/"
