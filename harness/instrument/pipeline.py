"""Where spans go: the service's own TracerProvider, else a private one that exports over OTLP/HTTP, else nowhere.

The global provider is never set. A private one is made per process, after a fork, and only if the environment names
an endpoint; the exporter and its HTTP library are imported only then.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind

from harness.instrument.ids import new_span_id as new_span_id
from harness.instrument.ids import new_trace_id as new_trace_id
from harness.instrument.outbox import LOG as OUTBOX_LOG
from harness.instrument.outbox import Counts, Outbox
from harness.instrument.quiet import LOG, SDK_LOGGERS, hush
from harness.instrument.spans import SAMPLED as SAMPLED
from harness.instrument.spans import Finished, spans_of
from harness.instrument.traceparent import TraceParent

QUEUE_SIZE = 65_536
BATCH_SIZE = 2_048
DELAY_MS = 500
FLUSH_AT_MOST_S = 1.75
MOST_DELAY_MS = 3_600_000
MOST_SPANS = 10_000_000
MOST_CHARACTERS = 1 << 40  # of a value; ours are shorter anyway

_RECORDED = sampling.Decision.RECORD_AND_SAMPLE

_lock = threading.Lock()
_counting = threading.RLock()
_own: TracerProvider | None = None
_outbox: Outbox | None = None  # of the private provider
_taken = _refused = 0  # spans given to the service's own processors, and those that they raised on
_flush: threading.Thread | None = None
_abandoned: tuple[TracerProvider, ...] = ()  # private providers of the processes we were forked from
_looked = False  # whether this process has decided if it exports by itself
_UNKNOWN = object()
_seen: object = _UNKNOWN  # the global provider when it was last looked at, and what became of it
_ambient: TracerProvider | None = None


def _forget_parent() -> None:
    """A forked child has neither the parent's exporter thread nor its locks, and counts for itself."""
    global _lock, _counting, _own, _outbox, _looked, _flush, _taken, _refused, _abandoned
    if _outbox is not None:  # a request may be open here that began in the parent
        _outbox.abandon()
    if _own is not None:
        _abandoned += (_own,)
    _lock, _counting = threading.Lock(), threading.RLock()
    _own, _outbox, _looked, _flush = None, None, False, None
    _taken = _refused = 0


os.register_at_fork(after_in_child=_forget_parent)


def preload() -> None:
    """Import the exporter while the service starts, so that no request waits for it. Makes no thread, no socket."""
    if _exports_by_itself():
        try:
            import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: F401
        except Exception:
            LOG.warning("spans are not exported", exc_info=True)


def provider() -> TracerProvider | None:
    """Whose processors get the spans of a request that begins now; None when nobody wants them."""
    ambient = global_provider()
    if ambient is not None:
        return ambient
    if not _looked:
        _look()
    return _own


def global_provider() -> TracerProvider | None:
    """The provider the service set for the whole process, when it is the SDK's.

    The public function looks into the environment as long as none is set, which costs a request as much as a stage.
    """
    global _seen, _ambient
    found = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)
    if found is not _seen or found is _UNKNOWN:
        _ambient = _look_for_global()
        _seen = found
    return _ambient


def _look_for_global() -> TracerProvider | None:
    try:
        found = trace.get_tracer_provider()
    except Exception:
        return None
    return found if isinstance(found, TracerProvider) and not _disabled() else None


def samples(
    chosen: TracerProvider, caller: TraceParent | None, trace_id: int, scope: Mapping[str, Any] | None = None
) -> bool:
    """Whether a request is recorded: never against the caller's flag, otherwise as the sampler says.

    The sampler hears of `scope` what it would hear of the service's own server span, in old words and in new ones.
    """
    if caller is not None and not caller.sampled:
        return False
    sampler = chosen.sampler
    if sampler is sampling.DEFAULT_ON or sampler is sampling.ALWAYS_ON:
        return True
    context = Context()
    if caller is not None:
        remote = SpanContext(caller.trace_id, caller.span_id, is_remote=True, trace_flags=SAMPLED)
        context = trace.set_span_in_context(NonRecordingSpan(remote), context)
    name, attributes = "HTTP", {}
    if scope:
        method, path, scheme = (str(scope.get(key, "")) for key in ("method", "path", "scheme"))
        name = f"{method} {path}"
        attributes = {
            "http.request.method": method, "url.path": path, "url.scheme": scheme,
            "http.method": method, "http.target": path, "http.scheme": scheme,
        }  # fmt: skip
    return sampler.should_sample(context, trace_id, name, SpanKind.SERVER, attributes).decision is _RECORDED


