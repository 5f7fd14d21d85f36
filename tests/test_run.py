"""One run from the scenario to the report, against the real sample service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.chunks import schema_of
from harness.model import STAGES, LedgerRow, Sample, Span
from tests.cli import Ended, begin, end, harness
from tests.sample_server import ROOT, shared_sample_service

SECRET = "hunter2-in-the-environment"  # noqa: S105 - made up, to be looked for in the output


def scenario(folder: Path, target: str, listen: str, **load: str) -> Path:
    timing = {"rate": "8/s", "warmup": "1s", "duration": "8s", **load}
    path = folder / "identify.yaml"
    path.write_text(f"""
scenario: identify
target: {target}
requests:
  - name: identify
    weight: 5
    http: POST /v1/identify
    body: {ROOT}/scenarios/payloads/files/*
    headers: {{Authorization: "Bearer ${{TOKEN}}"}}
  - name: receipt
    http: POST /v1/read
    files: {{image: {ROOT}/scenarios/payloads/receipts/receipt-02-*.jpg}}
load: {json.dumps(timing)}
spans: {{listen: {listen}}}
slo: [p95(latency) < 20s, error_rate < 10%]
""")
    return path


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory, exporting_service: tuple[str, str]) -> tuple[Ended, Path]:
    """A whole run with spans: how the command ended, and its run folder."""
    folder = tmp_path_factory.mktemp("full")
    path = scenario(folder, *exporting_service)
    ended = harness("run", path, cwd=folder, env={"TOKEN": SECRET})
    (run,) = (folder / "runs").iterdir()
    return ended, run


@pytest.fixture(scope="module")
def ledger(full_run: tuple[Ended, Path]) -> pd.DataFrame:
    return pd.read_parquet(full_run[1] / "ledger.parquet")


def test_a_run_that_meets_its_slos_passes(full_run: tuple[Ended, Path]) -> None:
    ended, run = full_run

    assert ended.code == 0, ended.stderr
    assert json.loads((run / "summary.json").read_text())["verdict"] == "passed"


def test_the_console_shows_every_stage(full_run: tuple[Ended, Path]) -> None:
    for stage in ("transfer", "queue", "preprocess", "inference", "postprocess", "other", "mean latency"):
        assert stage in full_run[0].stdout


def test_for_every_request_the_stages_sum_to_the_latency_and_none_is_negative(ledger: pd.DataFrame) -> None:
    stages = ledger[[f"{stage}_s" for stage in STAGES]]

    assert (stages.sum(axis=1) - ledger["latency_s"]).abs().max() <= 1e-6
    assert stages.min().min() >= -1e-6


def test_every_request_has_its_server_half(ledger: pd.DataFrame) -> None:
    assert len(ledger) > 40
    assert set(ledger["split"]) == {"marks"}


def test_every_stage_of_the_chain_took_time(ledger: pd.DataFrame) -> None:
    reads = ledger[ledger["name"] == "receipt"]

    for stage in ("upload", "preprocess", "inference", "postprocess"):
        assert (reads[f"{stage}_s"] > 0).all(), stage


def test_the_means_of_the_report_sum_to_its_mean_latency(full_run: tuple[Ended, Path]) -> None:
    summary = json.loads((full_run[1] / "summary.json").read_text())

    means = [s["mean"]["value"] for s in summary["stages"].values() if s["part_of"] is None]
    assert sum(means) == pytest.approx(summary["latency"]["mean"]["value"], abs=1e-6)


@pytest.mark.parametrize(("name", "row_type"), [("samples", Sample), ("spans", Span), ("ledger", LedgerRow)])
def test_the_tables_have_the_columns_of_the_model(full_run: tuple[Ended, Path], name: str, row_type: type) -> None:
    beside = ["scheduled_ns"] if name == "ledger" else []

    assert pq.read_schema(full_run[1] / f"{name}.parquet").names == [*schema_of(row_type).names, *beside]


def test_the_chain_of_models_is_kept_call_by_call(full_run: tuple[Ended, Path]) -> None:
    calls = pd.read_parquet(full_run[1] / "model_calls.parquet")

    assert {"magika", "det", "cls", "rec"} <= set(calls["model"])


def test_the_last_byte_was_stamped_by_the_kernel(full_run: tuple[Ended, Path]) -> None:
    samples = pd.read_parquet(full_run[1] / "samples.parquet")

    assert set(samples["done_source"]) == {"kernel"}
    assert (samples["done_ns"] <= samples["done_user_ns"] + 1_000_000).all()


def test_nothing_from_the_environment_is_written(full_run: tuple[Ended, Path]) -> None:
    ended, run = full_run

    for path in run.iterdir():
        assert SECRET.encode() not in path.read_bytes(), path.name
    assert SECRET not in ended.stdout + ended.stderr


class Fetches(HTMLParser):
    """What a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            v or "" for k, v in attrs if k in ("src", "href", "data", "action") and not (v or "").startswith("#")
        ]
        if tag in ("script", "link", "iframe", "object"):
            self.found.append(tag)


def test_the_report_is_one_file_that_loads_nothing(full_run: tuple[Ended, Path]) -> None:
    page = (full_run[1] / "report.html").read_text()
    parser = Fetches()
    parser.feed(page)

    assert parser.found == []
    assert "@import" not in page


def test_a_stored_run_is_rendered_again_in_every_format(full_run: tuple[Ended, Path], tmp_path: Path) -> None:
    run = full_run[1]
    before = json.loads((run / "summary.json").read_text())

    ended = harness("report", run, "--format", "html,md,junit,json", "-o", tmp_path, cwd=tmp_path)

    assert ended.code == 0, ended.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"report.html", "report.md", "junit.xml", "summary.json"}
    assert json.loads((tmp_path / "summary.json").read_text()) == before


def test_an_unknown_report_format_names_the_nearest_one(full_run: tuple[Ended, Path], tmp_path: Path) -> None:
    ended = harness("report", full_run[1], "--format", "htm", cwd=tmp_path)

    assert ended.code == 2
    assert "did you mean 'html'" in ended.stderr


def test_no_child_is_left_behind(full_run: tuple[Ended, Path]) -> None:
    assert _children_of_runs(full_run[1]) == []


# --- runs that do not end as planned -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def cut_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ended, Path]]:
    """Two runs of a minute, side by side: one stopped by Ctrl-C, one killed, both after some seconds."""
    target = shared_sample_service()
    started: dict[str, tuple[subprocess.Popen[str], Path]] = {}
    for name in ("interrupted", "killed"):
        folder = tmp_path_factory.mktemp(name)
        path = scenario(folder, target, "127.0.0.1:0", rate="4/s", duration="60s", warmup="0s")
        started[name] = begin("run", path, cwd=folder, env={"TOKEN": "t"}), folder
    for _, folder in started.values():
        _await_samples(folder)
    started["interrupted"][0].send_signal(signal.SIGINT)
    started["killed"][0].kill()
    found = {}
    for name, (child, folder) in started.items():
        ended = end(child)
        (run,) = (folder / "runs").iterdir()
        found[name] = ended, run
    return found


def _await_samples(folder: Path, within_s: float = 40.0) -> None:
    """Until the load child has flushed some samples to disk."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if any(path.stat().st_size > 12_000 for path in folder.glob("runs/*/samples-*.arrows")):
            return
        time.sleep(0.1)
    raise AssertionError("no samples within time")


