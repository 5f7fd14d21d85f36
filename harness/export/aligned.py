"""The service's spans on the client's clock, as far as the run knows how far apart the two were."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.clock import ClockOffset
from harness.export.rows import Shift, spans
from harness.run_folder import RunFolder
from harness.waterfall.stored_clock import read_clock

_HOST = '"harness.host"'


def onto_client(folder: RunFolder) -> Shift | None:
    """Moves spans by the offset of their host; None when nothing is known of the clocks, or they are one.

    Which host a process is on is said by the spans that answered a request. With one host alone all spans are its own;
    else those of a process that says nothing stay where they are. Raises RunFolderError.
    """
    offsets = {host: offset for host, offset in read_clock(folder) or () if offset is not None}
    if not any(offset.offset_ns or offset.pieces for offset in offsets.values()):
        return None
    if len(offsets) == 1:
        (only,) = offsets.values()
        return lambda part: _moved(part, np.arange(part.num_rows), only)
    hosts = _hosts(folder)

    def shift(part: pa.Table) -> pa.Table:
        owners = zip(part.column("service").to_pylist(), part.column("pid").to_pylist(), strict=True)
        found = np.array([hosts.get(owner, "") for owner in owners], dtype=object)
        for host, offset in offsets.items():
            part = _moved(part, np.flatnonzero(found == host), offset)
        return part

    return shift


def _moved(part: pa.Table, rows: np.ndarray, offset: ClockOffset) -> pa.Table:
    if not len(rows):
        return part
    starts = part.column("start_ns").to_numpy()[rows]
    ahead = offset.at(starts - offset.offset_ns)
    for name in ("start_ns", "end_ns"):
        values = part.column(name).to_numpy().copy()
        values[rows] -= ahead
        at = part.schema.get_field_index(name)
        part = part.set_column(at, part.schema.field(at), pa.array(values, pa.int64()))
    return part


def _hosts(folder: RunFolder) -> dict[tuple[str | None, int | None], str]:
    """(service, pid) -> its host."""
    found: dict[tuple[str | None, int | None], str] = {}
    for part in spans(folder, None):
        told = part.filter(pc.fill_null(pc.match_substring(part.column("attributes"), _HOST), False))
        columns = (told.column(name).to_pylist() for name in ("service", "pid", "attributes"))
        for service, pid, attributes in zip(*columns, strict=True):
            if (service, pid) not in found:
                try:
                    found[service, pid] = str(json.loads(attributes)["harness.host"])
                except (ValueError, TypeError, KeyError, RecursionError):
                    continue
    return found
