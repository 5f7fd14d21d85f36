"""What user code sends with: the calls people know from Locust's clients, on our wire, each recorded as a sample."""

from __future__ import annotations

import json as json_module
import weakref
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict

from harness.errors import ScenarioError
from harness.load import payloads
from harness.load.checks import failed_checks
from harness.load.cookies import cookie_line, keep_cookies
from harness.load.desk import Desk, Slot, failure_of
from harness.load.held import Held
from harness.load.response import Response
from harness.load.wire import Connection, Origin, Terms
from harness.model import Expect

DEFAULT_TIMEOUT_S = 30.0
_MOST_BUILT = 100
FileArgument = Any  # bytes, a path, an open file, or (name, one of those[, media type])
Fields = Any  # a mapping, or pairs
_ANY_2XX = Expect()
_ANY_2XX_OR_3XX = Expect(status=tuple(range(200, 400)))


class Client:
    """One session's way to the target. Greenlets of user code may share it: each takes a connection of its own.

    `headers`, `cookies` and `auth` hold for every request; cookies are kept and sent back as a browser would.
    """

    def __init__(
        self,
        desk: Desk,
        held: Held,
        base_url: str,
        origin: Callable[[str], Origin],
        next_slot: Callable[[], Slot],
        fire: Callable[[Response], None],
    ) -> None:
        self.base_url, self.auth = _without_user(base_url)
        self.headers: Any = CaseInsensitiveDict()
        self.cookies = RequestsCookieJar()
        self.request_name: str | None = None
        self.context: Callable[[], dict[str, Any]] = dict  # goes with every request event
        self._desk = desk
        self._held = held
        self._origin = origin
        self._next_slot = next_slot
        self._fire = fire
        self._idle: dict[str, list[Connection]] = {}
        self._built: dict[Any, payloads.Payload] = {}  # requests by all that is in their heads
        self._unsettled: weakref.WeakSet[Response] = weakref.WeakSet()

    @property
    def cookiejar(self) -> RequestsCookieJar:
        """The cookies, as FastHttpUser calls them."""
        return self.cookies

    @contextmanager
    def rename_request(self, name: str) -> Iterator[None]:
        """Group the requests of a `with` block under one name."""
        self.request_name = name
        try:
            yield
        finally:
            self.request_name = None

    def request(
        self,
        method: str,
        url: str,
        name: str | None = None,
        data: Any = None,
        catch_response: bool = False,
        *,
        json: Any = None,
        files: Mapping[str, FileArgument] | None = None,
        headers: Mapping[str, Any] | None = None,
        params: Fields = None,
        cookies: Mapping[str, str] | None = None,
        auth: tuple[str | bytes, str | bytes] | None = None,
        timeout: float | tuple[float | None, ...] | None = None,
        allow_redirects: bool | None = None,
        stream: bool = False,
        context: Mapping[str, Any] | None = None,
    ) -> Response:
        """Send one request and wait for the whole answer. Failures come back in the response, they do not raise.

        `name` groups requests in reports (default: the path); `data` is bytes, text, an open file or form fields.
        With `catch_response` the answer is judged in a `with` block. Redirects are never followed: they are answers,
        and fine ones only with `allow_redirects=False`. `stream` changes nothing: answers are read whole. A pair as
        `timeout` counts as its sum, for the whole request.
        """
        del stream
        if allow_redirects:
            raise ScenarioError(
                "allow_redirects=True: this client follows no redirects, so that one request is one sample",
                "ask for the new place yourself, or derive the class from locust.HttpUser, which follows them",
            )
        full = payloads.joined_url(self.base_url, url, _pairs(params))
        method = method.upper()
        body, content_type = _body(json, data, files)
        given = self._headers(full, headers, cookies, auth or self.auth)
        own_name, timeout_s, strict = name or self.request_name, _timeout_s(timeout), allow_redirects is None
        key = (method, full, own_name, timeout_s, strict, content_type, -1 if body is None else len(body), *given)
        like = self._built.get(key)
        if like is None:
            like = self._build(method, full, own_name, timeout_s, strict, given, body, content_type)
            if len(self._built) >= _MOST_BUILT:
                self._built.clear()
            self._built[key] = like
        payload = payloads.with_body(like.kind, like.head, body or b"")
        return self._send(full, payload, catch_response, context)

    def _build(
        self, method: str, url: str, name: str | None, timeout_s: float, strict: bool, given: list[tuple[str, str]],
        body: bytes | None, content_type: str | None,
    ) -> payloads.Payload:  # fmt: skip
        """The kind and head of a request, for this and all that differ from it in their bytes only."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ScenarioError(f"{url!r} is no http or https URL", "set `target:`, or `host` on the user class")
        terms = Terms(timeout_s, None, no_body=method == "HEAD", keep_body=True)
        kind = payloads.Kind(name or parts.path or "/", method, terms, _ANY_2XX if strict else _ANY_2XX_OR_3XX)
        own = payloads.with_user_headers(payloads.run_headers(self._desk.run_id), given)
        whole = payloads.payload_of(kind, url, own, body, content_type)
        return payloads.Payload(kind, whole.head, b"", b"")

    def _headers(
        self, url: str, headers: Mapping[str, Any] | None, cookies: Mapping[str, str] | None, auth: Any
    ) -> list[tuple[str, str]]:
        if not (self.headers or headers or cookies or auth or self.cookies):
            return []
        given: Any = CaseInsensitiveDict(self.headers)
        given.update(headers or {})
        found = {name: _text(value) for name, value in given.items() if value is not None}
        if auth is not None and "authorization" not in {name.lower() for name in found}:
            user, password = (part.encode() if isinstance(part, str) else part for part in auth)
            found["Authorization"] = "Basic " + b64encode(user + b":" + password).decode("ascii")
        if (self.cookies or cookies) and "cookie" not in {name.lower() for name in found}:
            line = cookie_line(self.cookies, url, cookies)
            if line:
                found["Cookie"] = line
        return list(found.items())

    def _send(self, url: str, payload: payloads.Payload, catch: bool, context: Mapping[str, Any] | None) -> Response:
        slot = self._next_slot()
        origin = url[: url.find("/", 8)] if url.count("/") > 2 else url
        idle = self._idle.setdefault(origin, [])
        connection = idle.pop() if idle else Connection(self._origin(url))
        row = None
        try:
            if catch:
                x, row = self._held.send(connection, payload, slot)
            else:
                x = self._desk.send(connection, payload, slot)
            answer = connection.answer
            headers = answer.headers() if x.status else []
            raw = bytes(answer.body)
        finally:
            idle.append(connection)
        failed = failed_checks(payload.kind.expect, x.status, b"", None, x.too_large) if x.status else None
        response = Response(
            url, payload.kind, x, headers, raw, failure_of(x, failed), {**self.context(), **(context or {})}
        )
        keep_cookies(self.cookies, url, headers)
        if row is None:
            self._fire(response)
            return response
        keep = self._held.judged(row)

        def judged(response: Response, forgiven: bool, found: str | None) -> None:
            keep(response, forgiven, found)
            self._fire(response)

        self._unsettled.add(response)
        return response.held_for(judged)

    def get(self, url: str, **options: Any) -> Response:
        """GET; options as in `request`."""
        return self.request("GET", url, **options)

    def post(self, url: str, data: Any = None, json: Any = None, **options: Any) -> Response:
        """POST; options as in `request`."""
        return self.request("POST", url, data=data, json=json, **options)

    def put(self, url: str, data: Any = None, **options: Any) -> Response:
        """PUT; options as in `request`."""
        return self.request("PUT", url, data=data, **options)

    def patch(self, url: str, data: Any = None, **options: Any) -> Response:
        """PATCH; options as in `request`."""
        return self.request("PATCH", url, data=data, **options)

    def delete(self, url: str, **options: Any) -> Response:
        """DELETE; options as in `request`."""
        return self.request("DELETE", url, **options)

    def head(self, url: str, **options: Any) -> Response:
        """HEAD; options as in `request`."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Any) -> Response:
        """OPTIONS; options as in `request`."""
        return self.request("OPTIONS", url, **options)

    def settle(self) -> None:
        """Record the answers that were to be judged and never were."""
        for response in list(self._unsettled):
            response.settle()
        self._unsettled.clear()

    def close(self) -> None:
        """The session ends: drop the idle connections."""
        self.settle()
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()


