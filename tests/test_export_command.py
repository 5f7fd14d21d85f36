"""`harness export`: which requests, into which files, and what it says about it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from harness.chunks import schema_of
from harness.commands.export import command
from harness.errors import HarnessError, UsageError
from harness.export import chrome, files
from harness.export.chosen import Wish, choose, typical
from harness.export.files import Export
from harness.model import Vital
from harness.run_folder import RunFolder
from tests.builders import a_sample, at
from tests.export_support import store, two_in_a_batch
from tests.stored_runs import some_samples
from tests.stored_runs import store as concluded


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])


def refused(*arguments: str | Path) -> HarnessError:
    error = run(*arguments).exception
    assert isinstance(error, HarnessError)
    return error


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return two_in_a_batch(tmp_path / "run")


def test_each_format_goes_into_its_file_in_the_run_folder(folder: RunFolder) -> None:
    done = run(folder.path, "--format", "otlp,chrome,speedscope,csv")

    assert done.exit_code == 0
    assert {path.name for path in (folder.path / "export").iterdir()} == {
        "otlp.jsonl", "trace.json", "speedscope.json",
        "samples.csv", "ledger.csv", "model_calls.csv", "waits.csv", "vitals.csv",
    }  # fmt: skip


def test_one_format_goes_into_the_file_that_is_named_and_replaces_it(folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("old")

    done = run(folder.path, "--format", "chrome", "-o", tmp_path / "mine.json")

    assert done.output.endswith("mine.json\n")
    assert json.loads((tmp_path / "mine.json").read_text())["otherData"]["requests"] == 2


def test_one_table_goes_to_stdout(folder: RunFolder) -> None:
    done = run(folder.path, "--format", "csv", "--table", "samples", "-o", "-")

    assert len(list(csv.reader(io.StringIO(done.stdout)))) == 3
    assert done.stderr == "csv: samples has 2 rows\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "chrom"], "'chrom' is no export format"),
        (["--format", ","], "no format is named"),
        (["--format", "csv", "--table", "sample"], "there is no table 'sample'"),
        (["--format", "otlp", "--table", "ledger"], "--table is about csv"),
        (["--format", "chrome", "--align"], "--align is about otlp"),
        (["--format", "csv", "-o", "-"], "stdout takes one file"),
        (["--format", "otlp,chrome", "-o", "-"], "stdout takes one file"),
        (["--format", "png", "--slowest", "3"], "the charts are of the whole run"),
        (["--format", "otlp", "--request", "7"], "this run has no request 7"),
        (["--format", "otlp", "--name", "raed"], "no request here is named 'raed'"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(folder: RunFolder, arguments: list[str], message: str) -> None:
    error = refused(folder.path, *arguments)

    assert isinstance(error, UsageError)
    assert error.message == message
    assert error.hint


def test_a_file_where_a_folder_has_to_be_is_refused(folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert refused(folder.path, "--format", "otlp,chrome", "-o", tmp_path / "file").hint == "name a folder"
    assert refused(folder.path, "--format", "png", "-o", tmp_path / "new.png").hint == "name a folder"
    assert "--table" in (refused(folder.path, "--format", "csv", "-o", tmp_path / "new.csv").hint or "")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["file"]


def test_a_name_that_ends_in_a_slash_is_a_folder(folder: RunFolder, tmp_path: Path) -> None:
    run(folder.path, "--format", "csv", "--table", "waits", "-o", f"{tmp_path}/new/")

    assert [path.name for path in (tmp_path / "new").iterdir()] == ["waits.csv"]


def test_what_is_left_out_is_said(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chrome, "MOST_REQUESTS", 1)

    done = run(folder.path, "--format", "chrome", "-o", "-")

    assert done.stderr == "chrome: the first 1 of 2 requests; 1 are left out\n"
    assert json.loads(done.stdout)["otherData"]["requests"] == 1


def test_the_clock_of_the_spans_is_said(folder: RunFolder) -> None:
    said = "otlp: all requests, each a client span; the service's spans on the service's "

    assert run(folder.path, "--format", "otlp", "-o", "-").stderr.startswith(said + "own clock, as recorded")
    assert run(folder.path, "--format", "otlp", "--align", "-o", "-").stderr.startswith(said + "clock: no")


def test_charts_need_a_run_that_was_concluded(folder: RunFolder) -> None:
    assert "no summary.json" in refused(folder.path, "--format", "png").message


def test_the_charts_of_a_run_become_pictures(tmp_path: Path) -> None:
    folder = concluded(tmp_path / "run", some_samples())
    rows = [
        {"at_ns": at(each), "service": "reader", "pid": 7, "name": "process.cpu.utilization", "value": 0.5, "unit": "1"}
        for each in (0, 1000)
    ]
    folder.write_table("vitals", pa.Table.from_pylist(rows, schema=schema_of(Vital)))

    done = run(folder.path, "--format", "png", "--theme", "dark", "-o", tmp_path / "charts")

    assert done.exit_code == 0
    pictures = list((tmp_path / "charts").iterdir())
    assert {"latency.png", "vitals.png"} <= {path.name for path in pictures}
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n") for path in pictures)


# --- which requests --------------------------------------------------------------------------------------------------

ROWS = pd.DataFrame(
    {
        "request_id": [10, 11, 12, 13, 14],
        "name": ["a", "b", "a", "b", "a"],
        "phase": ["warmup", *["measure"] * 4],
        "latency_s": [9.0, 1.0, 3.0, 3.0, 2.0],
        "ok": [True, True, True, False, True],
    }
)


@pytest.mark.parametrize(
    ("wish", "wanted"),
    [
        (Wish(), [10, 11, 12, 13, 14]),
        (Wish(first=2), [10, 11]),
        (Wish(request_ids=(14, 11)), [11, 14]),
        (Wish(slowest=1), [12]),
        (Wish(slowest=3), [12, 13, 14]),
        (Wish(name="b"), [11, 13]),
        (Wish(name="a", slowest=1), [12]),
        (Wish(first=99), [10, 11, 12, 13, 14]),
    ],
)
def test_requests_are_chosen_in_the_order_they_were_scheduled(wish: Wish, wanted: list[int]) -> None:
    assert choose(ROWS, wish).tolist() == wanted


def test_typical_requests_are_answered_ones_around_the_median() -> None:
    assert typical(ROWS, 1).tolist() == [14]
    assert typical(ROWS, 9).tolist() == [11, 14, 12]
    assert typical(ROWS[:0], 3).tolist() == []


def test_a_run_that_was_killed_can_be_exported(tmp_path: Path) -> None:
    folder = store(tmp_path / "run", [a_sample(0, done_ns=at(50))])
    (folder.path / "samples.parquet").unlink()
    (folder.path / "spans.parquet").unlink()

    assert len(Export(folder, Wish()).rows()) == 0
    done = run(folder.path, "--format", "otlp,csv")
    assert done.exit_code == 0
    assert "csv: ledger has 0 rows; the run was not concluded" in done.output


def test_without_a_selection_speedscope_shows_the_slowest_and_typical_ones(tmp_path: Path) -> None:
    samples = [a_sample(number, done_ns=at(100 + number)) for number in range(40)]
    folder = store(tmp_path / "run", samples)
    said: list[str] = []

    file = io.BytesIO()
    files.write_one(Export(folder, Wish()), "speedscope", "speedscope.json", file, said.append)

    names = [profile["name"].partition(":")[0] for profile in json.loads(file.getvalue())["profiles"]]
    assert names == [f"request {number}" for number in (35, 36, 37, 38, 39, 15, 16, 17, 18, 19)]
    assert said[0].startswith("speedscope: the 5 slowest and 5 typical requests")
