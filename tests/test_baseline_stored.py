"""Stored runs at a glance, and folders of them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from harness.baseline.alike import percentile
from harness.baseline.stored import concluded, of_summary, runs_in, stored
from harness.conclude import conclude
from harness.errors import RunFolderError
from harness.findings import Verdict
from harness.run_folder import RunFolder
from tests.stored_runs import a_scenario, copied, some_runs, some_samples, store


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """200 requests of 50 to 99 ms, each duration four times: p50 74 ms, p95 97 ms."""
    return store(tmp_path_factory.mktemp("original") / "original", some_samples())


def test_a_stored_run_is_read_from_its_summary(original: RunFolder) -> None:
    run = stored(original)

    assert (run.run.run_id, run.run.scenario, run.run.n, run.run.verdict) == ("original", "read", 200, Verdict.PASSED)
    assert run.values == {"p50": 0.074, "p95": 0.097, "error_rate": 0.0, "throughput": 20.0}
    assert (run.kinds, run.closed_loop, run.unfit) == ({"read": 200}, False, None)


def test_the_summary_and_the_tables_say_the_same(original: RunFolder) -> None:
    assert concluded(original) == stored(original)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"scenario": 3}', "\x00\xff", '{"latency": NaN}', "[" * 100_000])
def test_a_run_with_a_broken_summary_is_concluded_again(original: RunFolder, tmp_path: Path, text: str) -> None:
    folder = copied(original, tmp_path / "broken", 1)
    folder.summary_json.write_text(text, encoding="latin-1")

    assert stored(folder).values == stored(original).values


@pytest.mark.parametrize(
    ("part", "figures"),
    [("counts", {"ok": 201}), ("counts", {"completed_per_s": -5.0}), ("latency", {"p95": {"value": 1e300}}),
     ("latency", {"p50": {"value": -1.0}})],
)  # fmt: skip
def test_figures_that_no_run_has_are_not_believed(
    original: RunFolder, tmp_path: Path, part: str, figures: dict[str, object]
) -> None:
    folder = copied(original, tmp_path / "odd", 1)
    summary = folder.read_json("summary.json")
    folder.write_json("summary.json", summary | {part: summary[part] | figures})

    assert stored(folder).values == stored(original).values


def test_an_slo_that_cannot_be_judged_leaves_the_measurement_valid(tmp_path: Path) -> None:
    run = stored(store(tmp_path / "run", some_samples(), a_scenario(slo=("peak(rss) < 2GiB",))))

    assert (run.run.verdict, run.invalid, run.unfit) == (Verdict.INVALID, False, None)


def test_a_run_whose_summary_is_a_pipe_is_concluded_again(original: RunFolder, tmp_path: Path) -> None:
    folder = copied(original, tmp_path / "pipe", 1)
    folder.summary_json.unlink()
    os.mkfifo(folder.summary_json)

    assert stored(folder).values["p95"] == 0.097


def test_a_run_with_neither_summary_nor_samples_is_refused(original: RunFolder, tmp_path: Path) -> None:
    folder = copied(original, tmp_path / "gutted", 1)
    folder.summary_json.unlink()
    folder.samples.unlink()

    with pytest.raises(RunFolderError, match="no table 'samples'"):
        stored(folder)


def test_a_percentile_among_the_failed_requests_is_infinite(tmp_path: Path) -> None:
    run = stored(store(tmp_path / "failing", some_samples(failed=20)))

    assert run.values["p50"] is not None
    assert math.isfinite(run.values["p50"])
    assert run.values["p95"] == math.inf  # rank 190 of 200, and 180 were answered
    assert run.values["error_rate"] == pytest.approx(0.1)


def test_a_percentile_the_run_refuses_is_read_from_its_ledger(original: RunFolder) -> None:
    assert percentile(stored(original), 0.95) == pytest.approx(0.097)
    assert percentile(stored(original), 0.999) is None  # not one request of 200 lies beyond it


def test_a_folder_of_runs_gives_each_of_them_and_nothing_else(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path, 2)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes.txt").write_text("no run")
    newer = copied(original, tmp_path / "newer", 9)
    newer.write_json("run.json", {"schema_version": 99})

    found = dict(runs_in(tmp_path))

    assert sorted(found) == ["newer", "run-001", "run-002"]
    assert isinstance(found["newer"], RunFolderError)
    assert [name for name, _ in runs_in(original.path)] == ["original"]


def test_the_fresh_summary_of_a_run_gives_the_same_glance(original: RunFolder) -> None:
    record = json.loads(original.run_json.read_text())

    assert of_summary(original, conclude(original, a_scenario(), record).summary) == stored(original)
