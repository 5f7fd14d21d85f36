"""Which requests of a run are exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import UsageError, nearest
from harness.model import Sample
from harness.run_folder import RunFolder
from harness.tables import read_columns

Ids = NDArray[np.int64]
_COLUMNS = ("request_id", "name", "phase", "scheduled_ns", "done_ns", "error", "failed_checks", "censored")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for; all of it at once. Nothing asked: every request."""

    first: int | None = None
    request_ids: tuple[int, ...] = ()
    slowest: int | None = None
    name: str | None = None

    @property
    def is_everything(self) -> bool:
        return self == Wish()


def requests_of(folder: RunFolder) -> pd.DataFrame:
    """Of every request, as scheduled: request_id, name, phase, scheduled_ns, done_ns, latency_s and `ok`.

    `ok` is False for what failed or was still in flight. Raises RunFolderError.
    """
    if folder.samples.is_file():
        rows = read_columns(folder, "samples", _COLUMNS)
    else:  # a run that was killed
        rows = folder.read_table("samples", Sample).select(_COLUMNS).to_pandas(strings_to_categorical=True)
    rows = rows.sort_values("scheduled_ns", kind="stable", ignore_index=True)
    bad = rows["error"].notna() | rows["failed_checks"].notna() | rows["censored"].astype(bool)
    rows["latency_s"] = (rows["done_ns"] - rows["scheduled_ns"]).astype(np.float64) / 1e9
    rows["ok"] = ~bad
    return rows[["request_id", "name", "phase", "scheduled_ns", "done_ns", "latency_s", "ok"]]


def choose(rows: pd.DataFrame, wish: Wish) -> Ids:
    """The ids of the requests that are asked for, in the order they were scheduled. Raises UsageError.

    `--slowest` looks at the measured phase, at failed requests too, and takes the earlier one of two that took as long.
    """
    if wish.request_ids:
        known = set(rows["request_id"].tolist())
        if missing := [str(wanted) for wanted in wish.request_ids if wanted not in known]:
            raise UsageError(f"this run has no request {', '.join(missing)}", f"it has {len(rows):,}, counted from 0")
        rows = rows[rows["request_id"].isin(wish.request_ids)]
    if wish.name is not None:
        names = rows["name"].astype(str)
        if not (names == wish.name).any():
            raise UsageError(f"no request here is named '{wish.name}'", nearest(wish.name, names.unique().tolist()))
        rows = rows[names == wish.name]
    if wish.slowest is not None:
        measured = rows[rows["phase"].astype(str) == "measure"]
        slowest = measured["latency_s"].sort_values(ascending=False, kind="stable").index[: wish.slowest]
        rows = measured.loc[np.sort(slowest.to_numpy())]
    if wish.first is not None:
        rows = rows[: wish.first]
    return rows["request_id"].to_numpy(np.int64)


def typical(rows: pd.DataFrame, n: int) -> Ids:
    """The `n` answered requests of the measured phase whose latency is nearest to the median, fastest first."""
    good = rows[rows["ok"].to_numpy(bool) & (rows["phase"].astype(str) == "measure").to_numpy(bool)]
    if good.empty:
        return np.empty(0, np.int64)
    latency = good["latency_s"]
    near = (latency - latency.median()).abs().sort_values(kind="stable").index[:n]
    return good.loc[near].sort_values("latency_s", kind="stable")["request_id"].to_numpy(np.int64)


def as_ids(request_ids: Sequence[int]) -> Ids:
    """Ids as numbers, each once, in the order given."""
    return np.array(list(dict.fromkeys(int(one) for one in request_ids)), dtype=np.int64)
