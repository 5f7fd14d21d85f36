"""The spans of one request among millions: found where they are, nothing else read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.chunks import ChunkWriter
from harness.errors import RunFolderError
from harness.model import Span, SpanSpec
from harness.run_folder import RunFolder
from harness.waterfall import spans_of
from tests.builders import a_root, a_span, at, spans_table, trace

SPEC = SpanSpec(None, "otlp")
SECOND = 1_000.0


def store(path: Path, groups: list[list[Span]], **options: object) -> RunFolder:
    """A table with these groups of rows."""
    with pq.ParquetWriter(path / "spans.parquet", spans_table().schema, **options) as writer:
        for rows in groups:
            writer.write_table(spans_table(*rows))
    return RunFolder(path)


def of(number: int, ms: float) -> list[Span]:
    root = a_root(ms, ms + 80, number)
    return [root, a_span("detect", ms + 10, ms + 70, number=number, parent_id=root.span_id, stage="inference")]


def window(ms: float) -> tuple[int, int]:
    return at(ms - SECOND), at(ms + 100 + SECOND)


def names(found: pa.Table) -> list[str]:
    return sorted(found.column("name").to_pylist())


def test_the_spans_of_a_request_are_found_among_others(tmp_path: Path) -> None:
    folder = store(tmp_path, [[*of(number, number * 60 * SECOND)] for number in range(5)])

    found = spans_of(folder, [trace(3)], [window(180 * SECOND)], SPEC)

    assert names(found) == ["POST /v1/read", "detect"]
    assert set(found.column("trace_id").to_pylist()) == {trace(3)}


def test_rows_of_another_time_are_not_read(tmp_path: Path) -> None:
    folder = store(tmp_path, [of(0, 0), of(1, 60 * SECOND)])
    spoiled = bytearray((tmp_path / "spans.parquet").read_bytes())
    with pq.ParquetFile(tmp_path / "spans.parquet") as file:
        group = file.metadata.row_group(0)
        for column in range(group.num_columns):
            place = group.column(column)
            first = place.dictionary_page_offset or place.data_page_offset
            spoiled[first : first + place.total_compressed_size] = b"\xff" * place.total_compressed_size
    (tmp_path / "spans.parquet").write_bytes(spoiled)

    assert spans_of(folder, [trace(1)], [window(60 * SECOND)], SPEC).num_rows == 2
    with pytest.raises(RunFolderError, match="spans"):
        spans_of(folder, [trace(0)], [window(0)], SPEC)


def test_a_clock_that_is_a_day_off_costs_time_not_spans(tmp_path: Path) -> None:
    folder = store(tmp_path, [of(0, 0), of(1, 86_400 * SECOND)])

    assert spans_of(folder, [trace(1)], [window(0)], SPEC).num_rows == 2


def test_spans_that_came_late_are_found_in_their_group(tmp_path: Path) -> None:
    early, late = of(0, 0)
    folder = store(tmp_path, [[early, *of(1, 0)], of(2, 60 * SECOND), [late, *of(3, 90 * SECOND)]])

    assert spans_of(folder, [trace(0)], [window(0)], SPEC).num_rows == 2


def test_work_long_after_the_answer_is_found_where_the_service_said_how_much_there_is(tmp_path: Path) -> None:
    root = a_root(0, 80, attributes={"harness.split": "marks", "harness.spans": 1})
    mail = a_span("mail", 60 * SECOND, 61 * SECOND, parent_id=root.span_id)
    folder = store(tmp_path, [[root], of(1, 30 * SECOND), [mail]])

    assert names(spans_of(folder, [trace(0)], [window(0)], SPEC)) == ["POST /v1/read", "mail"]


def test_a_table_without_statistics_is_read_whole(tmp_path: Path) -> None:
    folder = store(tmp_path, [of(0, 0), of(1, 60 * SECOND)], write_statistics=False)

    assert spans_of(folder, [trace(1)], [window(60 * SECOND)], SPEC).num_rows == 2


def test_several_requests_are_found_at_once(tmp_path: Path) -> None:
    folder = store(tmp_path, [of(number, number * 60 * SECOND) for number in range(4)])

    found = spans_of(folder, [trace(0), trace(3)], [window(0), window(180 * SECOND)], SPEC)

    assert set(found.column("trace_id").to_pylist()) == {trace(0), trace(3)}
    assert found.num_rows == 4


def test_a_run_that_was_killed_has_its_spans_in_chunks(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path / "spans-0.arrows", Span)
    for row in spans_table(*of(0, 0), *of(1, 0)).to_pylist():
        writer.append(tuple(row.values()))
    writer.close()

    assert spans_of(RunFolder(tmp_path), [trace(1)], [window(0)], SPEC).num_rows == 2


def test_a_run_without_spans_has_none(tmp_path: Path) -> None:
    assert spans_of(RunFolder(tmp_path), [trace(0)], [window(0)], SPEC).num_rows == 0
    assert spans_of(store(tmp_path, []), [trace(0)], [window(0)], SPEC).num_rows == 0


def test_stages_are_mapped_as_the_scenario_asks(tmp_path: Path) -> None:
    folder = store(tmp_path, [[a_root(0, 80), a_span("nms", 10, 20)]])

    found = spans_of(folder, [trace(0)], [window(0)], SpanSpec(None, "otlp", stages=(("postprocess", ("nms",)),)))

    assert dict(zip(found.column("name").to_pylist(), found.column("stage").to_pylist(), strict=True)) == {
        "POST /v1/read": None,
        "nms": "postprocess",
    }


def test_a_table_with_other_columns_is_refused_in_one_sentence(tmp_path: Path) -> None:
    pq.write_table(pa.table({"trace_id": [trace(0)]}), tmp_path / "spans.parquet")

    with pytest.raises(RunFolderError, match="spans"):
        spans_of(RunFolder(tmp_path), [trace(0)], [window(0)], SPEC)
