"""Log lines that cannot become a flood: instrumentation speaks at most once a minute, and so do its exporters."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable

EVERY_S = 60.0

OUR_THREADS = "harness-"
"""How the names of the threads begin in which our own exporters work."""

# Where the SDK complains about an exporter that fails or a queue that overflows.
SDK_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace.export",
)


class OncePerMinute(logging.Filter):
    """Passes one record a minute, without its traceback, and drops the rest."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + EVERY_S
        if record.exc_info and record.exc_info[1] is not None:
            record.msg = f"{record.getMessage()} ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
            record.args = ()
            record.exc_info = None
        return True


class OurExports(OncePerMinute):
    """The same for what is said in our own threads; a service may export, and complain, by itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not threading.current_thread().name.startswith(OUR_THREADS) or super().filter(record)


_exports = OurExports()


def hush(names: Iterable[str]) -> None:
    """Let our exporters speak once a minute on the named loggers, together with all that were named before."""
    for name in names:
        logger = logging.getLogger(name)
        if _exports not in logger.filters:
            logger.addFilter(_exports)


LOG = logging.getLogger("harness.instrument")
LOG.addFilter(OncePerMinute())


def _handled(record: logging.LogRecord, handle: Callable[[logging.LogRecord], None] = LOG.handle) -> None:
    with contextlib.suppress(Exception):  # a handler of the service's that raises must not break a request
        handle(record)


LOG.handle = _handled  # type: ignore[method-assign]
