"""Which stored runs may stand for a new one: the same scenario, machine, load, requests and payloads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import TypeAdapter

from harness.analysis.comparing.likeness import Circumstances, differences
from harness.analysis.comparing.mix import Sent
from harness.baseline.stored import Stored
from harness.comparison import Difference
from harness.errors import RunFolderError
from harness.model import Phase, Scenario
from harness.record import validated

_SIZES = ["name", "phase", "status", "bytes_sent"]


def circumstances(run: Stored) -> Circumstances:
    """What has to be alike, as far as it decides; read without concluding the run. Raises RunFolderError."""
    folder = run.folder
    record = validated(folder.read_json("run.json"), folder.run_json)
    scenario = TypeAdapter(Scenario).validate_python(record["plan"])
    return Circumstances(
        place=str(folder.path.resolve()),
        scenario=run.run.scenario,
        target=scenario.target,
        loopback=bool(record.get("loopback")),
        environment=run.environment,
        load=scenario.load,
        spans=scenario.spans,
        requests=scenario.requests,
        services=(),
        sent=Sent(run.kinds, run.mean_s, _sizes(run)),
        offered_per_s=None,
        split={},
        kernel=None,
        doubts=(),
    )


def unlike(new: Stored, around: Circumstances, old: Stored) -> str | None:
    """Why `old` does not stand for `new`, whose circumstances are `around`, if so. Raises RunFolderError."""
    if old.run.started_ns == new.run.started_ns:  # to the nanosecond: a copy
        return "it is the judged run"
    if old.run.scenario != new.run.scenario:
        return f"it is of another scenario ({old.run.scenario})"
    if old.unfit is not None:
        return old.unfit
    found = [each for each in differences(circumstances(old), around) if each.matters]
    return "; ".join(_said(each) for each in found) or None


def _said(found: Difference) -> str:
    """A difference, where A is an earlier run and B the judged one."""
    if found.what in ("mix", "payloads"):
        return f"{found.what}: {found.sentence}"
    return f"another {found.what}: {found.a}, here {found.b}"


def _sizes(run: Stored) -> Mapping[str, NDArray[np.int64]]:
    """Bytes sent by kind of request, measured and answered, in ascending order."""
    path = run.folder.samples
    if not path.is_file():
        return {}
    try:
        table = pq.read_table(path, columns=_SIZES)
        answered = table.filter(
            pc.and_(pc.equal(table.column("phase"), Phase.MEASURE.value), pc.is_valid(table.column("status")))
        )
        by_kind = answered.select(["name", "bytes_sent"]).to_pandas().groupby("name")["bytes_sent"]
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise RunFolderError(f"{path} cannot be read: {reason}", "restore it from a copy") from error
    return {str(name): np.sort(part.to_numpy(np.int64)) for name, part in by_kind}


def percentile(run: Stored, p: float) -> float | None:
    """The p-quantile itself, from the ledger: between runs its spread is seen, whatever one run says of its own.

    None when hardly a request lies beyond it, or the ledger is not there.
    """
    path, due = run.folder.ledger, run.run.n
    if due * (1.0 - p) < 1.0 or not path.is_file():
        return None
    try:
        rows = pq.read_table(path, columns=["phase", "ok", "latency_s"])
        ok = rows.filter(pc.and_(pc.equal(rows.column("phase"), Phase.MEASURE.value), rows.column("ok")))
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    rank = max(1, int(np.ceil(due * p - 1e-9)))
    ordered = np.sort(ok.column("latency_s").to_numpy())
    return float(ordered[rank - 1]) if rank <= len(ordered) else float(np.inf)
