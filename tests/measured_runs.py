"""Stored runs as the pytest plugin hands them out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from harness.conclude import conclude
from harness.model import RequestSpec, Sample, Scenario, SpanSpec, Step
from harness.pytest_plugin.measured import Measured
from harness.report import json_report
from harness.run_folder import SCHEMA_VERSION, RunFolder
from tests.builders import a_sample, at, samples_table
from tests.test_conclude import CPU, a_scenario


def measured(folder: Path, n: int, latency_ms: float = 100.0, slow: int = 0, slo: tuple[str, ...] = ()) -> Measured:
    """A stored run of `n` requests of one length, a second apart, and `slow` ones among them of 10 s."""
    run = RunFolder(folder / f"{n}-{latency_ms:g}-{slow}")
    run.path.mkdir()
    run.write_table("samples", samples_table(*(one(i, 10_000.0 if i < slow else latency_ms) for i in range(n))))
    load = replace(a_scenario().load, steps=(Step(1.0, float(n)),))
    requests = (RequestSpec("read", "GET", "/read"),)
    scenario = a_scenario(slo=slo, load=load, requests=requests, spans=SpanSpec(source="none"))
    record = {
        "schema_version": SCHEMA_VERSION, "run_id": run.path.name, "status": "finished", "started_ns": at(0),
        "loopback": True, "plan": TypeAdapter(Scenario).dump_python(scenario, mode="json"), "source": "",
        "environment": {}, "warnings": [], "load": {"readings": [CPU]},
    }  # fmt: skip
    run.write_json("run.json", record)
    summary = conclude(run, scenario, record).summary
    run.write_text("summary.json", json_report.render(summary))
    return Measured(run.path, summary, lambda: None)


def one(number: int, latency_ms: float) -> Sample:
    sent, done = at(1_000 * number), at(1_000 * number + latency_ms)
    return a_sample(
        number, scheduled_ns=sent, start_ns=sent, resolved_ns=sent, tcp_ns=sent, connected_ns=sent, send_ns=sent,
        sent_ns=sent, first_byte_ns=done, done_ns=done, done_user_ns=done,
    )  # fmt: skip
