"""Columns and rows of a run's tables, without reading all of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import RunFolderError
from harness.run_folder import RunFolder
from harness.tables import read_columns, rows_of


def ledger(folder: Path, with_instants: bool) -> RunFolder:
    """Three requests, in the order of their instants 10, 20, 30."""
    columns = {"request_id": [7, 5, 6], "name": ["a", "b", "a"], "latency_s": [0.1, 0.2, 0.3]}
    instants = {"scheduled_ns": [10, 20, 30]} if with_instants else {}
    pq.write_table(pa.table({**columns, **instants}), folder / "ledger.parquet")
    pq.write_table(pa.table({"request_id": [5, 6, 7], "scheduled_ns": [20, 30, 10]}), folder / "samples.parquet")
    return RunFolder(folder)


@pytest.mark.parametrize("with_instants", [True, False])
def test_the_instants_of_a_ledger_come_from_the_samples_where_it_has_none(tmp_path: Path, with_instants: bool) -> None:
    frame = read_columns(ledger(tmp_path, with_instants), "ledger", ("scheduled_ns", "latency_s"))

    assert list(frame.columns) == ["scheduled_ns", "latency_s"]
    assert frame["scheduled_ns"].tolist() == [10, 20, 30]


def test_texts_come_as_categories(tmp_path: Path) -> None:
    frame = read_columns(ledger(tmp_path, True), "ledger", ("name",))

    assert str(frame["name"].dtype) == "category"
    assert frame["name"].tolist() == ["a", "b", "a"]


def test_a_table_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert len(read_columns(RunFolder(tmp_path), "ledger", ("latency_s",))) == 0
    assert rows_of(RunFolder(tmp_path), "ledger", [1]).num_rows == 0


def test_rows_are_found_by_request_in_the_order_of_the_table(tmp_path: Path) -> None:
    assert rows_of(ledger(tmp_path, True), "ledger", [6, 7, 99]).column("request_id").to_pylist() == [7, 6]


def test_a_damaged_table_is_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "ledger.parquet").write_bytes(b"PAR1 and then nothing")

    with pytest.raises(RunFolderError, match="cannot be read"):
        read_columns(RunFolder(tmp_path), "ledger", ("latency_s",))
