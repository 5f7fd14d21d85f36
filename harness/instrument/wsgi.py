"""WSGI middleware: the same record, marks and header as for ASGI, around a callable that answers with an iterable.

The server window opens when the application is called and closes when its body is exhausted or closed; what the body's
own `close()` does then is not part of the answer. Reading `wsgi.input` is `upload`, the time the server takes between
two chunks is `download`. The request's context is put on around every piece of the application's work and taken off
again, since one thread of the server serves many requests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter_ns
from typing import Any

from opentelemetry import context as otel_context

from harness.instrument import pipeline, threadpool, vitals
from harness.instrument.marks import Mark, begin_wait, end_wait, enter_root, innermost, leave_root
from harness.instrument.quiet import LOG
from harness.instrument.server_timing import header_value, is_streamed
from harness.instrument.window import close, open_record
from harness.instrument.wsgi_input import MeasuredInput, has_body

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
StartResponse = Callable[..., Callable[[bytes], object]]
WsgiApplication = Callable[[Environ, StartResponse], Iterable[bytes]]

MEASURED = "harness.measured"  # in the environ: an outer layer of ours already measures this request


class WsgiInstrumented:
    """A WSGI application with the measurement around it."""

    __slots__ = ("app",)

    def __init__(self, app: WsgiApplication) -> None:
        self.app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if MEASURED in environ or innermost() is not None:
            return self.app(environ, start_response)
        try:
            exchange = _Exchange(environ, start_response)
        except Exception:
            LOG.warning("a request is not measured", exc_info=True)
            return self.app(environ, start_response)
        return exchange.served_by(self.app)


class _Exchange:
    """One request on its way through the application."""

    __slots__ = (
        "_attached", "_calling", "_current", "_environ", "_held_back", "_joined", "_route", "_server_start",
        "_server_write", "_token", "_wait", "record", "root",
    )  # fmt: skip

    def __init__(self, environ: Environ, start_response: StartResponse) -> None:
        threadpool.install_if_used()
        self.record = open_record(_headers(environ), _asked_for(environ))
        self.root = Mark(self.record, None, None, "request", None, self.record.start)
        self._current = self.root
        self._joined = self.record.joined
        self._environ = environ
        self._server_start = start_response
        self._server_write: Callable[[bytes], object] | None = None
        self._held_back: tuple[str, Headers] | None = None
        self._calling = False
        self._route: object = None
        self._wait: Mark | None = None
        environ[MEASURED] = True
        if "wsgi.input" in environ and has_body(environ):
            environ["wsgi.input"] = MeasuredInput(environ["wsgi.input"], self.root, environ.get("CONTENT_LENGTH"))

    def served_by(self, app: WsgiApplication) -> Iterable[bytes]:
        vitals.entered(self)
        self._calling = True
        self.enter()
        try:
            body = app(self._environ, self.start_response)
        except BaseException as error:
            self.failed(error)
            self.closed()
            raise
        finally:
            self.leave()
            self._calling = False
        measured = (_SizedBody if hasattr(body, "__len__") else _Body)(self, body)
        try:
            self._release(streamed=not isinstance(body, list | tuple))
        except BaseException as error:  # the server refuses the head, and will not see the body
            self.failed(error)
            measured.close()
            raise
        if not _is_file(self._environ, body):
            return measured
        self.record.first_send = perf_counter_ns()
        measured.let_go()
        return body  # the server may send it by itself, if it still knows it

    def enter(self) -> None:
        """The application works from here on: its marks and spans belong to this request."""
        if self._wait is not None:
            end_wait(self._wait)
            self._wait = None
        self._token = enter_root(self._current)
        self._attached = None if self._joined is None else otel_context.attach(self._joined)

    def leave(self) -> None:
        self._current = innermost() or self.root  # a stage may stay open from one chunk to the next
        if self._attached is not None:
            self._joined = otel_context.get_current()  # and so may a span of the service's own
            otel_context.detach(self._attached)
        with contextlib.suppress(ValueError):  # another context than we came in with: ours is gone with it
            leave_root(self._token)

    def handed_over(self) -> None:
        """The server has a chunk, and the application waits until it asks for the next."""
        now = perf_counter_ns()
        record = self.record
        if record.first_send is None:
            record.first_send = now
        else:
            record.streamed = True
        record.last_send = now
        self._wait = begin_wait(self._current, "download")

    def failed(self, error: BaseException) -> None:
        if self.record.end is None and not self.record.closed:
            self.record.error = type(error).__qualname__

    def closed(self, end: int | None = None) -> None:
        if self._wait is not None:
            end_wait(self._wait, end)
            self._wait = None
        close(self.record, self._scope(), end)
        vitals.left(self)

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        """The server's, called at once, but for a run that wants the split of an answer of unknown length: whether the
        body is complete shows when the application returns it, so the head waits until then."""
        self._release(streamed=True)
        streamed = True
        try:
            self.record.status = int(status[:3])
            self._route = getattr(getattr(self._environ.get("werkzeug.request"), "url_rule", None), "rule", None)
            has_length = any(name.lower() == "content-length" for name, _ in headers)
            streamed = is_streamed(self._environ.get("REQUEST_METHOD"), self.record.status, has_length=has_length)
        except Exception:
            LOG.warning("the head of an answer is not understood", exc_info=True)
        if self.record.timing_wanted and streamed and self._calling and exc_info is None:
            self._held_back = status, headers
        else:
            self._start(status, headers, exc_info, streamed=streamed)
        return self.write

    def write(self, chunk: bytes) -> object:
        """The server's own, for applications that push their body."""
        self._release(streamed=True)
        assert self._server_write is not None  # noqa: S101 - the head went out just now, or before
        record = self.record
        if record.first_send is None:
            record.first_send = perf_counter_ns()
        else:
            record.streamed = True
        wait = begin_wait(innermost() or self.root, "download")
        try:
            return self._server_write(chunk)
        finally:
            end_wait(wait)
            record.last_send = wait.end

    def _release(self, *, streamed: bool) -> None:
        if self._held_back is not None:
            status, headers = self._held_back
            self._held_back = None
            self._start(status, headers, None, streamed=streamed)

    def _start(self, status: str, headers: Headers, exc_info: Any, *, streamed: bool) -> None:
        if self.record.timing_wanted:
            try:
                value = header_value(self.record, perf_counter_ns(), streamed=streamed).decode("ascii")
                headers = [*headers, ("Server-Timing", value)]
            except Exception:
                LOG.warning("an answer goes without its Server-Timing", exc_info=True)
        arguments = (status, headers) if exc_info is None else (status, headers, exc_info)
        self._server_write = self._server_start(*arguments)

    def _scope(self) -> dict[str, object]:
        if self.record.provider is None:
            return {}
        environ = self._environ
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        with contextlib.suppress(UnicodeEncodeError):  # a server that decoded it already
            path = path.encode("latin-1").decode("utf-8", "replace")  # PEP 3333: bytes, shown as latin-1
        return {"method": environ.get("REQUEST_METHOD", ""), "path": path, "route": self._route}


