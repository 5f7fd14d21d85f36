"""Stored runs made by hand: one is concluded for real, the others are copies of it with other figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter

from harness.conclude import conclude
from harness.model import Arrivals, LoadProfile, RequestSpec, Sample, Scenario, SpanSpec, Step
from harness.report.files import write_reports
from harness.run_folder import RunFolder
from tests.builders import MS, T0, a_sample, at, samples_table, spans_table

REQUESTS = 200
HOUR_NS = 3_600_000_000_000
MACHINE = {"machine": "x86_64", "cpu": "a processor", "cores": "2 usable of 2", "memory": "8.0 GiB"}
BAD: dict[str, Any] = {"verdict": "invalid", "health": {"state": "invalid", "readings": [], "reasons": ["too busy"]}}
"""Of summary.json: an invalid measurement."""
CPU = {"name": "cpu", "value": 0.1, "unit": "ratio", "suspect": 0.8, "invalid": 0.95, "meaning": "busy"}


def a_scenario(**changes: Any) -> Scenario:
    """20 arrivals a second for 10 s, no spans, one SLO that is met by far."""
    load = LoadProfile(Arrivals.CONSTANT, (Step(20.0, 10.0),), warmup_s=0.0, drain_s=1.0, seed=1)
    known: dict[str, Any] = {
        "name": "read", "target": "http://127.0.0.1:8000", "requests": (RequestSpec("read", "POST", "/v1/read"),),
        "users": None, "load": load, "spans": SpanSpec(listen=None, source="none"), "slo": ("p90(latency) < 1s",),
    }  # fmt: skip
    return Scenario(**{**known, **changes})


def some_samples(failed: int = 0, bytes_sent: int = 100, longer_ms: float = 0.0) -> list[Sample]:
    """Requests 50 ms apart that take 50 to 99 ms, no two neighbours alike; the last `failed` ones are refused."""
    samples = []
    for number in range(REQUESTS):
        begin, took = number * 50.0, 50.0 + number * 37 % 50 + longer_ms
        instants = {f"{name}_ns": at(begin) for name in ("scheduled", "start", "resolved", "tcp", "connected", "send")}
        ends = {f"{name}_ns": at(begin + took) for name in ("first_byte", "done", "done_user")}
        bad = {"status": 503, "failed_checks": "status"} if number >= REQUESTS - failed else {}
        known = {**instants, "sent_ns": at(begin) + MS // 10, **ends, "bytes_sent": bytes_sent, **bad}
        samples.append(a_sample(number, **known))
    return samples


def store(path: Path, samples: list[Sample], scenario: Scenario | None = None, **record: Any) -> RunFolder:
    """A run as `harness run` leaves it, without its reports for people."""
    scenario = scenario or a_scenario()
    path.mkdir(parents=True)
    folder = RunFolder(path)
    plan = TypeAdapter(Scenario).dump_python(scenario, mode="json")
    known: dict[str, Any] = {
        "schema_version": 1, "run_id": path.name, "status": "finished", "started_ns": T0, "loopback": True,
        "plan": plan, "load": {"readings": [CPU]}, "environment": MACHINE,
    }  # fmt: skip
    known |= record
    folder.write_json("run.json", known)
    folder.write_table("samples", samples_table(*samples))
    folder.write_table("spans", spans_table())
    found = conclude(folder, scenario, known)
    folder.write_table("ledger", pa.Table.from_pandas(found.ledger.rows, preserve_index=False))
    write_reports(found.summary, found.rows, ("json",), path)
    return folder


def copied(original: RunFolder, path: Path, number: int, **changes: Any) -> RunFolder:
    """The run again, `number` hours later. `p50`, `p95`: factors; other changes are keys of summary.json."""
    shutil.copytree(original.path, path)
    folder = RunFolder(path)
    record, summary = folder.read_json("run.json"), json.loads(folder.summary_json.read_text())
    for each in (record, summary):
        each |= {"run_id": path.name, "started_ns": T0 + number * HOUR_NS}
    for name in ("p50", "p95"):
        summary["latency"][name]["value"] *= changes.pop(name, 1.0)
    record |= changes.pop("record", {})
    summary["counts"] |= changes.pop("counts", {})
    folder.write_json("run.json", record)
    folder.write_json("summary.json", summary | changes)
    return folder


NOISE = (1.00, 1.03, 0.98, 1.01, 0.97, 1.02, 0.99, 1.04, 0.96, 1.00, 1.02, 0.98)
"""Factors of a few percent, as runs vary by themselves."""


def some_runs(original: RunFolder, parent: Path, count: int, first: int = 1, **changes: Any) -> list[RunFolder]:
    """Copies that vary as NOISE does, from `first` hours after the original on."""
    made = []
    for number in range(first, first + count):
        factor = NOISE[number % len(NOISE)]
        scaled = {name: factor * changes.get(name, 1.0) for name in ("p50", "p95")}
        made.append(copied(original, parent / f"run-{number:03}", number, **{**changes, **scaled}))
    return made
