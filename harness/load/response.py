"""An answer as user code sees it: what people know of Locust's and requests' responses, and the `with` block that
lets user code judge it."""

from __future__ import annotations

import json as json_module
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Self

import requests
from locust.exception import (
    CatchResponseError,
    InterruptTaskSet,
    LocustError,
    RescheduleTask,
    RescheduleTaskImmediately,
    ResponseError,
    StopTest,
    StopUser,
)
from requests.structures import CaseInsensitiveDict

from harness.load.checks import decoded
from harness.load.payloads import Kind
from harness.load.wire import Exchange

_WORDS = 100  # of a failure's text that are kept
_NO_FAILURE = (InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser)
_NOT_ASKED = "pass catch_response=True to judge an answer, and do it in a with block"

Judged = Callable[["Response", bool, "str | None"], None]
"""Called once when a `with` block is over: whether the failed checks are forgiven, and what user code has found."""


class Response:
    """An answer. `status_code` is 0 and `error` says why when there was none.

    After `catch_response=True` it is a context manager: `success()` forgives a status or check that failed,
    `failure(text)` adds one, an exception in the block adds its name.
    """

    js: Any  # set by rest()
    _judged: Judged | None = None

    def __init__(
        self,
        url: str,
        kind: Kind,
        x: Exchange,
        headers: Iterable[tuple[str, str]],
        raw: bytes,
        failure: str | None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        self.url = url
        self.status_code = x.status or 0
        self.error = x.error
        self.failed = failure  # what went wrong by status, checks or wire; None when nothing did
        self._lines = headers
        self._headers: Mapping[str, str] | None = None
        self.elapsed_s = (x.done_at - x.start_at) / 1e9
        self._started = time.time() - self.elapsed_s
        self._kind = kind
        self._length = x.bytes_received
        self._context = context
        self._raw = raw
        self._content: bytes | None = None
        self._meta: dict[str, Any] | None = None
        self._entered = False
        self._forgiven = False
        self._found: str | None = None

    # --- what came ----------------------------------------------------------------------------------------

    @property
    def ok(self) -> bool:
        """Whether an answer came, with a status that was expected, and user code has not refused it."""
        return self._found is None and (self.failed is None or (self._forgiven and self.error is None))

    @property
    def failure_text(self) -> str | None:
        """What counts against this answer by now; None when it is ok."""
        return None if self.ok else self._found or self.failed

    @property
    def headers(self) -> Mapping[str, str]:
        """By name in any case; several lines of one name are joined with commas."""
        if self._headers is None:
            self._headers = _joined(self._lines)
        return self._headers

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

    @property
    def elapsed(self) -> timedelta:
        """From the start of the request to its last byte."""
        return timedelta(seconds=self.elapsed_s)

    def raise_for_status(self) -> None:
        """Raise what requests raises for a status from 400 on, or for no answer."""
        answer: Any = self
        if self.error is not None:
            kind = requests.Timeout if self.error == "timeout" else requests.ConnectionError
            raise kind(f"{self.error} for {self.url}", response=answer)
        if self.status_code >= 400:
            raise requests.HTTPError(f"status {self.status_code} for {self.url}", response=answer)

    @property
    def request_meta(self) -> dict[str, Any]:
        """The keywords of Locust's request event; a name or further keys put in within the block count."""
        if self._meta is None:
            self._meta = {
                "request_type": self._kind.method,
                "name": self._kind.name,
                "response_time": self.elapsed_s * 1e3,
                "response_length": self._length,
                "response": self,
                "context": dict(self._context or {}),
                "exception": None,
                "start_time": self._started,
                "url": self.url,
            }
        failure = self.failure_text
        self._meta["exception"] = None if failure is None else CatchResponseError(failure)
        return self._meta

    @property
    def name(self) -> str:
        """What the request is called in reports."""
        return self._kind.name if self._meta is None else str(self._meta["name"])

    def __repr__(self) -> str:
        return f"<Response {self.status_code} {self.error or ''}>"

    # --- judged by user code ------------------------------------------------------------------------------

    def held_for(self, judged: Judged) -> Self:
        """Wait for user code's word; `judged` is told it once."""
        self._judged = judged
        return self

    def success(self) -> None:
        """The answer is fine, whatever its status. No answer at all stays a failure."""
        self._check_entered()
        self._forgiven, self._found = True, None

    def failure(self, what: object) -> None:
        """The answer is not fine: `what` is a text, or an exception whose text counts."""
        self._check_entered()
        self._forgiven, self._found = False, one_line(what)

    def _check_entered(self) -> None:
        if not self._entered:
            raise LocustError(_NOT_ASKED)

    def __enter__(self) -> Self:
        if self._judged is None:
            raise LocustError(_NOT_ASKED)
        self._entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: object) -> bool:
        swallowed = isinstance(raised, ResponseError | CatchResponseError)
        if self._found is None and not self._forgiven:
            if swallowed:
                self._found = one_line(raised)
            elif isinstance(raised, Exception) and not isinstance(raised, _NO_FAILURE):
                self._found = type(raised).__name__
        self.settle()
        return raised is None or swallowed

    def __del__(self) -> None:
        self.settle()  # dropped before its block was entered: still a sample

    def settle(self) -> None:
        """Tell what was found; later calls do nothing."""
        judged, self._judged = self._judged, None
        if judged is not None:
            judged(self, self._forgiven, self._found)


def one_line(what: object) -> str:
    """A failure's text as it fits into a column: one line, bounded, without the comma that separates checks."""
    text = " ".join(str(what).split()).replace(",", ";") or type(what).__name__
    return text if len(text) <= _WORDS else text[: _WORDS - 1] + "…"


def _joined(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    found: Any = CaseInsensitiveDict()
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found  # type: ignore[no-any-return]
