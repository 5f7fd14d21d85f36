"""OTLP as JSON lines: files that grow, rotate, break off, and hold other things."""

from __future__ import annotations

import gzip
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.chunks import read_chunks
from harness.interrupt import Interrupt
from harness.model import Span, SpanSpec
from harness.spans.fetch import Fetched, Patience, fetch, warnings_of
from harness.spans.otlp_file import Counted, Files, prefixes_of, read_lines
from tests.trace_shapes import a_trace, file_line

METRICS = b'{"resourceMetrics":[]}\n'
LINES = [file_line(a_trace(number)) for number in range(4)]
IDS = [a_trace(number)[0].trace_id for number in range(4)]


def lines_of(files: Files) -> list[bytes]:
    return list(files.new_lines())


def fetched(pattern: Path, folder: Path, quiet_s: float = 0.3) -> tuple[Fetched, int]:
    out = folder / "out" / "spans-fetched.arrows"
    out.parent.mkdir(exist_ok=True)
    spec = SpanSpec(source="file", address=str(pattern))
    patience = Patience(quiet_s, 5.0, 0.05, 0.1)
    found = fetch(spec, IDS, (0, 1), out, Interrupt(), lambda event: None, patience)
    return found, read_chunks([out], Span).num_rows


def test_the_spans_of_every_line_are_read_and_other_signals_passed_over() -> None:
    counted = Counted()
    rows = list(read_lines([LINES[0], METRICS, b"\n", b'{"resourceLogs":[]}\n', LINES[1]], counted))

    assert [row[0] for row in rows] == [IDS[0], IDS[0], IDS[1], IDS[1]]
    assert (counted.lines, counted.unusable) == (2, 0)


def test_what_is_no_json_is_counted() -> None:
    counted = Counted()

    assert list(read_lines([b"\x28\xb5\x2f\xfd\n", b'{"resourceSpans": 3}\n', LINES[0][:50] + b"\n"], counted)) == []
    assert counted.unusable == 3


def test_lines_without_a_trace_of_the_run_are_not_looked_into() -> None:
    broken = LINES[0].replace(b"abcd0000", b"00000000").replace(b"[", b"(")
    counted = Counted()

    assert len(list(read_lines([broken, LINES[1]], counted, prefixes_of(IDS)))) == 2
    assert counted.unusable == 0


def test_prefixes_that_differ_too_much_are_of_no_use() -> None:
    assert prefixes_of(IDS) == {b"abcd0000"}
    assert prefixes_of([f"{number:032x}" for number in (1 << 100, 2 << 100, 3 << 100, 4 << 100, 5 << 100)]) is None


def test_each_look_gives_the_lines_that_were_added(tmp_path: Path) -> None:
    path = tmp_path / "traces.json"
    path.write_bytes(LINES[0] + LINES[1][:40])
    files = Files(str(path))

    assert lines_of(files) == [LINES[0]]
    assert lines_of(files) == []
    with path.open("ab") as file:
        file.write(LINES[1][40:] + LINES[2])
    assert lines_of(files) == [LINES[1], LINES[2]]


def test_a_last_line_without_an_end_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "traces.json"
    path.write_bytes(LINES[0] + LINES[1].rstrip(b"\n"))

    files = Files(str(path))

    assert lines_of(files) == [LINES[0], LINES[1].rstrip(b"\n")]
    assert lines_of(files) == []


def test_a_file_that_was_renamed_is_not_read_twice(tmp_path: Path) -> None:
    (tmp_path / "traces.json").write_bytes(LINES[0])
    files = Files(str(tmp_path / "traces*.json"))
    assert lines_of(files) == [LINES[0]]

    os.rename(tmp_path / "traces.json", tmp_path / "traces-2026-01-31.json")
    (tmp_path / "traces.json").write_bytes(LINES[1])

    assert lines_of(files) == [LINES[1]]
    assert files.counted.files == 2


def test_a_file_that_was_emptied_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "traces.json"
    path.write_bytes(LINES[0] + LINES[1])
    files = Files(str(path))
    lines_of(files)

    path.write_bytes(LINES[2])

    assert lines_of(files) == [LINES[2]]


def test_a_zipped_file_is_read_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "traces.json.gz"
    path.write_bytes(gzip.compress(LINES[0]))
    files = Files(str(path))
    assert lines_of(files) == [LINES[0]]

    with path.open("ab") as file:
        file.write(gzip.compress(LINES[1]))

    assert lines_of(files) == [LINES[1]]


