"""The tables of a run that has ended: the requests that nobody saw while its chunks were there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.chunks import schema_of
from harness.errors import RunFolderError
from harness.following.growing import Ids
from harness.following.settling import COLUMNS, failures
from harness.model import LedgerRow, Sample
from harness.run_folder import RunFolder
from harness.tables import read_columns

_ROWS = 50_000
_LEDGER = [field.name for field in schema_of(LedgerRow)]
_BESIDE = ["request_id", "span_id", "scheduled_ns", "done_ns", "status", "error", "failed_checks"]
_KEPT = ("span_id", "scheduled_ns", "done_ns")


class LedgerRows:
    """Rows of the ledger in parts: those never seen, and those of `waiting` requests, whose rows were not given."""

    def __init__(self, folder: RunFolder, ids: Ids, waiting: NDArray[np.int64]) -> None:
        self._ids = ids
        self._waiting = waiting
        self._samples = _samples(folder)
        self._parts = _parts(folder, "ledger", _LEDGER)

    def next(self) -> tuple[pd.DataFrame, NDArray[np.bool_]] | None:
        """Rows with COLUMNS, and which of them belong to requests that were never seen. None: that was all."""
        part = next(self._parts, None)
        if part is None:
            return None
        ids = part.column("request_id").to_numpy()
        known = np.isin(ids, self._samples.index.to_numpy())
        fresh = self._ids.add(ids) & known
        wanted = fresh | (np.isin(ids, self._waiting) & known)
        rows: pd.DataFrame = part.filter(pa.array(wanted)).to_pandas()
        beside = self._samples.loc[rows["request_id"]].reset_index(drop=True)
        return pd.concat([rows, beside], axis=1)[list(COLUMNS)], fresh[wanted]


class SampleRows:
    """Samples in parts, those never seen: of a run that has no ledger."""

    def __init__(self, folder: RunFolder, ids: Ids) -> None:
        self._ids = ids
        self._parts = _parts(folder, "samples", [field.name for field in schema_of(Sample)])

    def next(self) -> pa.Table | None:
        """None: that was all."""
        part = next(self._parts, None)
        if part is None:
            return None
        with suppress(pa.ArrowException, ValueError, KeyError):
            part = part.cast(schema_of(Sample))
            return part.filter(pa.array(self._ids.add(part.column("request_id").to_numpy())))
        return schema_of(Sample).empty_table()


def _parts(folder: RunFolder, table: str, names: list[str]) -> Iterator[pa.Table]:
    """A table in parts, as far as it can be read."""
    path = folder.path / f"{table}.parquet"
    if not path.is_file():
        return
    with suppress(OSError, ValueError, KeyError, pa.ArrowException), pq.ParquetFile(path) as file:
        if set(names) <= set(file.schema_arrow.names):
            for batch in file.iter_batches(batch_size=_ROWS, columns=names):
                yield pa.Table.from_batches([batch]).select(names)


def _samples(folder: RunFolder) -> pd.DataFrame:
    """What a row has beside those of the ledger, by request id."""
    try:
        read = read_columns(folder, "samples", _BESIDE)
        texts = [read[name].astype(object).where(read[name].notna(), None) for name in ("error", "failed_checks")]
        bad = np.flatnonzero(texts[0].notna() | texts[1].notna())
        what = np.full(len(read), None, np.object_)
        what[bad] = failures(
            pa.Table.from_pandas(read.iloc[bad].assign(error=texts[0].iloc[bad], failed_checks=texts[1].iloc[bad]))
        )
        kept = {name: read[name] for name in _KEPT}
        # Of its own accord pandas makes texts of `what`, and NaN of None.
        beside = {"what": pd.Series(what, read.index, dtype=object), "status": read["status"].astype("Int64")}
        found = pd.DataFrame({**kept, **beside}).set_index(read["request_id"])
        return found[~found.index.duplicated()]
    except (RunFolderError, pa.ArrowException, ValueError, TypeError):
        return pd.DataFrame({name: [] for name in (*_KEPT, "what", "status")})
