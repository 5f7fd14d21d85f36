"""Whole runs whose spans are not sent to the harness: a service exports to a trace store, or to a file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import UsageError
from harness.interrupt import Interrupt
from harness.run import Outcome, execute, reopen
from harness.scenario import load_scenario
from tests.instrument_support import a_service
from tests.trace_shapes import file_line
from tests.trace_store import TraceStore, a_store

SCENARIO = """
scenario: stored
target: {target}
requests: [{{name: all, http: GET /}}]
load: {{rate: 30/s, warmup: 0s, duration: 1s, arrivals: constant}}
spans: {{source: {source}}}
slo: [error_rate < 2%]
"""


def run(folder: Path, target: str, source: str) -> Outcome:
    path = folder / "stored.yaml"
    path.write_text(SCENARIO.format(target=target, source=source))
    return execute(load_scenario(path), folder / "runs", lambda event: None, Interrupt())


def record_of(outcome: Outcome) -> dict[str, Any]:
    record = json.loads((outcome.folder.path / "run.json").read_text())
    assert isinstance(record, dict)
    return record


@pytest.fixture(scope="module")
def stored() -> Iterator[tuple[str, TraceStore]]:
    """A service and the store it exports to."""
    with a_store("jaeger-v3") as store, a_service(store.url) as service:
        yield f"http://127.0.0.1:{service.port}", store


def test_a_run_is_split_by_what_a_trace_store_has(stored: tuple[str, TraceStore], tmp_path: Path) -> None:
    target, store = stored
    outcome = run(tmp_path, target, f"{{jaeger: {store.url}}}")

    ledger = pd.read_parquet(outcome.folder.path / "ledger.parquet")
    assert len(ledger) == 30
    assert set(ledger["split"]) == {"marks"}
    assert (ledger["inference_s"] >= 0.001).all()
    fetched = record_of(outcome)["fetched"]
    assert (fetched["asked"], fetched["whole"], fetched["error"]) == (30, 30, None)
    assert fetched["source"] == f"Jaeger v3 at {store.url}"
    assert not list(outcome.folder.path.glob("*.arrows"))
    assert reopen(outcome.folder).summary.span_source == outcome.summary.span_source
    assert outcome.summary.span_source.startswith("jaeger: ")


def test_a_run_is_split_by_what_a_collector_writes_into_a_file(stored: tuple[str, TraceStore], tmp_path: Path) -> None:
    target, store = stored
    path, over = tmp_path / "traces.json", threading.Event()
    path.touch()
    store.spans.clear()

    def collect() -> None:
        with path.open("ab", buffering=0) as file:
            done = 0
            while not over.wait(0.2):
                new, done = store.spans[done:], len(store.spans)
                for span in new:
                    file.write(file_line([span]))

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        outcome = run(tmp_path, target, "{file: traces.json}")
    finally:
        over.set()
        collector.join()

    assert record_of(outcome)["fetched"]["whole"] == 30
    assert {row.code for row in outcome.summary.warnings} & {"span_source", "late_spans"} == set()


def test_a_store_that_is_down_is_told_before_the_load(stored: tuple[str, TraceStore], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"trace store at .* does not answer"):
        run(tmp_path, stored[0], "'tempo: http://127.0.0.1:1'")

    assert not (tmp_path / "runs").exists()
