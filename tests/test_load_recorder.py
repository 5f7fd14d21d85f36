"""What the recorder is given is what is read back, however the process or the disk ends."""

from __future__ import annotations

import errno
import io
import types
import typing
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from load_support import in_child

from harness.chunks import read_chunks
from harness.load.recorder import FLUSH_ROWS, Recorder
from harness.model import Sample

ANY: dict[object, st.SearchStrategy[object]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    bool: st.booleans(),
}


def _any_of(hint: object) -> st.SearchStrategy[object]:
    if isinstance(hint, types.UnionType):
        (base,) = [m for m in typing.get_args(hint) if m is not type(None)]
        return st.none() | ANY[base]
    return ANY[hint]


HINTS = typing.get_type_hints(Sample)
any_sample = st.tuples(*(_any_of(HINTS[f.name]) for f in fields(Sample)))


def a_sample(request_id: int) -> tuple[object, ...]:
    null = type(None)
    values = [None if null in typing.get_args(HINTS[f.name]) else HINTS[f.name]() for f in fields(Sample)]
    return (request_id, *values[1:])


def rows_of(path: Path) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in read_chunks([path], Sample).to_pylist()]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(any_sample, max_size=3), max_size=3))
def test_any_samples_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[object, ...]]]
) -> None:
    path = tmp_path_factory.mktemp("samples") / "samples-0.arrows"
    recorder = Recorder(path)
    for batch in batches:
        for row in batch:
            recorder(row)
        recorder.flush()
    recorder.close()

    assert rows_of(path) == [row for batch in batches for row in batch]


@settings(max_examples=5, deadline=None)
@given(st.lists(any_sample, min_size=2, max_size=3), st.data())
def test_a_file_cut_at_any_byte_keeps_its_complete_batches(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("samples") / "samples-0.arrows"
    recorder = Recorder(path)
    for row in rows:
        recorder(row)
        recorder.flush()
    recorder.close()
    whole = path.read_bytes()
    for cut in data.draw(st.lists(st.integers(0, len(whole)), min_size=20, max_size=20)):
        path.write_bytes(whole[:cut])
        kept = rows_of(path)
        assert kept == rows[: len(kept)]
    path.write_bytes(whole)
    assert rows_of(path) == rows


def test_the_recorder_holds_no_more_rows_than_it_converts_at_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "samples-0.arrows")
    most = 0
    for request_id in range(3 * FLUSH_ROWS + 5):
        recorder(a_sample(request_id))
        most = max(most, len(recorder._rows) + len(recorder._chunks._rows))

    assert most < FLUSH_ROWS
    assert [row[0] for row in rows_of(tmp_path / "samples-0.arrows")] == list(range(3 * FLUSH_ROWS))
    recorder.close()
    assert len(rows_of(tmp_path / "samples-0.arrows")) == 3 * FLUSH_ROWS + 5


class Disk(io.BytesIO):
    """Takes everything until it is full."""

    full = False

    def write(self, content: object) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content)  # type: ignore[arg-type]


def test_a_full_disk_is_told_and_later_rows_are_counted_as_lost(tmp_path: Path) -> None:
    disk = Disk()
    recorder = Recorder(tmp_path / "unused", disk)
    for request_id in range(2 * FLUSH_ROWS + 7):
        disk.full = request_id > FLUSH_ROWS
        recorder(a_sample(request_id))
    recorder.flush()

    assert recorder.failure == "no space left on device"
    assert recorder.lost == FLUSH_ROWS + 7
    recorder.close()
    recorder.close()
    assert recorder.lost == FLUSH_ROWS + 7


MEMORY = """
import resource, sys
from pathlib import Path
from harness.load.live import Live
from harness.load.recorder import Recorder
recorder, live = Recorder(Path(sys.argv[1])), Live(0)
def record(ids):
    for i in ids:
        times = [1_790_000_000_000_000_000 + i] * 4
        recorder((i, f"{i:032x}", f"{i:016x}", "x", "measure", 0, "0", *times[:2], None, *times[:3], *times[:2], "user",
                  200, f"error {i}", None, 500, 180, 1, f"app;dur={i}", False))
        live.count(i, f"error {i}" if i % 2 else None, False, True)
        if i % 10_000 == 0:
            live.turn(i)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = record(range(60_000))
print((record(range(60_000, 200_000)) - before) / 1024, len(live.errors))
"""


def test_memory_does_not_grow_with_the_number_of_requests(tmp_path: Path) -> None:
    grown_mib, names = in_child(MEMORY, str(tmp_path / "samples-0.arrows")).split()

    assert float(grown_mib) < 8  # 140,000 rows kept as Python objects would be 100 MiB
    assert int(names) == 51  # fifty names of errors and "other"
