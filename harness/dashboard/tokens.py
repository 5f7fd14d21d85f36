"""The token: how a request may carry it, and how it is compared."""

from __future__ import annotations

import secrets

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from harness.dashboard.settings import Settings

HEADER = "X-Harness-Token"
COOKIE = "harness_token"


def new_token() -> str:
    return secrets.token_urlsafe(24)


def is_token(settings: Settings, given: str) -> bool:
    """In constant time; an empty one never is."""
    return bool(settings.token) and secrets.compare_digest(given.encode(), settings.token.encode())


def in_headers(settings: Settings, headers: Headers) -> bool:
    """As a header that no form and no link can send."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    given = headers.get(HEADER) or (bearer.strip() if scheme.lower() == "bearer" else "")
    return is_token(settings, given)


def in_cookie(settings: Settings, headers: Headers) -> bool:
    """As the login page left it: good for looking, not for changing anything."""
    return is_token(settings, cookie_parser(headers.get("cookie", "")).get(COOKIE, ""))
