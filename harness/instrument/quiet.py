"""Log lines that cannot become a flood: instrumentation speaks at most once a minute, and so do its exporters."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

EVERY_S = 60.0

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


_exports = OncePerMinute()


def hush(names: Iterable[str]) -> None:
    """Let the named loggers speak once a minute, together with all that were named before."""
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(existing, OncePerMinute) for existing in logger.filters):
            logger.addFilter(_exports)


LOG = logging.getLogger("harness.instrument")
LOG.addFilter(OncePerMinute())
