"""What user code sends with: the calls people know from Locust's clients, on our wire, each recorded as a sample."""

from __future__ import annotations

import json as json_module
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from requests.structures import CaseInsensitiveDict

from harness.errors import ScenarioError
from harness.load import payloads
from harness.load.checks import decoded, failed_checks
from harness.load.desk import Desk, Slot, failure_of
from harness.load.wire import Connection, Exchange, Origin, Terms
from harness.model import Expect

DEFAULT_TIMEOUT_S = 30.0
FileArgument = Any  # bytes, a path, an open file, or (name, one of those[, media type])


class Response:
    """An answer as user code sees it. `status_code` is 0 and `error` says why when there was none."""

    def __init__(
        self, url: str, x: Exchange, headers: Iterable[tuple[str, str]], raw: bytes, failure: str | None
    ) -> None:
        self.url = url
        self.status_code = x.status or 0
        self.error = x.error
        self.failure = failure
        self.ok = failure is None
        self.headers: Mapping[str, str] = _joined(headers)
        self.elapsed_s = (x.done_at - x.start_at) / 1e9
        self._raw = raw
        self._content: bytes | None = None

    @property
    def content(self) -> bytes:
        """The body, without its gzip or deflate coding. Raises ValueError when it is broken."""
        if self._content is None:
            self._content = decoded(self._raw, self.headers.get("content-encoding"))
        return self._content

    @property
    def text(self) -> str:
        """The body as text, by the charset of its Content-Type or UTF-8."""
        _, _, charset = self.headers.get("content-type", "").lower().partition("charset=")
        try:
            return self.content.decode(charset.split(";")[0].strip(" \"'") or "utf-8", "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none."""
        return json_module.loads(self.content)

    def __repr__(self) -> str:
        return f"<Response {self.status_code} {self.error or ''}>"


def _joined(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    found: Any = CaseInsensitiveDict()
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found  # type: ignore[no-any-return]


class Client:
    """One session's way to the target. Greenlets of user code may share it: each takes a connection of its own."""

    def __init__(
        self,
        desk: Desk,
        base_url: str,
        origin: Callable[[str], Origin],
        next_slot: Callable[[], Slot],
        fire: Callable[..., None] | None,
    ) -> None:
        self.base_url = base_url
        self._desk = desk
        self._origin = origin
        self._next_slot = next_slot
        self._fire = fire
        self._idle: dict[tuple[str, str], list[Connection]] = {}

    def request(
        self,
        method: str,
        url: str,
        *,
        name: str | None = None,
        json: Any = None,
        data: Any = None,
        files: Mapping[str, FileArgument] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Any = None,
        timeout: float | None = None,
    ) -> Response:
        """Send one request and wait for the whole answer. Failures come back in the response, they do not raise.

        `name` groups requests in reports (default: the path); `data` is bytes, text or form fields.
        """
        pairs = list(params.items()) if isinstance(params, Mapping) else list(params or ())
        full = payloads.joined_url(self.base_url, url, [(str(k), str(v)) for k, v in pairs])
        parts = urlsplit(full)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ScenarioError(f"{full!r} is no http or https URL", "set `target:`, or `host` on the user class")
        body, content_type = _body(json, data, files)
        method = method.upper()
        terms = Terms(timeout or DEFAULT_TIMEOUT_S, None, no_body=method == "HEAD", keep_body=True)
        kind = payloads.Kind(name or parts.path or "/", method, terms, Expect())
        own = payloads.with_user_headers(payloads.run_headers(self._desk.run_id), (headers or {}).items())
        return self._send(full, payloads.payload_of(kind, full, own, body, content_type))

    def _send(self, url: str, payload: payloads.Payload) -> Response:
        slot = self._next_slot()
        parts = urlsplit(url)
        idle = self._idle.setdefault((parts.scheme, parts.netloc), [])
        connection = idle.pop() if idle else Connection(self._origin(url))
        try:
            x = self._desk.send(connection, payload, slot)
            answer = connection.answer
            raw = bytes(answer.body)
            failed = failed_checks(payload.kind.expect, x.status, b"", None, x.too_large) if x.status else None
            response = Response(url, x, answer.headers() if x.status else (), raw, failure_of(x, failed))
        finally:
            idle.append(connection)
        if self._fire is not None:
            self._fire(payload.kind, x, response.failure, response, url)
        return response

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

    def close(self) -> None:
        """Drop the idle connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()


def _body(json: Any, data: Any, files: Mapping[str, FileArgument] | None) -> tuple[bytes | None, str | None]:
    if files:
        fields = [(str(k), str(v)) for k, v in (data or {}).items()]
        return payloads.multipart(fields, [_file(field, given) for field, given in files.items()])
    if json is not None:
        return json_module.dumps(json, separators=(",", ":")).encode(), "application/json"
    if data is None:
        return None, None
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


def event_fields(kind: payloads.Kind, x: Exchange, failure: str | None, response: Any, url: str) -> dict[str, Any]:
    """Keywords of Locust's `events.request` for one request; `response_time` is in milliseconds, not rounded."""
    duration_ns = x.done_at - x.start_at
    return {
        "request_type": kind.method,
        "name": kind.name,
        "response_time": duration_ns / 1e6,
        "response_length": x.bytes_received,
        "response": response,
        "context": {},
        "exception": None if failure is None else RuntimeError(failure),
        "start_time": time.time() - duration_ns / 1e9,
        "url": url,
    }
