"""Single columns and rows of a run's tables: what a page needs of a run of a million requests, never a whole table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.chunks import schema_of
from harness.errors import RunFolderError
from harness.model import LedgerRow, ModelCall, Sample, Span, Vital, Wait
from harness.run_folder import RunFolder

TABLES: Mapping[str, type] = {
    "samples": Sample, "spans": Span, "ledger": LedgerRow, "model_calls": ModelCall, "waits": Wait, "vitals": Vital,
}  # fmt: skip
SCHEDULED = "scheduled_ns"


def read_columns(folder: RunFolder, table: str, names: Sequence[str]) -> pd.DataFrame:
    """Columns of a table, in the order of its rows; texts as categories. Without the table: no rows.

    The ledger is in the order of `scheduled_ns`, which it has beside the columns of model.LedgerRow.
    Raises RunFolderError.
    """
    path = folder.path / f"{table}.parquet"
    if not path.is_file():
        return pd.DataFrame({name: [] for name in names})
    texts = [f.name for f in schema_of(TABLES[table]) if f.type == pa.string()]
    with _reading(folder, table):
        lacking = _lacks_instants(path, table, names)
        stored = [name for name in names if not lacking or name != SCHEDULED] + ["request_id"] * lacking
        read = pq.read_table(path, columns=list(dict.fromkeys(stored)), read_dictionary=texts)
        frame: pd.DataFrame = read.to_pandas(split_blocks=True, self_destruct=True)
        if lacking:
            frame[SCHEDULED] = _scheduled(folder, frame["request_id"])
        return frame[list(names)]


def _lacks_instants(path: Path, table: str, names: Sequence[str]) -> bool:
    """Whether a ledger is asked for its instants and was written without them, as ledgers once were."""
    return table == "ledger" and SCHEDULED in names and SCHEDULED not in pq.read_schema(path).names


def _scheduled(folder: RunFolder, request_ids: pd.Series[int]) -> NDArray[np.int64]:
    """The instant of each request, from its sample."""
    samples = read_columns(folder, "samples", ("request_id", SCHEDULED)).set_index("request_id")[SCHEDULED]
    instants: NDArray[np.int64] = samples.loc[request_ids].to_numpy(dtype=np.int64)
    return instants


def rows_of(folder: RunFolder, table: str, request_ids: Sequence[int]) -> pa.Table:
    """The rows of a table with a `request_id` of these, whole, in the order of the table. Raises RunFolderError."""
    path = folder.path / f"{table}.parquet"
    if not path.is_file():
        return schema_of(TABLES[table]).empty_table()
    wanted = pa.array(np.asarray(request_ids, dtype=np.int64))
    with _reading(folder, table), pq.ParquetFile(path) as file:
        parts = [_matching(file, group, wanted) for group in range(file.num_row_groups)]
        return pa.concat_tables([file.schema_arrow.empty_table(), *parts])


def typed_rows_of(folder: RunFolder, table: str, request_ids: Sequence[int]) -> pa.Table:
    """As `rows_of`, with the columns of the table's row type in their types, and no others. Raises RunFolderError."""
    found, schema = rows_of(folder, table, request_ids), schema_of(TABLES[table])
    with _reading(folder, table):
        typed = found.select(schema.names).cast(schema)
        typed.validate(full=True)
        return typed


def _matching(file: pq.ParquetFile, group: int, wanted: pa.Array) -> pa.Table:
    """The rows of one row group that are wanted. Where its bounds say that there are none, nothing is read of it;
    where they do not, only its ids are.
    """
    if _outside(file, group, wanted):
        return file.schema_arrow.empty_table()
    here = pc.is_in(file.read_row_group(group, columns=["request_id"]).column("request_id"), value_set=wanted)
    if not pc.any(here).as_py():
        return file.schema_arrow.empty_table()
    return file.read_row_group(group).filter(here)


def _outside(file: pq.ParquetFile, group: int, wanted: pa.Array) -> bool:
    """Whether none of the ids is between the least and the largest of the row group."""
    bounds = file.metadata.row_group(group).column(file.schema_arrow.names.index("request_id")).statistics
    if bounds is None or not bounds.has_min_max:
        return False
    ids = wanted.to_numpy()
    return not bool(((ids >= bounds.min) & (ids <= bounds.max)).any())


@contextmanager
def _reading(folder: RunFolder, table: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        message = f"the table '{table}' of {folder.path} cannot be read: {error}"
        raise RunFolderError(message, "it was damaged or written by another version; run the scenario again") from error
