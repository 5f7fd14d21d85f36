"""What the service said about its processes, on our clock."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness.join import Halves
from harness.ledger import Ledger
from harness.spans.columns import process_name

COLUMNS = ["at_ns", "process", "name", "value"]
_LARGEST = 1e15
"""No figure of a process is beyond it, bytes of memory included."""


def vitals_of(vitals: pa.Table, halves: Halves, ledger: Ledger) -> pd.DataFrame:
    """COLUMNS of the rows of model.Vital; figures that cannot be are left out."""
    frame = possible_vitals(vitals)
    frame["at_ns"] -= frame["process"].map(_offsets(halves, ledger)).fillna(0).astype(np.int64)
    return frame


def possible_vitals(vitals: pa.Table) -> pd.DataFrame:
    """As `vitals_of`, on the clock of each process."""
    told = vitals.select(["at_ns", "service", "pid", "name", "value"])
    possible = pc.less_equal(pc.abs(told.column("value")), _LARGEST)  # not so: NaN, infinity, damage
    frame: pd.DataFrame = told.filter(pc.fill_null(possible, False)).to_pandas()
    whose = zip(frame["service"], frame["pid"], strict=True)
    frame["process"] = [process_name(service, None if pd.isna(pid) else int(pid)) for service, pid in whose]
    return frame[COLUMNS]


def _offsets(halves: Halves, ledger: Ledger) -> dict[str, int]:
    """How far the clock of each process is ahead of ours, ns, where that is known."""
    by_host = {host: offset.offset_ns for host, offset in ledger.offsets if offset is not None}
    pairs = np.unique(np.stack([halves.process_of, halves.host_of]), axis=1).T
    return {
        halves.processes[process]: by_host[host]
        for process, number in pairs.tolist()
        if process >= 0 and (host := halves.hosts[number] if number >= 0 else None) in by_host
    }
