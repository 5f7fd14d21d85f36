"""One HTTP question to a trace store: bounded, patient with what passes, one sentence for what does not.

Questions are put in an event loop of their own: there an answer that never ends can be dropped at any moment.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

import httpx

from harness.scenario.span_section import STORE_TOKEN
from harness.scenario.target import is_loopback
from harness.spans.bodies import Refusal, gunzip
from harness.spans.stored import JSON, Query

LIMIT_BYTES = 64 * 1024 * 1024  # of one answer, on the wire and inflated
CONCURRENCY = 8
_TIMEOUT_S = 15.0  # without a byte
_ANSWER_S = 30.0  # from the question to the end of its answer
_UNREMARKABLE_S = 5.0
"""An answer that has not come after so long when there is no more time is the store's fault."""
_LOOK_EVERY_S = 0.1
_CLOSING_S = 2.0
_PAUSES_S = (0.2, 0.8)  # before it is asked again: what a busy store needs, and a restarting one
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_USER_AGENT = "ml-harness"


class StoreError(Exception):
    """The store cannot be asked; one sentence, one hint."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class WebPage(StoreError):  # noqa: N818 - reads as what came
    """The answer is a page for people: what was asked is no API here."""


class TooLarge(StoreError):  # noqa: N818
    """The answer is larger than LIMIT_BYTES."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is neither a page nor a refusal; `status` may be a 4xx."""

    status: int
    content_type: str
    body: bytes


_NOTHING = Answer(408, "", b"")


class Asker:
    """A trace store at `base`. May be used by several threads. The token is sent to `base` only.

    When there is no more time, `over()`, a question ends at once, with an answer that holds nothing.
    """

    def __init__(
        self, base: str, environ: Mapping[str, str] = os.environ, over: Callable[[], bool] = lambda: False
    ) -> None:
        self.base = base
        self._over = over
        token = environ.get(STORE_TOKEN)
        headers = {"Accept": JSON, "Accept-Encoding": "gzip", "User-Agent": _USER_AGENT}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._has_token = bool(token)
        try:
            self._client = httpx.AsyncClient(
                headers=headers,
                timeout=_TIMEOUT_S,
                limits=httpx.Limits(max_connections=CONCURRENCY),
                trust_env=not is_loopback(urlsplit(base).hostname or ""),  # a proxy cannot reach this machine
            )
        except UnicodeEncodeError:
            message = f"{STORE_TOKEN} in the environment holds letters that no header can carry"
            raise StoreError(message, "set it to the token alone") from None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="trace store", daemon=True)
        self._thread.start()

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        closing = asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop)
        with contextlib.suppress(TimeoutError, concurrent.futures.TimeoutError, httpx.HTTPError, OSError):
            closing.result(_CLOSING_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def get(self, query: Query) -> Answer:
        """The answer to `query`. Raises StoreError."""
        for pause_s in (*_PAUSES_S, None):
            try:
                answer = self._once(query)
            except httpx.HTTPError as error:
                if pause_s is None or isinstance(error, httpx.TimeoutException):
                    raise self._silent(error) from error
            else:
                if answer is None:
                    return _NOTHING
                if answer.status not in _PASSING:
                    return self._checked(answer)
                if pause_s is None:
                    hint = "look at its log; then `harness run` again"
                    raise StoreError(f"the trace store at {self.base} answers {answer.status}", hint)
            time.sleep(pause_s or 0.0)
        raise AssertionError("unreachable: the last round returns or raises")

    def _once(self, query: Query) -> Answer | None:
        """One question in the loop; None when time ran out meanwhile. Raises StoreError, httpx.HTTPError."""
        if self._over():
            return None
        began = time.monotonic()
        coming = asyncio.run_coroutine_threadsafe(self._answer(query), self._loop)
        while not concurrent.futures.wait((coming,), _LOOK_EVERY_S).done:
            waited_s = time.monotonic() - began
            over = self._over()
            if over or waited_s > _ANSWER_S:
                coming.cancel()
                if over and waited_s < _UNREMARKABLE_S:
                    return None
                raise self._silent(httpx.ReadTimeout("no end of the answer"))
        return coming.result()

    async def _answer(self, query: Query) -> Answer:
        path, params = query
        async with self._client.stream("GET", f"{self.base}{path}", params=params) as response:
            pieces: list[bytes] = []
            size = 0
            async for piece in response.aiter_raw():
                size += len(piece)
                if size > LIMIT_BYTES:
                    raise self._too_large()
                pieces.append(piece)
            body = self._inflated(b"".join(pieces), response.headers.get("content-encoding", ""))
            return Answer(response.status_code, response.headers.get("content-type", ""), body)

    def _inflated(self, body: bytes, encoding: str) -> bytes:
        """Nothing but gzip was asked for, and only once: in layers, three kilobytes can be gigabytes."""
        encoding = encoding.strip().lower()
        if encoding in ("", "identity") or not body:
            return body
        hint = "is there a proxy in between that changes answers? give the URL of the store itself"
        if encoding != "gzip":
            message = f"the trace store at {self.base} answers in an encoding that was not asked for: {encoding[:40]!r}"
            raise StoreError(message, hint)
        try:
            return gunzip(body, LIMIT_BYTES)
        except Refusal as refusal:
            if refusal.status == 413:
                raise self._too_large() from refusal
            message = f"an answer of the trace store at {self.base} cannot be inflated: {refusal.reason}"
            raise StoreError(message, hint) from refusal

    def _too_large(self) -> TooLarge:
        message = f"an answer of the trace store at {self.base} is larger than {LIMIT_BYTES // 2**20} MiB"
        return TooLarge(message, "traces of this size cannot be read; record fewer spans per request")

    def _checked(self, answer: Answer) -> Answer:
        if answer.status in (401, 403):
            does = "set another one" if self._has_token else "set a token that it takes"
            message = f"the trace store at {self.base} refuses to answer ({answer.status})"
            raise StoreError(message, f"{does} in {STORE_TOKEN}: it is sent as a bearer token")
        if 300 <= answer.status < 400:
            message = f"the trace store at {self.base} sends elsewhere ({answer.status})"
            raise StoreError(message, f"give the URL it sends to; if that is a login, set a token in {STORE_TOKEN}")
        if answer.status < 300 and answer.body.lstrip()[:1] == b"<":
            message = f"the trace store at {self.base} answers with a web page"
            raise WebPage(message, "give the base URL of its query API, e.g. http://127.0.0.1:16686 for Jaeger")
        return answer

    def _silent(self, error: httpx.HTTPError) -> StoreError:
        if isinstance(error, httpx.TimeoutException):
            reason = "it takes too long"
        else:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        message = f"the trace store at {self.base} does not answer: {reason}"
        return StoreError(message, "is it running, and is this the port of its query API (Jaeger 16686, Tempo 3200)?")
