"""What went wrong in a client that is not ours, in the few stable words our own wire uses."""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Iterator

import gevent
import geventhttpclient.useragent
import requests
import urllib3
from geventhttpclient._parser import HTTPParseError
from geventhttpclient.response import HTTPConnectionClosed

from harness.load.wire import CLOSED_EARLY, error_name

_TRANSPORT = (
    OSError, gevent.Timeout, zlib.error, requests.RequestException, urllib3.exceptions.HTTPError,
    geventhttpclient.useragent.ConnectionError, HTTPConnectionClosed, HTTPParseError, http.client.HTTPException,
)  # fmt: skip
_TIMEOUTS = (TimeoutError, gevent.Timeout, requests.Timeout, urllib3.exceptions.TimeoutError)
_CLOSED = (HTTPConnectionClosed, http.client.RemoteDisconnected, http.client.IncompleteRead)
_DEEPEST = 10


def transport_failure(failure: BaseException) -> bool:
    """Whether it says that no whole answer came, rather than what user code thinks of one."""
    return isinstance(failure, _TRANSPORT)


def transport_error(failure: BaseException) -> str:
    """ "connection refused", "timeout", "dns: ...", else the name of the exception's type."""
    for cause in _causes(failure):
        if isinstance(cause, _TIMEOUTS):
            return "timeout"
        if isinstance(cause, _CLOSED):
            return CLOSED_EARLY
        if isinstance(cause, HTTPParseError):
            return "not HTTP"
        if isinstance(cause, OSError) and cause.errno is not None:
            return error_name(cause)
    return type(failure).__name__


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """The exception and what it wraps: libraries keep the cause in different places."""
    seen: list[BaseException] = []
    left: list[object] = [failure]
    while left and len(seen) < _DEEPEST:
        found = left.pop(0)
        if isinstance(found, BaseException) and found not in seen:
            seen.append(found)
            yield found
            left += [getattr(found, "reason", None), found.__cause__, found.__context__, *found.args[:2]]
