"""Who may ask for what. Loopback is no protection from a web page: the browser that shows it is on loopback, too.

- The Host header has to name us: a foreign name that resolves to loopback is an attack on the same-origin rule.
- What changes something is POST with JSON, our own origin and the token, which only our own pages can read.
- Beyond loopback (`guarded`) everything needs the token: as a header, or as the cookie that the login page sets.
- Bodies are read here, bounded in size and time, before anything else sees the request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.dashboard import login, tokens
from harness.dashboard.failures import told_of_ours
from harness.dashboard.login import login_page
from harness.dashboard.settings import Settings
from harness.dashboard.tokens import in_cookie, in_headers

MOST_BYTES = 64 * 1024
"""Of a request's body."""

BODY_WAIT_S = 10.0
"""For the whole body: who sends slower holds a connection for nothing."""

_READING = frozenset({"GET", "HEAD"})
_BEFORE_LOGIN = frozenset({login.PATH, "/static/theme.css", "/static/dashboard.css", "/static/icon.svg"})
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src-elem 'self'; style-src-attr 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Of every answer that does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    error: str
    hint: str | None = None


class Guard:
    """ASGI middleware around the whole dashboard."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no websockets here
        headers = Headers(scope=scope)
        began, answer = _with_headers(send, scope["path"])
        refusal = refused(self.settings, scope["method"], scope["path"], headers)
        if refusal is None and _has_body(headers):
            body = await _read(receive, headers)
            if isinstance(body, Refusal):
                refusal = body
            else:
                receive = _replayed(body, receive)
        if refusal is not None:
            await _refuse(refusal, scope, receive, answer)
            return
        try:
            await self.app(scope, receive, answer)
        except Exception:
            if not began():
                await told_of_ours(Request(scope))(scope, receive, answer)
            raise  # to the terminal


def refused(settings: Settings, method: str, path: str, headers: Headers) -> Refusal | None:
    """Why this request is not answered, None if it is. Its body is looked at later."""
    host = headers.getlist("host")
    if len(host) != 1 or _host_name(host[0]) not in settings.hosts:
        hint = f"use http://{settings.hosts[0]}, or start it with --name for another name" if settings.hosts else None
        return Refusal(421, "this dashboard is not known by that name", hint)
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_visit(method, headers):
        return Refusal(403, "another web page asked for this", "open the dashboard itself")
    if path == login.PATH:
        return None if method in _READING or _is_ours(headers, host[0]) else _foreign()
    if (
        settings.guarded
        and path not in _BEFORE_LOGIN
        and not (in_headers(settings, headers) or in_cookie(settings, headers))
    ):
        return Refusal(401, "this needs the token", f"send it as {tokens.HEADER}, or log in with a browser")
    if method in _READING:
        return None
    return _refused_change(settings, method, headers, host[0])


def _refused_change(settings: Settings, method: str, headers: Headers, host: str) -> Refusal | None:
    """What changes something: three things that a page of another origin cannot all have."""
    if method != "POST":
        return Refusal(405, f"{method[:20]} is not a method of this dashboard", "use GET or POST")
    if not _is_ours(headers, host):
        return _foreign()
    if not in_headers(settings, headers):
        return Refusal(
            403,
            "this changes something and needs the token",
            f"reload the page: the dashboard was started again; a program sends it as {tokens.HEADER}",
        )
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        return Refusal(415, "the content is no JSON", "send it with Content-Type: application/json")
    return None


def _foreign() -> Refusal:
    return Refusal(403, "this was sent by a page of another origin", "use the pages of the dashboard")


def _is_ours(headers: Headers, host: str) -> bool:
    """Sent by a page of ours; or by no page at all (curl), which says no origin. Browsers always say it on a POST."""
    origins = headers.getlist("origin")
    if not origins:
        return True
    scheme, _, place = origins[0].partition("://")
    return len(origins) == 1 and scheme in ("http", "https") and place.lower() == host.lower()


def _is_visit(method: str, headers: Headers) -> bool:
    """A person followed a link, as from a chat or a wiki page."""
    return method in _READING and headers.get("sec-fetch-mode") == "navigate"


def _host_name(host: str) -> str | None:
    """Without its port: a tunnel may have another one, and an attacker's page cannot choose the name."""
    parsed = _HOST.fullmatch(host)
    return parsed["name"].lower().rstrip(".") if parsed else None


# --- bodies ------------------------------------------------------------------------------------------------


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


async def _read(receive: Receive, headers: Headers) -> bytes | Refusal:
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > MOST_BYTES:
        return _too_large()
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            return await _collect(receive)
    except TimeoutError:
        return Refusal(408, "the body did not arrive in time", None)


async def _collect(receive: Receive) -> bytes | Refusal:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return Refusal(400, "the connection was closed in the middle of the request", None)
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            return _too_large()
        if not message.get("more_body", False):
            return body


def _too_large() -> Refusal:
    return Refusal(413, f"the body is larger than {MOST_BYTES // 1024} KiB", None)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body once, then what the connection says (a stream of events waits for its end)."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


# --- answers -----------------------------------------------------------------------------------------------


def _with_headers(send: Send, path: str) -> tuple[Callable[[], bool], Send]:
    """Whether the answer has begun, and `send` with our headers in it."""
    begun = False
    cached = {"Cache-Control": "no-cache"} if path.startswith("/static/") else {}

    async def sending(message: Message) -> None:
        nonlocal begun
        if message["type"] == "http.response.start":
            begun = True
            headers = MutableHeaders(scope=message)
            for name, value in {**HEADERS, **cached}.items():
                headers.setdefault(name, value)
        await send(message)

    return lambda: begun, sending


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    answer: Response = JSONResponse({"error": refusal.error, "hint": refusal.hint}, refusal.status)
    if refusal.status == 401 and tokens.are_brought(request.headers):
        await asyncio.sleep(tokens.WRONG_WAIT_S)
    if refusal.status == 401 and "text/html" in request.headers.get("accept", ""):
        query = f"?{request.url.query}" if request.url.query else ""
        answer = login_page(request, request.url.path + query, 401)
    elif refusal.status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="harness"'
    elif refusal.status in (408, 413):
        answer.headers["Connection"] = "close"
    await answer(scope, receive, send)
