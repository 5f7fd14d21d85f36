"""Whole runs against a service of known lengths: the ledger says what the service's own stopwatch says."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from harness.report import console, json_report
from harness.run import reopen
from harness.run_folder import RunFolder
from tests.acceptance_support import copied, largest_gap_s
from tests.conftest import free_port
from tests.known_delay_load import CAPACITY, LEVELS, RESOURCES, Measured, measure, stages_compared, waits_compared

SECONDS_PER_STEP = 4.0
LOST = 0.2


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measure(tmp_path_factory.mktemp("known-delay"), free_port(), SECONDS_PER_STEP)


def test_every_request_was_answered_timed_and_split(measured: Measured) -> None:
    ledger = measured.ledger

    assert len(ledger) > 500
    assert set(ledger["trace_id"]) == set(measured.timed)
    assert set(ledger["split"]) == {"marks"}
    coverage = json.loads((measured.run_dir / "summary.json").read_text())["coverage"]
    assert (coverage["matched"], coverage["loss"]) == (coverage["expected"], "none")


def test_the_stages_of_every_request_sum_to_its_latency(measured: Measured) -> None:
    assert largest_gap_s(measured.ledger) <= 1e-6


@pytest.mark.parametrize("endpoint", CAPACITY)
def test_every_stage_lasts_as_long_as_the_service_itself_timed(measured: Measured, endpoint: str) -> None:
    compared = [each for each in stages_compared(measured) if each.endpoint == endpoint]

    assert {each.step for each in compared} == set(range(len(LEVELS)))
    assert [str(each) for each in compared if not each.holds] == []


@pytest.mark.parametrize(("endpoint", "resource"), RESOURCES)
def test_a_wait_is_queue_and_names_what_was_waited_for(measured: Measured, endpoint: str, resource: str) -> None:
    compared = [
        each for each in waits_compared(measured) if each.endpoint == endpoint and each.what.endswith(f" {resource}")
    ]

    assert [str(each) for each in compared if not each.holds] == []
    busy = compared[-1]
    assert busy.step == len(LEVELS) - 1
    assert busy.found_s > 0.001


def test_models_side_by_side_are_kept_at_their_full_length(measured: Measured) -> None:
    gathered = measured.ledger[measured.ledger["name"] == "gather"]["request_id"]
    calls = pd.read_parquet(measured.run_dir / "model_calls.parquet")
    calls = calls[calls["request_id"].isin(gathered)]

    shortest = calls.groupby("model")["duration_s"].min()
    assert len(calls) == 3 * len(gathered)
    assert shortest["a"] > 0.018  # a timer of the event loop may fire a millisecond early
    assert shortest["b"] > 0.028
    assert shortest["c"] > 0.028


def test_the_members_of_a_batch_are_known_and_each_is_charged_all_of_it(measured: Measured) -> None:
    calls = pd.read_parquet(measured.run_dir / "model_calls.parquet")
    calls = calls[calls["model"] == "batched"]
    waits = pd.read_parquet(measured.run_dir / "waits.parquet")
    batch_of = calls.set_index("request_id")["batch_id"]
    batches = calls.groupby("batch_id")

    assert (batches["request_id"].nunique() == batches["batch_size"].first()).all()
    assert set(calls["batch_size"]) == {1, 2}
    assert (batches["duration_s"].max() - batches["duration_s"].min()).max() < 1e-6
    waits = waits[waits["resource"] == "batcher"]
    assert (waits["batch_id"] == waits["request_id"].map(batch_of)).all()


# --- spans that were lost ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lossy(measured: Measured, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[dict[str, Any], str]]:
    """The run without a fifth of its traces, drawn and the slowest: `coverage` of summary.json, and what is printed."""
    folder = tmp_path_factory.mktemp("lossy")
    ok = measured.ledger[measured.ledger["phase"] == "measure"].sort_values("latency_s")
    count = round(LOST * len(ok))
    lost = {
        "random": random.Random(3).sample(list(ok["trace_id"]), count),
        "slowest": list(ok["trace_id"].tail(count)),
    }
    found = {}
    for how, trace_ids in lost.items():
        run_dir = copied(measured.run_dir, folder / how)
        _without(run_dir, trace_ids)
        summary = reopen(RunFolder.open(run_dir)).summary
        told = json.loads(json_report.render(summary))["coverage"]
        found[how] = told, console.render(summary, width=100, colour=False)
    return found


def _without(run_dir: Path, trace_ids: list[str]) -> None:
    """Take spans out of a run folder, and the headers that could stand in for them."""
    spans = pq.read_table(run_dir / "spans.parquet")
    gone = pc.is_in(spans.column("trace_id"), value_set=pa.array(trace_ids))
    pq.write_table(spans.filter(pc.invert(gone)), run_dir / "spans.parquet")
    samples = pq.read_table(run_dir / "samples.parquet")
    at = samples.schema.get_field_index("server_timing")
    empty = pa.nulls(samples.num_rows, pa.string())
    pq.write_table(samples.set_column(at, samples.schema.field(at), empty), run_dir / "samples.parquet")


@pytest.mark.parametrize("how", ["random", "slowest"])
def test_the_share_of_requests_with_a_server_half_is_printed(
    lossy: Mapping[str, tuple[dict[str, Any], str]], how: str
) -> None:
    coverage, text = lossy[how]

    assert coverage["matched"] / coverage["expected"] == pytest.approx(1 - LOST, abs=0.002)
    assert coverage["sentence"] in " ".join(text.split())


def test_losing_the_slowest_is_called_biased_and_losing_any_is_not(
    lossy: Mapping[str, tuple[dict[str, Any], str]],
) -> None:
    assert {how: coverage["loss"] for how, (coverage, _) in lossy.items()} == {
        "random": "uniform",
        "slowest": "biased",
    }
