"""Where spans go: the service's own TracerProvider, else a private one that exports over OTLP/HTTP, else nowhere.

The global provider is never set. A private one is made per process, after a fork, and only if the environment names
an endpoint; the exporter and its HTTP library are imported only then.
"""

from __future__ import annotations

import atexit
import os
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from harness.instrument.quiet import LOG, SDK_LOGGERS, hush
from harness.instrument.traceparent import TraceParent

QUEUE_SIZE = 65_536
BATCH_SIZE = 2_048
DELAY_MS = 500
FLUSH_AT_MOST_S = 2.0

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_RECORDED = sampling.Decision.RECORD_AND_SAMPLE

_lock = threading.Lock()
_own: TracerProvider | None = None
_flush: threading.Thread | None = None
_looked = False  # whether this process has decided if it exports by itself
_ids = random.Random(os.urandom(16))  # noqa: S311 - not the service's generator, which it may have seeded


@dataclass(frozen=True, slots=True)
class Counts:
    """Spans of this process: made, taken by a collector (or by the service's own processors), lost for good."""

    started: int
    exported: int
    lost: int


_started = 0
_exported = 0


def _forget_parent() -> None:
    """A forked child has neither the parent's exporter thread nor may it draw the parent's ids."""
    global _lock, _own, _looked, _flush, _ids, _started, _exported
    _started = _exported = 0
    _lock, _own, _looked, _flush = threading.Lock(), None, False, None
    _ids = random.Random(os.urandom(16))  # noqa: S311


os.register_at_fork(after_in_child=_forget_parent)


def new_trace_id() -> int:
    return _ids.getrandbits(128) or 1


def new_span_id() -> int:
    return _ids.getrandbits(64) or 1


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
    """The provider the service set for the whole process, when it is the SDK's."""
    try:
        found = trace.get_tracer_provider()
    except Exception:
        return None
    return found if isinstance(found, TracerProvider) and not _disabled() else None


def samples(chosen: TracerProvider, caller: TraceParent | None, trace_id: int) -> bool:
    """Whether a request is recorded: never against the caller's flag, otherwise as the sampler says."""
    if caller is not None and not caller.sampled:
        return False
    sampler = chosen.sampler
    if sampler is sampling.DEFAULT_ON or sampler is sampling.ALWAYS_ON:
        return True
    context = Context()
    if caller is not None:
        remote = SpanContext(caller.trace_id, caller.span_id, is_remote=True, trace_flags=SAMPLED)
        context = trace.set_span_in_context(NonRecordingSpan(remote), context)
    return sampler.should_sample(context, trace_id, "HTTP", SpanKind.SERVER).decision is _RECORDED


def export(chosen: TracerProvider, spans: Sequence[ReadableSpan]) -> None:
    """Hand ended spans to the provider's processors."""
    global _started, _exported
    processor = chosen._active_span_processor
    _started += len(spans)
    for span in spans:
        processor.on_end(span)
        _exported += 1


def counts() -> Counts:
    """Spans of ours of this process so far."""
    return Counts(_started, _exported, _started - _exported)


def start_flush() -> threading.Thread | None:
    """Begin to send what is queued in a thread of its own; None when nobody takes our spans, or not even the last
    flush got through: waiting for a collector that is gone once is enough."""
    global _flush
    chosen = global_provider() or _own
    if chosen is None or (_flush is not None and _flush.is_alive()):
        return None
    _flush = threading.Thread(target=chosen.force_flush, name="harness-flush", daemon=True)
    _flush.start()
    return _flush


def _flush_at_exit() -> None:
    thread = start_flush()
    if thread is not None:
        thread.join(FLUSH_AT_MOST_S)


def _look() -> None:
    global _own, _looked
    with _lock:
        if _looked:
            return
        if _exports_by_itself():
            try:
                _own = _private_provider()
                atexit.register(_flush_at_exit)
            except Exception:
                LOG.warning("spans are not exported", exc_info=True)
        _looked = True


def _disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _exports_by_itself() -> bool:
    environ = os.environ
    if _disabled() or environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    if not (environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        return False
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or ""
    if protocol.strip().lower() == "grpc":
        LOG.warning("spans are not exported: OTEL_EXPORTER_OTLP_PROTOCOL=grpc, but only http/protobuf is built in")
        return False
    return True


def _private_provider() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    hush(SDK_LOGGERS)
    set_by_user = {name for name in os.environ if name.startswith("OTEL_BSP_") and os.environ[name]}
    own_sizes = not set_by_user & {"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"}
    processor = BatchSpanProcessor(
        OTLPSpanExporter(),
        max_queue_size=QUEUE_SIZE if own_sizes else None,
        max_export_batch_size=BATCH_SIZE if own_sizes else None,
        schedule_delay_millis=None if "OTEL_BSP_SCHEDULE_DELAY" in set_by_user else DELAY_MS,
    )
    # Not shut down at exit by the SDK: that waits up to 30 s for a collector that is gone.
    made = TracerProvider(resource=Resource.create({"process.pid": os.getpid()}), shutdown_on_exit=False)
    made.add_span_processor(processor)
    return made
