"""Where decoded spans and points go: two chunk files and the counts. Belongs to the event loop of the receiver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import pyarrow as pa

from harness.chunks import ChunkWriter
from harness.model import Span, Vital
from harness.spans import otlp, otlp_metrics
from harness.spans.bodies import Held, Refusal, gunzip
from harness.spans.listen import VITALS_FILE

Signal: TypeAlias = Literal["traces", "metrics", "logs"]
Say: TypeAlias = Callable[[Mapping[str, object]], None]

MOST_POINTS = 200_000
# Of spans not yet flushed: bounds memory, and the size of one Arrow batch.
_FLUSH_AT_BYTES = 32 * 1024 * 1024
_FLUSH_AT_ROWS = 32_768

_MEDIA_TYPE = {"protobuf": "application/x-protobuf", "json": "application/json"}


class Intake:
    """Spans go to `out`, points to `vitals.arrows` beside it, which is made with the first of them."""

    def __init__(self, out: Path, say: Say) -> None:
        self.held = Held()
        self._say = say
        self._spans = ChunkWriter(out, Span)
        self._vitals: ChunkWriter | None = None
        self._vitals_path = out.with_name(VITALS_FILE)
        self._failure: dict[Signal, str] = {}  # why no more of a signal is stored
        self._counts = dict.fromkeys(("spans", "rejected", "bytes", "requests", "points", "points_rejected"), 0)
        self._pending_bytes = self._pending_rows = 0
        self._reported: dict[str, int] = {}

    def take(self, signal: Signal, body: bytes, encoding: otlp.Encoding, gzipped: bool) -> bytes:
        """Decode a body and keep what is in it; the answer, in the same encoding. Raises Refusal."""
        if signal == "logs":
            return otlp.encode_answer(encoding)
        try:
            if gzipped:
                body = gunzip(body)
            if signal == "metrics":
                points = otlp_metrics.decode(body, encoding)
                return otlp.encode_answer(encoding, *self._take_points(points), "rejectedDataPoints")
            decoded = otlp.decode(body, _MEDIA_TYPE[encoding])
            return otlp.encode_answer(encoding, *self._take_spans(decoded, len(body)))
        except otlp.MalformedBody as error:
            raise Refusal(400, str(error)) from error
        except MemoryError as error:
            raise Refusal(413, "the body takes too much memory") from error

    def _take_spans(self, decoded: otlp.Decoded, body_bytes: int) -> tuple[int, str]:
        """How many were rejected, and why."""
        self._counts["requests"] += 1
        self._counts["bytes"] += body_bytes
        rejected, reason = decoded.rejected, "spans with invalid ids or times"
        failure = self._failure.get("traces")
        if failure is None:
            self._counts["spans"] += len(decoded.rows)
            self._spans.append_all(decoded.rows)  # type: ignore[arg-type]
            self._pending_bytes += body_bytes
            self._pending_rows += len(decoded.rows)
            if self._pending_bytes > _FLUSH_AT_BYTES or self._pending_rows > _FLUSH_AT_ROWS:
                self._flush_spans()
        else:
            rejected, reason = rejected + len(decoded.rows), failure
        self._counts["rejected"] += rejected
        return rejected, reason

    def _take_points(self, points: otlp_metrics.Points) -> tuple[int, str]:
        """How many were rejected, and why."""
        rejected, reason = points.rejected, "points without a time or a finite value, or with too long a name"
        failure = self._failure.get("metrics")
        kept = [] if failure is not None else points.rows[: MOST_POINTS - self._counts["points"]]
        if len(kept) < len(points.rows):
            rejected += len(points.rows) - len(kept)
            reason = failure or f"no more than {MOST_POINTS:,} points of one run are kept"
        if kept:
            try:
                self._vitals = self._vitals or ChunkWriter(self._vitals_path, Vital)
                self._vitals.append_all(kept)  # type: ignore[arg-type]
            except (OSError, pa.ArrowException) as error:
                self._fail("metrics", self._vitals_path, error)
                rejected, kept = rejected + len(kept), []
        self._counts["points"] += len(kept)
        self._counts["points_rejected"] += rejected
        return rejected, reason

    def _flush(self, signal: Signal, writer: ChunkWriter | None, count: str) -> None:
        if writer is None or signal in self._failure:
            return
        before = writer.rows_written
        try:
            writer.flush()
        except (OSError, pa.ArrowException) as error:
            self._fail(signal, writer.path, error)
            self._counts[count] = before

    def _flush_spans(self) -> None:
        self._pending_bytes = self._pending_rows = 0
        self._flush("traces", self._spans, "spans")

    def _fail(self, signal: Signal, path: Path, error: Exception) -> None:
        # Whatever was written of this batch is a torn tail; nothing readable could follow it.
        what = "spans" if signal == "traces" else "points"
        self._failure[signal] = f"{what} can no longer be stored in {path}: {error}"
        if signal == "traces" or "traces" not in self._failure:  # a full disk stops both, spans matter more
            self._say({"kind": "error", "message": self._failure[signal]})

    def report(self, always: bool = False) -> None:
        """Flush, then say the counts if they changed: what is counted is on disk."""
        self._flush_spans()
        self._flush("metrics", self._vitals, "points")
        if always or self._counts != self._reported:
            self._reported = dict(self._counts)
            self._say(self._reported)

    def close(self) -> None:
        """Flush and end the files, then say the counts for the last time."""
        self._flush_spans()
        self._flush("metrics", self._vitals, "points")
        for signal, writer in (("traces", self._spans), ("metrics", self._vitals)):
            try:
                if writer is not None:
                    writer.close()
            except (OSError, pa.ArrowException) as error:
                self._failure.setdefault(signal, f"{writer.path} could not be closed: {error}")  # type: ignore
        self._say({"kind": "end", **self._counts})
