"""After the load: wait for the spans that are still on their way to the receiver."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.interrupt import Interrupt
from harness.model import RunWarning, SpanSpec
from harness.spans import listen
from harness.spans.asked import Asked, Progress
from harness.spans.listen import SPANS_FILE, GrpcPort, ReceiverProcess, ReceiverStatus
from harness.spans.tail import Tail
from harness.units import format_count, format_duration, parse_duration_s

OnEvent = Callable[[Mapping[str, object]], None]

EXPORT_INTERVAL_S = 6.0
"""Plain OpenTelemetry exports every five seconds, unless it is told otherwise."""
DEADLINE_S = 5 * EXPORT_INTERVAL_S
DEADLINE = "MLHARNESS_SPAN_DEADLINE"
_QUIET_S = 1.0
_STILL_ARRIVING_S = 2.5  # a look takes up to two seconds


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the receiver listens; handed over to it when it starts."""

    http: socket.socket
    grpc: GrpcPort | None = None


@dataclass(frozen=True, slots=True)
class Awaited:
    """How the wait ended: of `asked` traces `whole` were there. `late`: spans still came when the deadline passed."""

    asked: int
    whole: int
    waited_s: float
    late: bool = False


def wanted(spec: SpanSpec) -> bool:
    """Whether spans are to be received by the harness itself."""
    return spec.source in ("auto", "otlp") and (spec.listen is not None or spec.listen_grpc is not None)


def bind(spec: SpanSpec, http: socket.socket | None = None) -> Ports | None:
    """The ports that `spec` asks for; None when it asks for none. Raises UsageError.

    `http` is a socket that is bound already. The receiver always has one for HTTP: with gRPC alone, on any free port.
    """
    if http is None and not wanted(spec):
        return None
    http = http or listen.bind(spec.listen or "127.0.0.1:0")
    try:
        return Ports(http, listen.bind_grpc(spec.listen_grpc) if spec.listen_grpc is not None else None)
    except UsageError:
        http.close()
        raise


@contextmanager
def receiving(ports: Ports | None, run_dir: Path) -> Iterator[ReceiverProcess | None]:
    """The span receiver for the length of a `with`, when there are ports for it."""
    if ports is None:
        yield None
        return
    child = listen.start(ports.http, run_dir, ports.grpc)
    try:
        yield child
    finally:
        child.stop()


def deadline_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How long missing spans are waited for, seconds; None when the environment does not say. Raises UsageError."""
    text = environ.get(DEADLINE)
    if not text:
        return None
    try:
        return parse_duration_s(text)
    except UsageError as error:
        raise UsageError(f"{DEADLINE} in the environment: {error.message}", error.hint) from None


def await_received(
    receiver: ReceiverProcess,
    run_dir: Path,
    asked: Asked,
    run_s: float,
    interrupt: Interrupt,
    on_event: OnEvent,
    chosen_s: float | None = None,
) -> Awaited:
    """Wait until every asked trace is whole, nothing new came for an export interval, or the deadline has passed.

    A service that exports at all has done so within its export interval: when a run of `run_s` brought not one span,
    none will come. Nor is there anything to wait for then if all answers carry their Server-Timing. A deadline that
    the user chose is waited for in full: there may be a collector in between that keeps spans back.
    """
    longest_s = DEADLINE_S if chosen_s is None else chosen_s
    interval_s = EXPORT_INTERVAL_S if chosen_s is None else chosen_s
    presses = interrupt.presses
    progress, tail = Progress(asked.traces), Tail(run_dir / SPANS_FILE)
    began = last_news = time.monotonic()
    seen = 0
    while True:
        if not interrupt.again(presses):
            receiver.drained(_QUIET_S, 2 * _QUIET_S)
        status = receiver.poll() or ReceiverStatus()
        progress.take(tail.new())
        now = time.monotonic()
        if progress.spans != seen:  # others may use the service at the same time: theirs are no news
            seen, last_news = progress.spans, now
        whole = progress.whole
        on_event({"phase": "spans", "done": whole, "of": len(asked)})
        waited = now - began
        late = waited >= longest_s and whole < len(asked) and now - last_news < _STILL_ARRIVING_S
        silent = seen == 0 and (not asked.without_header or run_s + waited > interval_s)
        complete = whole == len(asked) and (progress.sure or waited > EXPORT_INTERVAL_S)
        over = complete or silent or now - last_news >= interval_s or waited >= longest_s
        if over or interrupt.again(presses) or status.error is not None:
            return Awaited(len(asked), whole, waited, late)


def warnings_of(received: ReceiverStatus | None, awaited: Awaited | None) -> list[RunWarning]:
    """What the receiver and the wait for it have to say about the run."""
    found: list[RunWarning] = []
    if received is not None and received.error is not None:
        found.append(RunWarning("receiver", received.error, "spans may be missing; see receiver.log in the run folder"))
    elif received is not None and received.rejected:
        message = f"{received.rejected:,} spans were refused: their ids or instants are impossible"
        found.append(RunWarning("rejected_spans", message, "look at the exporter that sends them"))
    if awaited is not None and awaited.late:
        missing = awaited.asked - awaited.whole
        message = (
            f"spans still arrived {format_duration(awaited.waited_s)} after the load had ended: {format_count(missing)}"
            f" of {format_count(awaited.asked)} requests had no whole server half by then"
        )
        hint = f"let the service export sooner: OTEL_BSP_SCHEDULE_DELAY=500; or wait longer: {DEADLINE}=2min"
        found.append(RunWarning("late_spans", message, hint))
    return found