def test_a_zipped_file_that_is_cut_off_gives_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "traces.json.gz"
    whole = gzip.compress(LINES[0]) + gzip.compress(b"".join(LINES))
    path.write_bytes(whole[:-20])
    files = Files(str(path))

    assert lines_of(files)[0] == LINES[0]
    assert files.counted.unusable == 0
    path.write_bytes(whole)
    assert lines_of(files)[-1] == LINES[-1]


def test_what_is_called_gz_and_is_none_is_counted(tmp_path: Path) -> None:
    (tmp_path / "traces.gz").write_bytes(LINES[0])
    files = Files(str(tmp_path / "*.gz"))

    assert lines_of(files) == []
    assert files.counted.unusable == 1


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_counted(content: bytes) -> None:
    counted = Counted()
    for row in read_lines(content.splitlines(keepends=True), counted):
        assert len(row) == 11


def test_the_traces_of_a_run_are_brought_while_the_collector_writes(tmp_path: Path) -> None:
    path = tmp_path / "traces.json"
    path.write_bytes(file_line(a_trace(77)) + LINES[0])

    def later() -> None:
        time.sleep(0.2)
        with path.open("ab") as file:
            file.write(METRICS + b"".join(LINES[1:]))

    writer = threading.Thread(target=later)
    writer.start()
    found, rows = fetched(path, tmp_path, quiet_s=3.0)
    writer.join()

    assert (found.whole, found.traces, found.spans, rows) == (4, 4, 8, 8)
    assert (found.error, found.rejected, found.source) == (None, 0, f"file {path}")


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"", "there are no spans in", "format json"),
        (METRICS, "there are no spans in", "format json"),
        (file_line(a_trace(2**40)).replace(b"abcd", b"aaaa"), "there is no trace of this run in", "traceparent"),
        (None, "is gone or cannot be read", "running"),
    ],
)
def test_a_file_without_spans_of_the_run_is_named(
    content: bytes | None, message: str, hint: str, tmp_path: Path
) -> None:
    path = tmp_path / "traces.json"
    if content is not None:
        path.write_bytes(content)
    found, rows = fetched(path, tmp_path)

    assert rows == 0
    assert message in (found.error or "")
    assert hint in found.hint


def test_rubbish_in_a_file_is_told_from_spans_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "traces.json"
    path.write_bytes(b"what is this\n" + LINES[0] + b'{"resourceSpans": 7, "abcd0000"\n')

    found, _ = fetched(path, tmp_path)
    (rejected,) = (w for w in warnings_of(found, "DEADLINE") if w.code == "rejected_spans")

    assert rejected.message == (
        f"2 lines of file {path} could not be used: lines that are not OTLP in JSON (the collector's file exporter: "
        "format json)"
    )
    (impossible,) = warnings_of(replace(found, rejected=1, unreadable=0, error=None, late=False), "DEADLINE")
    assert impossible.message == f"1 span of file {path} could not be used: spans whose ids or instants are impossible"


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "traces-a.json")
    (tmp_path / "traces-b.json").mkdir()
    (tmp_path / "traces-c.json").symlink_to("/dev/zero")
    (tmp_path / "traces-d.json").write_bytes(LINES[0])
    files = Files(str(tmp_path / "traces-*.json"))

    assert lines_of(files) == [LINES[0]]
    assert {Path(path).name for path in files.counted.skipped} == {f"traces-{name}.json" for name in "abc"}
    assert (files.counted.files, files.counted.unusable) == (1, 0)


@pytest.mark.parametrize("name", ["traces.json", "traces.json.gz"])
def test_a_line_without_end_is_left_when_time_is_over(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(bytes(2**20)) * 2_000)
    else:
        path.touch()
        os.truncate(path, 30 * 2**30)
    began = time.monotonic()
    files = Files(str(path), over=lambda: time.monotonic() - began > 0.3)

    assert lines_of(files) == []
    assert time.monotonic() - began < 5


def test_a_line_of_nothing_but_parts_is_not_parsed() -> None:
    counted = Counted()

    assert list(read_lines([b'{"resourceSpans":[' + b"{}," * 4_000_001 + b"{}]}\n"], counted)) == []
    assert counted.unreadable == 1


def test_what_was_passed_over_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "traces-a.json")
    (tmp_path / "traces-b.json").write_bytes(b"".join(LINES))

    found, rows = fetched(tmp_path / "traces-*.json", tmp_path)

    assert (found.whole, rows) == (4, 8)
    assert found.error == f"{tmp_path}/traces-a.json: no file that can be read"