class _Body:
    """The application's body: its work is measured, and so is the time between."""

    __slots__ = ("_body", "_chunks", "_closed", "_end", "_exchange")

    def __init__(self, exchange: _Exchange, body: Iterable[bytes]) -> None:
        self._exchange = exchange
        self._body = body
        self._chunks: Iterator[bytes] | None = None
        self._end: int | None = None
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        exchange.enter()
        try:
            if self._chunks is None:
                self._chunks = iter(self._body)
            chunk = next(self._chunks)
        except StopIteration:
            self._end = self._end or perf_counter_ns()
            raise
        except BaseException as error:
            exchange.failed(error)
            raise
        finally:
            exchange.leave()
        exchange.handed_over()
        return chunk

    def close(self) -> None:
        """Called by the server when the answer is out: the spans are built here, when nobody waits for them."""
        if self._closed:
            return
        self._closed = True
        exchange = self._exchange
        end = self._end or perf_counter_ns()
        try:
            inner = getattr(self._body, "close", None)
            if inner is not None:
                exchange.enter()
                try:
                    inner()
                finally:
                    exchange.leave()
        finally:
            exchange.closed(end)

    def let_go(self) -> None:
        """The window ends here, whatever becomes of the body."""
        if not self._closed:
            self._closed = True
            self._exchange.closed(self._end)

    def __del__(self) -> None:
        self.let_go()  # a server that never closed what it served


class _SizedBody(_Body):
    """A body whose length servers ask for: of a single chunk they make the Content-Length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> bytes:
        return self._body[index]  # type: ignore[index,no-any-return]


def _headers(environ: Environ) -> Sequence[tuple[bytes, bytes]]:
    """What we look at; all of them where the service has propagators of its own."""
    names: list[str]
    if pipeline.global_provider() is None:
        names = [name for name in ("HTTP_TRACEPARENT", "HTTP_X_MLHARNESS_RUN") if name in environ]
    else:
        names = [name for name in environ if name.startswith("HTTP_")]
    return [(_field_name(name), str(environ[name]).encode("latin-1", "replace")) for name in names]


def _field_name(name: str) -> bytes:
    return name.removeprefix("HTTP_").replace("_", "-").lower().encode("latin-1", "replace")


def _asked_for(environ: Environ) -> dict[str, object]:
    """What a sampler may want to know."""
    return {
        "method": environ.get("REQUEST_METHOD", ""),
        "path": f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}",
        "scheme": environ.get("wsgi.url_scheme", ""),
    }


def _is_file(environ: Environ, body: object) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)
