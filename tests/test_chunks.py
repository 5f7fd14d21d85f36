from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.chunks import ChunkWriter, read_chunks, schema_of
from harness.model import LedgerRow, ModelCall, Sample, Span, columns


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    seconds: float
    text: str | None
    flag: bool


ROWS = [(1, 0.5, "a", True), (2, 1.5, None, False), (3, 2.5, "ü\x00<script>", True)]


def written(path: Path, *batches: list[tuple[int, float, str | None, bool]]) -> Path:
    writer = ChunkWriter(path, Row)
    for batch in batches:
        for row in batch:
            writer.append(row)
        writer.flush()
    writer.close()
    return path


def rows_of(table: pa.Table) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def test_a_row_type_becomes_a_schema_with_its_nulls() -> None:
    schema = schema_of(Row)

    assert schema.names == ["number", "seconds", "text", "flag"]
    assert [str(f.type) for f in schema] == ["int64", "double", "string", "bool"]
    assert [f.nullable for f in schema] == [False, False, True, False]


@pytest.mark.parametrize("row_type", [Sample, Span, LedgerRow, ModelCall])
def test_every_table_of_a_run_has_a_schema(row_type: type) -> None:
    assert tuple(schema_of(row_type).names) == columns(row_type)


def test_what_is_written_is_read_back_in_order(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.arrows", ROWS[:1], ROWS[1:])

    assert rows_of(read_chunks([path], Row)) == ROWS


def test_chunk_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a.arrows", ROWS[:2]), written(tmp_path / "b.arrows", ROWS[2:])

    assert rows_of(read_chunks([second, first], Row)) == [ROWS[2], ROWS[0], ROWS[1]]


def test_no_files_and_empty_files_are_an_empty_table(tmp_path: Path) -> None:
    empty = written(tmp_path / "rows.arrows")
    (tmp_path / "nothing.arrows").touch()

    for paths in ([], [empty], [tmp_path / "nothing.arrows"]):
        table = read_chunks(paths, Row)
        assert table.num_rows == 0
        assert table.schema == schema_of(Row)


def test_flush_tells_the_number_of_rows_and_an_idle_one_writes_no_batch(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path / "rows.arrows", Row)
    writer.append(ROWS[0])
    writer.append(ROWS[1])

    assert (writer.flush(), writer.flush(), writer.rows_written) == (2, 0, 2)
    writer.close()
    assert read_chunks([writer.path], Row).column("number").num_chunks == 1


def test_closing_writes_what_was_not_flushed_and_may_be_repeated(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path / "rows.arrows", Row)
    writer.append(ROWS[0])
    writer.close()
    writer.close()

    assert rows_of(read_chunks([writer.path], Row)) == ROWS[:1]


def test_a_flushed_batch_is_there_while_the_writer_is_still_open(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path / "rows.arrows", Row)
    writer.append(ROWS[0])
    writer.flush()
    writer.append(ROWS[1])

    assert rows_of(read_chunks([writer.path], Row)) == ROWS[:1]
    writer.close()


def test_a_file_cut_at_any_byte_gives_its_complete_batches(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.arrows", ROWS[:1], ROWS[1:]).read_bytes()
    torn = tmp_path / "torn.arrows"
    lengths = set()
    for cut in range(len(whole) + 1):
        torn.write_bytes(whole[:cut])
        rows = rows_of(read_chunks([torn], Row))
        assert rows == ROWS[: len(rows)]
        lengths.add(len(rows))

    assert lengths == {0, 1, 3}


def test_rows_after_a_torn_file_are_still_read(tmp_path: Path) -> None:
    torn, whole = written(tmp_path / "a.arrows", ROWS[:1], ROWS[1:]), written(tmp_path / "b.arrows", ROWS)
    torn.write_bytes(torn.read_bytes()[:-60])

    assert rows_of(read_chunks([torn, whole], Row))[-3:] == ROWS


def test_a_killed_writer_loses_only_what_it_had_not_flushed(tmp_path: Path) -> None:
    path = tmp_path / "samples.arrows"
    code = (
        "import sys, time; from pathlib import Path; from harness.chunks import ChunkWriter\n"
        "from harness.model import ModelCall\n"
        "w = ChunkWriter(Path(sys.argv[1]), ModelCall)\n"
        "for i in range(5): w.append((i, 'm', 0, 1, 0.1, None, None))\n"
        "w.flush(); w.append((5, 'm', 0, 1, 0.1, None, None)); print('flushed', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"flushed\n"
        os.kill(child.pid, signal.SIGKILL)

    assert read_chunks([path], ModelCall).column("request_id").to_pylist() == [0, 1, 2, 3, 4]


def test_two_hundred_thousand_rows_are_flushed_in_seconds(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path / "rows.arrows", Row)
    began = time.monotonic()
    for _ in range(200_000):
        writer.append(ROWS[0])
    writer.flush()
    writer.close()

    assert time.monotonic() - began < 5


any_row = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(any_row, max_size=4), max_size=4))
def test_any_rows_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int, float, str | None, bool]]]
) -> None:
    path = written(tmp_path_factory.mktemp("chunks") / "rows.arrows", *batches)

    assert rows_of(read_chunks([path], Row)) == [row for batch in batches for row in batch]


@dataclass(frozen=True, slots=True)
class Named:
    name: str
    at_ns: int


@pytest.mark.parametrize(
    "bad", [("half \ud800", 1), ("null", None), ("large", 2**63)], ids=["surrogate", "null", "beyond 64 bits"]
)
def test_a_row_the_schema_cannot_hold_does_not_take_its_neighbours_along(
    tmp_path: Path, bad: tuple[object, object]
) -> None:
    writer = ChunkWriter(tmp_path / "rows.arrows", Named)
    for row in (("first", 1), bad, ("last", 3)):
        writer.append(row)
    writer.close()

    assert read_chunks([tmp_path / "rows.arrows"], Named).column("name").to_pylist() == ["first", "last"]
    assert (writer.rows_written, writer.rows_refused) == (2, 1)


def test_a_chunk_file_that_is_missing_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_chunks([tmp_path / "nowhere.arrows"], Span)
