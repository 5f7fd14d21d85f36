"""Samples of workers whose clock is not the master's are moved onto it: a run has one time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from harness.chunks import schema_of
from harness.model import RunWarning, Sample
from harness.units import format_duration

_WORTH_SAYING_S = 0.001


def align(run_dir: Path, workers: Iterable[Mapping[str, Any]]) -> list[RunWarning]:
    """Move the samples in `samples-<worker>.arrows` by what each worker's clock was off; the warnings to go with it.

    `workers` are those of the end line. An offset within its own bound may be none at all, and is left alone.
    Raises OSError when a file cannot be written.
    """
    found: list[RunWarning] = []
    for worker in workers:
        offset_s, bound_s = worker.get("clock_offset_s"), worker.get("clock_bound_s")
        path = run_dir / f"samples-{worker['worker']}.arrows"
        if offset_s is None or bound_s is None or abs(offset_s) <= bound_s or not path.exists():
            continue
        move(path, -round(offset_s * 1e9))
        if abs(offset_s) >= _WORTH_SAYING_S:
            found.append(_warning(worker["worker"], offset_s, bound_s))
    return found


def _warning(worker: str, offset_s: float, bound_s: float) -> RunWarning:
    way = "ahead of" if offset_s > 0 else "behind"
    known = f"{format_duration(abs(offset_s))}, known to {format_duration(bound_s)},"
    message = f"the clock of worker {worker} is {known} {way} the master's: its samples were moved by that"
    return RunWarning("worker_clock", message, "have all machines keep their clocks by the same NTP server")


def move(path: Path, by_ns: int) -> None:
    """Add `by_ns` to every instant (columns that end in `_ns`) of a chunk file, batch by batch. Raises OSError."""
    moved = path.with_suffix(".moved")
    try:
        with path.open("rb") as source, moved.open("wb") as target, pa.ipc.new_stream(target, schema_of(Sample)) as out:
            for batch in _whole_batches(source):
                out.write_batch(_moved(batch, by_ns))
        os.replace(moved, path)
    finally:
        moved.unlink(missing_ok=True)


def _whole_batches(source: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """Without the tail, which is torn off when the worker was lost."""
    with contextlib.suppress(pa.ArrowInvalid, OSError), pa.ipc.open_stream(source) as stream:
        yield from iter(stream)


def _moved(batch: pa.RecordBatch, by_ns: int) -> pa.RecordBatch:
    columns = [
        pc.add(column, by_ns) if name.endswith("_ns") else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.record_batch(columns, schema=batch.schema)