def hand_over(done: Finished) -> None:
    """Send the spans of a request whose record has a provider."""
    chosen = done.record.provider
    if chosen is _own and _outbox is not None:
        _outbox.put(done)
    else:
        export(chosen, spans_of(done, chosen))


def export(chosen: TracerProvider, spans: Sequence[ReadableSpan]) -> None:
    """Hand ended spans to the provider's processors. Raises what they raise."""
    global _taken, _refused
    if chosen is _own and _outbox is not None:
        for span in spans:
            _outbox.put(span)
        return
    if chosen in _abandoned:  # the parent's, whose exporter has no threads here
        with _counting:
            _refused += len(spans)
        return
    processor = chosen._active_span_processor
    taken = 0
    try:
        for span in spans:
            processor.on_end(span)
            taken += 1
    finally:
        with _counting:
            _taken += taken
            _refused += len(spans) - taken


def counts() -> Counts:
    """Spans of ours of this process so far; started = exported + lost when nothing is queued.

    Those that the service's own processors took count as exported: what becomes of them is not known here.
    """
    own = Counts(0, 0, 0) if _outbox is None else _outbox.counts()
    with _counting:
        return Counts(own.started + _taken + _refused, own.exported + _taken, own.lost + _refused)


def start_flush() -> threading.Thread | None:
    """Begin to send what our own exporter has queued, in a thread of its own; a provider of the service's is the
    service's to flush. None when there is nothing to wait for: no exporter, no thread to be had, or not even the last
    flush got through, since waiting for a collector that is gone once is enough."""
    global _flush
    if _outbox is None or (_flush is not None and _flush.is_alive()):
        return None
    flush = threading.Thread(target=_outbox.force_flush, name="harness-flush", daemon=True)
    try:
        flush.start()
    except RuntimeError:
        return None
    _flush = flush
    return _flush


def _flush_at_exit() -> None:
    if _outbox is not None and (_flush is None or not _flush.is_alive()):
        _outbox.hurry(FLUSH_AT_MOST_S)


def _look() -> None:
    global _own, _outbox, _looked
    with _lock:
        if _looked:
            return
        if _exports_by_itself():
            try:
                _own, _outbox = _private_provider()
                atexit.register(_flush_at_exit)
            except Exception:
                LOG.warning("spans are not exported", exc_info=True)
        _looked = True


def _disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _exports_by_itself() -> bool:
    environ = os.environ
    exporters = {name.strip().lower() for name in environ.get("OTEL_TRACES_EXPORTER", "").split(",")}
    if _disabled() or not exporters <= {"", "otlp"}:
        return False
    if not (environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        return False
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or ""
    if protocol.strip().lower() == "grpc":
        LOG.warning("spans are not exported: OTEL_EXPORTER_OTLP_PROTOCOL=grpc, but only http/protobuf is built in")
        return False
    return True


def _private_provider() -> tuple[TracerProvider, Outbox]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    from harness.instrument.encode import LONGEST_TEXT, cut_values_at
    from harness.instrument.exporter import sender

    hush((*SDK_LOGGERS, OUTBOX_LOG.name))
    # Not shut down at exit by the SDK: that waits up to 30 s for a collector that is gone.
    made = TracerProvider(resource=Resource.create({"process.pid": os.getpid()}), shutdown_on_exit=False)
    queue_size = _positive("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SIZE, MOST_SPANS)
    longest = _positive("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", LONGEST_TEXT, MOST_CHARACTERS)
    longest = _positive("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", longest, MOST_CHARACTERS)
    cut_values_at(min(longest, LONGEST_TEXT))
    outbox = Outbox(
        sender(OTLPSpanExporter(), made),
        queue_size=queue_size,
        batch_size=min(queue_size, _positive("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_SIZE, MOST_SPANS)),
        delay_s=_positive("OTEL_BSP_SCHEDULE_DELAY", DELAY_MS, MOST_DELAY_MS) / 1000,
    )
    made.add_span_processor(outbox)
    return made, outbox


def _positive(variable: str, default: int, at_most: int) -> int:
    value = os.environ.get(variable, "").strip()
    if value.isdecimal() and value.strip("0"):
        chosen = int(value) if len(value) <= 40 else at_most
        if chosen > at_most:
            LOG.warning("%s is too large: %d is used", variable, at_most)
        return min(chosen, at_most)
    if value:
        LOG.warning("%s is not a positive whole number: %d is used", variable, default)
    return default
