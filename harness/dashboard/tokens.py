"""The token: how a request may carry it, and how it is compared."""

from __future__ import annotations

import hmac
import secrets

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from harness.dashboard.settings import Settings

HEADER = "X-Harness-Token"
COOKIE = "harness_token"
WRONG_WAIT_S = 0.5
"""Before a wrong one is answered."""


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
    given = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    return bool(settings.token) and secrets.compare_digest(given.encode(), for_cookie(settings).encode())


def for_cookie(settings: Settings) -> str:
    """What stands for the token in the cookie: browsers send it to every port of this host, also to those of others."""
    return hmac.digest(settings.token.encode(), COOKIE.encode(), "sha256").hex()


def are_brought(headers: Headers) -> bool:
    """Whether somebody tried one."""
    return HEADER in headers or "authorization" in headers or COOKIE in headers.get("cookie", "")
