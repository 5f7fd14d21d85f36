"""Which requests went through a model together."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.errors import RunFolderError
from harness.run_folder import RunFolder
from harness.tables import typed_rows_of

MOST_BESIDE = 100


def beside(folder: RunFolder, request_ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """For each request, the others in its batches, by their ids. Raises RunFolderError."""
    calls = typed_rows_of(folder, "model_calls", request_ids)
    if not calls.num_rows:
        return {}
    try:
        own = calls.filter(pc.is_valid(calls.column("batch_id"))).select(["request_id", "batch_id"])
        together = _members(folder, pc.unique(own.column("batch_id"))) if own.num_rows else {}
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        message = f"the table 'model_calls' of {folder.path} cannot be read: {str(error)[:200]}"
        raise RunFolderError(message, "it was damaged or written by another version") from error
    found: dict[int, set[int]] = {}
    for request, batch in zip(own.column("request_id").to_pylist(), own.column("batch_id").to_pylist(), strict=True):
        found.setdefault(request, set()).update(together.get(batch, ()))
    return {request: tuple(sorted(others - {request})[:MOST_BESIDE]) for request, others in found.items()}


def _members(folder: RunFolder, batches: pa.Array) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    with pq.ParquetFile(folder.model_calls, read_dictionary=["batch_id"]) as file:
        for group in range(file.num_row_groups):
            part = file.read_row_group(group, columns=["request_id", "batch_id"])
            here = part.filter(pc.is_in(part.column("batch_id"), value_set=batches))
            pairs = zip(here.column("request_id").to_pylist(), here.column("batch_id").to_pylist(), strict=True)
            for request, batch in pairs:
                found.setdefault(batch, set()).add(request)
    return found