def _children_of_runs(run: Path) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "harness.spans.receiver" in command and str(run) in command:
                found.append(command)
    return found


def test_ctrl_c_keeps_what_was_measured_and_reports_it(cut_runs: dict[str, tuple[Ended, Path]]) -> None:
    ended, run = cut_runs["interrupted"]

    assert ended.code == 4
    assert "Traceback" not in ended.stderr
    summary = json.loads((run / "summary.json").read_text())
    assert summary["interrupted"]
    assert summary["counts"]["ok"] > 5
    assert (run / "report.html").exists()


def test_a_killed_run_can_still_be_reported(cut_runs: dict[str, tuple[Ended, Path]], tmp_path: Path) -> None:
    _, run = cut_runs["killed"]
    assert not (run / "samples.parquet").exists()

    ended = harness("report", run, "--format", "json", "-o", "-", cwd=tmp_path)

    assert ended.code == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["counts"]["ok"] > 5
    assert summary["health"]["state"] == "suspect"


def test_the_children_of_a_killed_run_end_by_themselves(cut_runs: dict[str, tuple[Ended, Path]]) -> None:
    run = cut_runs["killed"][1]
    deadline = time.monotonic() + 20

    while _children_of_runs(run) and time.monotonic() < deadline:
        time.sleep(0.2)

    assert _children_of_runs(run) == []
