"""A folder of runs for the pages to show: load steps, two of one scenario, a failed one, an empty one."""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter

from harness.chunks import schema_of
from harness.commands.report import command as report
from harness.conclude import conclude
from harness.model import Sample, Scenario
from harness.record import validated
from harness.report.files import FORMATS
from harness.run_folder import RunFolder
from tests import million_run, stored_queues
from tests import simulated_queues as queues

STEPS = "20261120T080000Z-read-receipts"
EARLIER = "20261119T080000Z-read-receipts"
FAILED = "20261121T080000Z-queue"
EMPTY = "20261118T080000Z-empty"


def write_all(path: Path, formats: Sequence[str] = FORMATS) -> Path:
    """What `harness run` writes when its load has ended: tables, summary, reports."""
    folder = RunFolder(path)
    record = validated(folder.read_json("run.json"), folder.run_json)
    scenario = TypeAdapter(Scenario).validate_python(record["plan"])
    ledger = conclude(folder, scenario, record).ledger
    for name, frame in (("ledger", ledger.rows), ("model_calls", ledger.model_calls), ("waits", ledger.waits)):
        folder.write_table(name, pa.Table.from_pandas(frame, preserve_index=False))
    ended = CliRunner().invoke(report, [str(path), "--format", ",".join(formats)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return path


def plan_of(*slo: str, name: str = "queue") -> dict[str, Any]:
    step = {"level": 50.0, "duration_s": 20.0, "to": None}
    return {
        "name": name, "target": "http://127.0.0.1:8000", "requests": [], "users": None,
        "load": {**stored_queues.LOAD, "steps": [step]}, "spans": {"source": "otlp"}, "slo": list(slo),
    }  # fmt: skip


def failed_run(path: Path) -> Path:
    """A tenth of its requests were refused, and its SLOs are missed."""
    simulated = queues.simulate(1_000, 0.9, 31, servers=2, large=0.1, settle=0)
    plan = plan_of("p95(latency) < 5ms", "error_rate < 1%", "p90(inference) < 5s")
    return write_all(stored_queues.store(path, simulated, failed=100, plan=plan))


def empty_run(path: Path) -> Path:
    """Not one request was sent."""
    simulated = stored_queues.first(queues.simulate(10, 0.5, 1, settle=0), 0)
    stored_queues.store(path, simulated, halves=False, plan=plan_of("p95(latency) < 5ms", name="empty"))
    RunFolder(path).write_table("samples", schema_of(Sample).empty_table())
    return write_all(path)


def _all(folder: Path) -> None:
    write_all(million_run.store(folder, 3_000, STEPS))
    write_all(million_run.store(folder, 2_400, EARLIER, seed=5))
    failed_run(folder / FAILED)
    empty_run(folder / EMPTY)


def shared_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, made once for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "shown-runs"
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / EMPTY).exists():
            _all(folder)
    return folder
