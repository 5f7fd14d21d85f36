"""What the tests of fetching share: one fetch from a store, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from harness.chunks import read_chunks
from harness.interrupt import Interrupt
from harness.model import Span, SpanSpec
from harness.spans.fetch import Fetched, Patience, fetch
from tests.trace_shapes import MS, T0
from tests.trace_store import TraceStore

SHORT = Patience(quiet_s=0.4, longest_s=5.0, first_pause_s=0.05, longest_pause_s=0.1)


def brought(
    store: TraceStore,
    folder: Path,
    asked: Sequence[str] | None = None,
    patience: Patience = SHORT,
    events: list[Mapping[str, object]] | None = None,
    interrupt: Interrupt | None = None,
) -> tuple[Fetched, pa.Table]:
    spec = SpanSpec(source=store.shape.partition("-")[0].replace("page", "jaeger"), address=store.url)
    out = folder / "spans-fetched.arrows"
    wanted = store.trace_ids if asked is None else asked
    tell = (lambda event: None) if events is None else events.append
    fetched = fetch(spec, wanted, (T0, T0 + 1000 * MS), out, interrupt or Interrupt(), tell, patience)
    return fetched, read_chunks([out], Span)


def spans_of(table: pa.Table) -> set[tuple[str, str]]:
    rows = list(zip(table["trace_id"].to_pylist(), table["span_id"].to_pylist(), strict=True))
    assert len(set(rows)) == len(rows), "a span was kept twice"
    return set(rows)
