"""Spans from where somebody else has put them: a trace store or files, asked when the load has ended.

Spans come there in parts and late: what is not whole is asked for again until nothing new has come for a while.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from harness.chunks import ChunkWriter
from harness.interrupt import Interrupt
from harness.model import RunWarning, Span, SpanSpec
from harness.spans import jaeger, tempo
from harness.spans.asked import Progress
from harness.spans.asking import Asker, StoreError
from harness.spans.gathered import Gathered
from harness.spans.otlp_file import Files, prefixes_of, read_lines
from harness.spans.store import Store
from harness.spans.tail import Tail
from harness.units import format_count

OnEvent = Callable[[Mapping[str, object]], None]

FETCHED_FILE = "spans-fetched.arrows"
_APIS = {"jaeger": jaeger.APIS, "tempo": tempo.APIS}
_ROWS_AT_A_TIME = 50_000
_PER_TRACE_S = 0.02  # what one question takes, generously


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is asked again: until nothing new came for `quiet_s`, and never beyond `longest_s`.

    Plain OpenTelemetry exports every five seconds, a collector's batch takes its time, a store too.
    """

    quiet_s: float = 12.0
    longest_s: float = 60.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 4.0


USUAL = Patience()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came: `spans` of `traces` of the asked ones, `whole` of them whole; `rejected` could not be used.

    `source` says what answered. `error` is one sentence when it could not be read, or not to its end.
    """

    source: str
    asked: int
    traces: int = 0
    whole: int = 0
    spans: int = 0
    rejected: int = 0
    unreadable: int = 0  # lines of a file that are no spans at all
    late: bool = False
    error: str | None = None
    hint: str = ""


def fetch(
    spec: SpanSpec,
    asked: Sequence[str],
    window: tuple[int, int] | None,
    out: Path,
    interrupt: Interrupt,
    on_event: OnEvent,
    patience: Patience = USUAL,
) -> Fetched:
    """Bring the spans of the `asked` traces into the chunk file `out`. Nothing is raised for what a store does.

    `window` is the time of the run, ns since the epoch; None only of a run without requests. `on_event` gets
    {"phase": "spans", "done", "of"}, in whole traces.
    """
    if not asked or window is None:
        return Fetched(spec.source, 0)
    rounds = _Rounds(len(asked), patience, interrupt, on_event)
    try:
        with contextlib.closing(ChunkWriter(out, Span)) as writer:
            if spec.source == "file":
                return _from_files(spec.address or "", asked, out, writer, rounds)
            return _from_store(spec, asked, window, writer, rounds)
    except (OSError, pa.ArrowException) as error:
        reason = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
        hint = "free some disk space, or use another --out"
        return Fetched(spec.source, len(asked), error=f"spans cannot be stored in {out}: {reason}", hint=hint)


def warnings_of(fetched: Fetched | None, deadline_variable: str) -> list[RunWarning]:
    """What the run should say about it."""
    found: list[RunWarning] = []
    if fetched is None:
        return found
    if fetched.error is not None:
        found.append(RunWarning("span_source", fetched.error, fetched.hint))
    if fetched.rejected or fetched.unreadable:
        found.append(_rejected(fetched))
    if fetched.late:
        missing = format_count(fetched.asked - fetched.whole)
        message = (
            f"spans still arrived at {fetched.source} when waiting ended: {missing} requests had no whole server half"
        )
        hint = f"let the service export sooner: OTEL_BSP_SCHEDULE_DELAY=500; or wait longer: {deadline_variable}=2min"
        found.append(RunWarning("late_spans", message, hint))
    return found


def _rejected(fetched: Fetched) -> RunWarning:
    """Rubbish in a file is another matter than spans that cannot be."""
    lines, spans = fetched.unreadable, max(0, fetched.rejected - fetched.unreadable)
    found = [f"{format_count(lines)} line{'s' if lines != 1 else ''}"] if lines else []
    found += [f"{format_count(spans)} span{'s' if spans != 1 else ''}"] if spans else []
    why = ["lines that are not OTLP in JSON (the collector's file exporter: format json)"] if lines else []
    why += ["spans whose ids or instants are impossible"] if spans else []
    message = f"{' and '.join(found)} of {fetched.source} could not be used: {' and '.join(why)}"
    return RunWarning("rejected_spans", message, "look at what writes them")


class _Rounds:
    """Asking again, with growing pauses while nothing new comes, until it is over."""

    def __init__(self, asked: int, patience: Patience, interrupt: Interrupt, on_event: OnEvent) -> None:
        self.late = self._came = False
        self._asked, self._patience, self._interrupt, self._on_event = asked, patience, interrupt, on_event
        self._presses = interrupt.presses
        self._ends = time.monotonic() + patience.longest_s + _PER_TRACE_S * asked

    @property
    def _stopped(self) -> bool:
        return self._interrupt.again(self._presses)

    def over(self) -> bool:
        """Whether there is no more time."""
        return self._stopped or time.monotonic() >= self._ends

    def say(self, whole: int) -> None:
        self._on_event({"phase": "spans", "done": whole, "of": self._asked})

    def repeat(self, look: Callable[[], int], whole: Callable[[], int]) -> None:
        """Call `look`, which returns the number of new spans, until all is whole or nothing more can be expected."""
        last_news = time.monotonic()
        pause_s = self._patience.first_pause_s
        while True:
            news = look()
            now = time.monotonic()
            self.say(whole())
            if news:
                self._came, last_news, pause_s = True, now, self._patience.first_pause_s
            if whole() == self._asked or self.over():
                arriving = now - last_news <= self._patience.longest_pause_s
                self.late = whole() < self._asked and self._came and arriving and not self._stopped
                return
            if now - last_news >= self._patience.quiet_s:
                return
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, self._patience.longest_pause_s)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.over() and (left := until - time.monotonic()) > 0:
            time.sleep(min(0.1, left))


def _from_store(
    spec: SpanSpec, asked: Sequence[str], window: tuple[int, int], writer: ChunkWriter, rounds: _Rounds
) -> Fetched:
    base = spec.address or ""
    gathered = Gathered(asked, writer)
    store: Store | None = None
    error: StoreError | None = None
    try:
        with Asker(base, over=rounds.over) as asker:
            store = Store(asker, _APIS[spec.source], gathered, window)
            look = store.look
            rounds.repeat(lambda: look(rounds.over, lambda: rounds.say(gathered.whole)), lambda: gathered.whole)
    except StoreError as found:
        error = found
    if error is None and not gathered.spans:
        hint = "does the service export to it, with the trace id of the request's traceparent? is the URL right?"
        error = StoreError(f"the trace store at {base} has no trace of this run", hint)
    api = store.api.name if store is not None and store.api is not None else spec.source.capitalize()
    return Fetched(
        source=f"{api} at {base}",
        asked=len(asked),
        traces=gathered.begun,
        whole=gathered.whole,
        spans=gathered.spans,
        rejected=0 if store is None else store.rejected,
        late=rounds.late,
        error=None if error is None else error.message,
        hint="" if error is None else error.hint,
    )


def _from_files(pattern: str, asked: Sequence[str], out: Path, writer: ChunkWriter, rounds: _Rounds) -> Fetched:
    files, wanted, prefixes = Files(pattern, rounds.over), frozenset(asked), prefixes_of(asked)
    progress, tail = Progress(pa.array(asked, pa.string())), Tail(out)
    spans = 0

    def look() -> int:
        nonlocal spans
        before = spans
        for row in read_lines(files.new_lines(), files.counted, prefixes):
            if row[0] in wanted:
                writer.append(row)
                spans += 1
                if spans % _ROWS_AT_A_TIME == 0:
                    writer.flush()
                    if rounds.over():
                        break
        writer.flush()
        progress.take(tail.new())
        return spans - before

    rounds.repeat(look, lambda: progress.whole)
    message, hint = _wrong_with(files, spans)
    return Fetched(
        source=f"file {pattern}",
        asked=len(asked),
        traces=progress.begun,
        whole=progress.whole,
        spans=spans,
        rejected=files.counted.unusable,
        unreadable=files.counted.unreadable,
        late=rounds.late,
        error=message,
        hint=hint,
    )


def _wrong_with(files: Files, spans: int) -> tuple[str | None, str]:
    skipped = sorted(files.counted.skipped)
    if skipped and (spans or not files.counted.files):
        more = f" and {len(skipped) - 1:,} more" if len(skipped) > 1 else ""
        return f"{skipped[0]}{more}: no file that can be read", "name regular files: others are passed over"
    if spans:
        return None, ""
    if not files.counted.files:
        return f"{files.pattern} is gone or cannot be read", "is the collector that writes it running?"
    if not files.counted.lines:
        hint = (
            "one OTLP TracesData in JSON a line is read: the collector's file exporter with format json, uncompressed"
        )
        return f"there are no spans in {files.pattern}", hint
    hint = "does the service export to the collector that writes it, with the trace id of the request's traceparent?"
    return f"there is no trace of this run in {files.pattern}", hint
