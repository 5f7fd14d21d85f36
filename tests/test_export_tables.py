"""Tables as CSV: read back by another reader, formulas are none, files are whole or not there."""

from __future__ import annotations

import csv
import errno
import io
import os
from pathlib import Path

import pytest

from harness.errors import RunFolderError
from harness.export import tables
from harness.export.whole import whole
from harness.model import ModelCall, Sample, columns
from harness.run_folder import RunFolder
from tests.builders import a_sample, at
from tests.export_support import a_ledger, some_calls, store


def read(folder: RunFolder, table: str, ids: list[int] | None = None) -> list[list[str]]:
    file = io.BytesIO()
    rows = tables.write(folder, table, file, ids)
    found = list(csv.reader(io.StringIO(file.getvalue().decode(), newline=""), strict=True))
    assert len(found) == rows + 1
    return found


def test_a_table_is_its_columns_and_its_rows(tmp_path: Path) -> None:
    folder = store(tmp_path / "run", [a_sample(0), a_sample(1, status=None, error="timeout")])

    head, first, second = read(folder, "samples")

    assert head == list(columns(Sample))
    assert [first[head.index(name)] for name in ("request_id", "done_ns", "status", "error")] == [
        "0", str(at(100)), "200", "",
    ]  # fmt: skip
    assert [second[head.index(name)] for name in ("status", "error")] == ["", "timeout"]


def test_lines_end_in_crlf_also_the_last(tmp_path: Path) -> None:
    file = io.BytesIO()
    tables.write(store(tmp_path / "run", [a_sample(0)]), "samples", file)

    assert file.getvalue().count(b"\r\n") == 2
    assert file.getvalue().endswith(b"\r\n")


@pytest.mark.parametrize("name", ['a,b"c', "two\r\nlines", "\u202eright", "nul\x00", "", "<script>"])
def test_any_text_comes_back(tmp_path: Path, name: str) -> None:
    head, row = read(store(tmp_path / "run", [a_sample(0, name=name)]), "samples")

    assert row[head.index("name")] == name


@pytest.mark.parametrize("name", ["=1+2", "+1", "-1", "@sum(a1)", "\t=1", "\r=1"])
def test_a_text_that_would_be_a_formula_gets_an_apostrophe(tmp_path: Path, name: str) -> None:
    head, *rows = read(store(tmp_path / "run", [a_sample(0, name=name), a_sample(1, name="a=b")]), "samples")

    assert [row[head.index("name")] for row in rows] == ["'" + name, "a=b"]


def test_numbers_below_zero_stay_numbers(tmp_path: Path) -> None:
    head, row = read(store(tmp_path / "run", [], ledger=a_ledger({"request_id": 0, "other_s": -0.5})), "ledger")

    assert row[head.index("other_s")] == "-0.5"


def test_rows_of_some_requests_alone(tmp_path: Path) -> None:
    calls = [ModelCall(number, "det", 0, at(1), 0.5, None, None) for number in (0, 1, 1, 2)]
    folder = store(tmp_path / "run", [], model_calls=some_calls(*calls))

    assert [row[0] for row in read(folder, "model_calls", [1])[1:]] == ["1", "1"]


def test_a_table_that_is_not_there_has_its_head_alone(tmp_path: Path) -> None:
    folder = store(tmp_path / "run", [])

    assert [len(read(folder, name)) for name in tables.NAMES] == [1] * 5


def half_written(path: Path, error: Exception) -> None:
    with whole(path) as file:
        file.write(b"half")
        raise error


def test_a_file_that_could_not_be_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no space left on device") as error:
        half_written(tmp_path / "a.csv", OSError(errno.ENOSPC, "No space left on device"))

    assert "free some disk space" in str(error.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_is_kept_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")

    with pytest.raises(ValueError, match="mine"):
        half_written(path, ValueError("mine"))

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    with whole(pipe) as file:
        file.write(b"text")

    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")

    with whole(tmp_path / "link") as file:
        file.write(b"text")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"text"


def test_a_line_break_in_a_text_is_not_an_end_of_line(tmp_path: Path) -> None:
    file = io.BytesIO()
    tables.write(store(tmp_path / "run", [a_sample(0, name='a\nb"\n""'), a_sample(1)]), "samples", file)

    assert b'"a\nb""\n"""""' in file.getvalue()
    assert file.getvalue().count(b"\r\n") == 3
