"""Cookies of a session: what answers set is sent back by domain and path, as the standard library's jar decides."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable, Mapping
from email.message import Message
from http.cookiejar import CookieJar
from typing import Any, cast


class _Answered:
    """The part of a urllib response that a cookie jar looks at."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._message = Message()
        for line in lines:
            self._message["Set-Cookie"] = line

    def info(self) -> Message:
        return self._message


def keep_cookies(jar: CookieJar, url: str, headers: Iterable[tuple[str, str]]) -> None:
    """Put what an answer sets into the jar."""
    lines = [value for name, value in headers if len(name) == 10 and name.lower() == "set-cookie"]
    if lines:
        request = urllib.request.Request(url)  # noqa: S310 - nothing is opened
        jar.extract_cookies(cast(Any, _Answered(lines)), request)


def cookie_line(jar: CookieJar, url: str, own: Mapping[str, str] | None) -> str | None:
    """The Cookie header of a request: what the jar holds for its URL, then what goes with this request alone."""
    request = urllib.request.Request(url)  # noqa: S310 - nothing is opened
    jar.add_cookie_header(request)
    line = request.get_header("Cookie")
    parts = [line] if line else []
    parts += [f"{name}={value}" for name, value in (own or {}).items()]
    return "; ".join(parts) or None