# --- what goes into a request ------------------------------------------------------------------------------


def _without_user(url: str) -> tuple[str, tuple[str, str] | None]:
    """A base URL and the credentials written into it."""
    parts = urlsplit(url)
    if not parts.username:
        return url, None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, (unquote(parts.username), unquote(parts.password or ""))


def _pairs(fields: Fields) -> list[tuple[str, str]]:
    if not fields:
        return []
    pairs = list(fields.items()) if isinstance(fields, Mapping) else list(fields or ())
    found = []
    for key, value in pairs:
        values = value if isinstance(value, list | tuple) else [value]
        found += [(str(key), str(one)) for one in values if one is not None]
    return found


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _timeout_s(timeout: float | tuple[float | None, ...] | None) -> float:
    parts = timeout if isinstance(timeout, tuple) else (timeout,)
    given = [part for part in parts if part is not None]
    return sum(given) if given else DEFAULT_TIMEOUT_S


def _body(json: Any, data: Any, files: Mapping[str, FileArgument] | None) -> tuple[bytes | None, str | None]:
    if files:
        return payloads.multipart(_pairs(data), [_file(field, given) for field, given in dict(files).items()])
    if not data and json is not None:
        return json_module.dumps(json, separators=(",", ":")).encode(), "application/json"
    if data is None:
        return None, None
    if hasattr(data, "read"):
        data = data.read()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data), None
    if isinstance(data, str):
        return data.encode(), None
    return urlencode(data, doseq=True).encode(), "application/x-www-form-urlencoded"


def _file(field: str, given: FileArgument) -> tuple[str, str, bytes, str | None]:
    name, content, media_type = field, given, None
    if isinstance(given, tuple):
        name, content, *rest = given
        media_type = rest[0] if rest else None
    elif isinstance(given, str | Path):
        name, content = Path(given).name, Path(given)
    elif hasattr(given, "read"):
        name = Path(str(getattr(given, "name", field))).name
    if isinstance(content, Path):
        content = content.read_bytes()
    elif hasattr(content, "read"):
        content = content.read()
    return field, name, content.encode() if isinstance(content, str) else bytes(content), media_type
