"""`harness compare` as a user runs it: stored runs, the text, JSON, Markdown, exit codes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness import versus
from harness.commands.compare import command
from harness.comparison import CompareFindings, Difference
from harness.errors import ExitCode, RunFolderError, UsageError
from harness.report import compare_markdown, compare_text
from harness.report.json_findings import parse_findings, render_findings
from harness.run_folder import RunFolder
from tests import simulated_queues as queues
from tests.cli import harness
from tests.stored_queues import first, store

N = 700


def simulated(seed: int, inference: float = 1.0) -> queues.Simulated:
    """At a third of what the service holds; with `inference` times the work at the same rate."""
    means = (0.002, 0.010 * inference, 0.001)
    return queues.simulate(N, 0.3 * sum(means) / 0.013, seed, means_s=means, settle=100)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("runs")
    store(parent / "usual", simulated(1))
    store(parent / "slower", simulated(2, inference=1.5), load={"seed": 2})
    store(parent / "bare", first(simulated(3), 300), halves=False)
    store(parent / "failed", first(simulated(3), 80), failed=80, halves=False)
    store(parent / "empty", first(simulated(3), 0), halves=False)
    store(parent / "invalid", first(simulated(3), 300), cpu=0.99)
    store(
        parent / "other", first(simulated(3), 300), environment={"cpu": "Xeon", "python": "3.12.1"}, size=5_000,
        load={"steps": [{"level": 90.0, "duration_s": 20.0, "to": None}]},
    )  # fmt: skip
    return parent


class Compare:
    """The command in this process; `code`, `stdout` and `stderr` of the last call."""

    def __init__(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.runs, self.capsys = runs, capsys
        self.code, self.stdout, self.stderr = -1, "", ""

    def __call__(self, a: str, b: str, *arguments: str | Path) -> Compare:
        words = [str(self.runs / a), str(self.runs / b), *map(str, arguments)]
        self.code = command.main(words, standalone_mode=False)
        self.stdout, self.stderr = self.capsys.readouterr()
        return self


@pytest.fixture
def compare(runs: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    return Compare(runs, capsys)


@pytest.fixture(scope="module")
def slower(runs: Path) -> CompareFindings:
    return versus.compare(RunFolder.open(runs / "usual"), RunFolder.open(runs / "slower"))


def test_a_slower_stage_is_named_with_its_interval_and_the_doubt_that_stays(compare: Compare) -> None:
    ended = compare("usual", "slower")

    text = " ".join(ended.stdout.split())
    assert (ended.code, ended.stderr) == (0, "")
    assert "- In these two runs B is slower than A: p50 by " in text
    assert re.search(r"- inference takes [45]\.\d+ ms longer in B \(95% interval \+\d", text)
    assert "One run a side knows the noise of requests, not of runs" in text
    assert "seed: 1 in A, 2 in B; arrivals and payloads were drawn anew" in text
    assert "regress" not in text.lower()
    assert not re.search(r"\b(nan|inf|None)\b", text)


def test_the_tables_show_stages_models_shift_and_tail(slower: CompareFindings) -> None:
    text = compare_text.render(slower, width=100, colour=False)

    for title in ("The whole request", "Stages, mean per request", "Models, mean per request", "Shift of the latency",
                  "Change of the p95"):  # fmt: skip
        assert f"\n{title}\n" in text
    assert re.search(r"\nqueue ~ +\d", text)
    assert re.search(r"\n= mean latency +\d", text)


def test_percentiles_that_are_missing_are_listed_with_their_neighbours(slower: CompareFindings) -> None:
    missing = (0.1, 0.95, 0.99, 0.999)
    shifts = tuple(replace(s, refusal="has 30" if s.p in missing else None) for s in slower.shifts)

    text = " ".join(compare_text.render(replace(slower, shifts=shifts), width=100, colour=False).split())

    assert "no p10 or p95 to p99.9 (has 30)" in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(slower: CompareFindings, width: int) -> None:
    text = compare_text.render(slower, width=width, colour=False)

    assert max(map(len, text.splitlines())) <= max(width, compare_text.NARROWEST)


def test_colours_come_only_when_asked_for(slower: CompareFindings) -> None:
    assert "\x1b[" not in compare_text.render(slower, width=80, colour=False)
    assert "\x1b[" in compare_text.render(slower, width=80, colour=True)


def test_the_changes_of_the_stages_at_the_p95_sum_to_its_change(slower: CompareFindings) -> None:
    p95 = next(point for point in slower.shifts if point.p == 0.95)

    assert sum(seconds for _, seconds in slower.tail) == pytest.approx(p95.change.value, abs=1e-9)


def test_json_has_every_figure_and_comes_back_the_same_each_time(compare: Compare, slower: CompareFindings) -> None:
    ended = compare("usual", "slower", "--json")

    shown = json.loads(ended.stdout, parse_constant=pytest.fail)
    assert (shown["a"]["run_id"], shown["b"]["run_id"], shown["a"]["n"]) == ("usual", "slower", N)
    assert [m["metric"] for m in shown["metrics"]] == ["p50", "p95", "p99", "mean", "error_rate", "throughput"]
    assert {m["gating"] for m in shown["metrics"]} == {False}
    assert "inference" in shown["tail"]
    assert parse_findings(CompareFindings, ended.stdout) == slower
    assert render_findings(slower) == ended.stdout


# --- runs that are not alike --------------------------------------------------------------------------------


def test_runs_that_are_not_alike_are_refused_with_every_reason(compare: Compare) -> None:
    with pytest.raises(UsageError) as refused:
        compare("usual", "other")

    assert refused.value.exit_code is ExitCode.USAGE
    assert refused.value.message == (
        "usual and other are not comparable: cpu: AMD EPYC in A, Xeon in B; rate: 50/s in A, 90/s in B; the payloads "
        "of usual have other sizes: 100% of them in one run have no match in the other"
    )
    assert refused.value.hint is not None
    assert "--force" in refused.value.hint


def test_when_forced_the_reasons_stand_on_top(compare: Compare) -> None:
    ended = compare("usual", "other", "--force")

    text = ended.stdout
    assert ended.code == 0
    parts = ("NOT COMPARABLE", "cpu: AMD EPYC in A", "What else differs", "python: 3.11.7", "One run a side",
             "The whole request")  # fmt: skip
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_a_refusal_is_two_lines_on_stderr_and_exit_code_2(runs: Path) -> None:
    ended = harness("compare", runs / "usual", runs / "other", cwd=runs)

    assert (ended.code, ended.stdout) == (2, "")
    assert [line.split(":")[0] for line in ended.stderr.splitlines()] == ["error", "hint"]


def test_a_run_against_itself_is_said_to_be_that(compare: Compare) -> None:
    ended = compare("usual", "usual")

    assert ended.code == 0
    assert "A and B are the same run: nothing can differ" in ended.stdout


def test_of_a_folder_of_runs_the_newest_is_taken_and_named(compare: Compare, tmp_path: Path, runs: Path) -> None:
    for stamp, name in (("20260101T000000Z-x", "bare"), ("20260102T000000Z-x", "slower")):
        shutil.copytree(runs / name, tmp_path / stamp)

    ended = compare("usual", str(tmp_path), "--json")

    assert ended.stderr == f"B is {tmp_path / '20260102T000000Z-x'}, the newest run in {tmp_path}\n"
    assert json.loads(ended.stdout)["b"]["run_id"] == "20260102T000000Z-x"


# --- runs that say little -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("usual", "failed", "Failed in B: 80 of 80 ("),
        ("failed", "usual", "A has no request that was answered as expected"),
        ("usual", "empty", "B has no request that was answered as expected"),
        ("invalid", "usual", "A is an invalid measurement: cpu is 99%"),
    ],
)
def test_a_run_that_is_no_measurement_ends_with_3_and_shows_what_there_is(
    compare: Compare, a: str, b: str, said: str
) -> None:
    ended = compare(a, b)

    text = " ".join(ended.stdout.split())
    assert ended.code == ExitCode.NOT_MEASURED
    assert said in text
    assert "The whole request" in text
    assert not re.search(r"\b(nan|inf|None)\b", text)


def test_without_server_halves_on_one_side_the_latency_is_compared_and_no_stage(compare: Compare) -> None:
    ended = compare("usual", "bare")

    text = " ".join(ended.stdout.split())
    assert ended.code == 0
    assert "Nothing is said about stages: of B, no request has a server half." in text
    assert "server halves: marks 100% in A, none 100% in B; no stage of B is known" in text
    assert "Stages, mean per request" not in text


def test_two_runs_without_a_request_are_compared_without_a_crash(compare: Compare) -> None:
    ended = compare("empty", "empty", "--markdown", "-")

    assert ended.code == ExitCode.NOT_MEASURED
    assert "cannot be compared (p50 of both: no request counts here)" in ended.stdout


# --- where it goes ------------------------------------------------------------------------------------------


def test_markdown_alone_goes_to_stdout(compare: Compare, slower: CompareFindings) -> None:
    assert compare("usual", "slower", "--markdown", "-").stdout == compare_markdown.render(slower)


def test_the_markdown_shows_two_tables_and_folds_the_others(slower: CompareFindings) -> None:
    text = compare_markdown.render(slower)

    assert text.startswith("## slower against usual\n")
    assert text.count("<details>") == text.count("</details>") == 3
    assert text.count("\n### ") == 2
    assert all(line.endswith("|") for line in text.splitlines() if line.startswith("|"))


def test_a_name_from_outside_opens_nothing(slower: CompareFindings) -> None:
    evil = "<img src=x>|@everyone\n\x1b[31m"
    difference = Difference("python", evil, evil, False, f"python: {evil}")
    stages = tuple(replace(stage, stage=evil) for stage in slower.models)
    hostile = replace(slower, a=replace(slower.a, run_id=evil), differences=(difference,), models=stages)

    markdown, text = compare_markdown.render(hostile), compare_text.render(hostile, width=100, colour=False)

    assert "<img" not in markdown
    assert "@everyone" not in markdown
    assert "\x1b" not in markdown + text


def test_files_are_written_beside_each_other(compare: Compare, tmp_path: Path) -> None:
    ended = compare("usual", "failed", "--json", "-o", tmp_path / "c.json", "--markdown", tmp_path / "c.md")

    assert (ended.stdout, ended.code) == ("", ExitCode.NOT_MEASURED)
    assert ended.stderr == f"wrote {tmp_path / 'c.md'}\nwrote {tmp_path / 'c.json'}\n"
    assert json.loads((tmp_path / "c.json").read_text())["schema_version"] == 1
    assert (tmp_path / "c.md").read_text().startswith("## failed against usual\n")


def test_a_file_that_cannot_be_written_is_one_sentence_before_anything_is_read(
    compare: Compare, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="nowhere is no folder"):
        compare("usual", "slower", "-o", tmp_path / "nowhere" / "c.txt")


def test_stdout_takes_one_format(compare: Compare) -> None:
    with pytest.raises(UsageError, match="stdout takes one format"):
        compare("usual", "slower", "--json", "--markdown", "-")


def test_what_is_no_run_is_refused(compare: Compare, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="does not exist"):
        compare("usual", str(tmp_path / "nothing"))
    with pytest.raises(RunFolderError, match="is not a run and holds none"):
        compare(str(tmp_path), "usual")


def test_a_damaged_run_is_refused_with_one_sentence(compare: Compare, runs: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(runs / "empty", damaged)
    (damaged / "samples.parquet").write_bytes(b"PAR1 no more")

    with pytest.raises(RunFolderError, match="the table 'samples'"):
        compare(str(damaged), "usual")
