"""Histories as a reader sees them: the table with its marks, JSON, Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from harness.commands.history import command
from harness.errors import HarnessError
from harness.history import histories
from harness.report import history_text
from harness.report.history_text import sparkline, when
from harness.report.schema import schema_file
from harness.run_folder import RunFolder
from tests.builders import T0
from tests.stored_runs import BAD, copied, some_runs, some_samples, store


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return store(tmp_path_factory.mktemp("original") / "original", some_samples())


def shown(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def refused(*arguments: str | Path) -> HarnessError:
    error = shown(*arguments).exception
    assert isinstance(error, HarnessError)
    return error


def test_the_table_marks_the_run_that_changed(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path, 10)
    some_runs(original, tmp_path, 10, first=11, p95=0.5)

    output = shown(tmp_path).output

    (marked,) = [line for line in output.splitlines() if "▼" in line]
    assert marked.split()[2] == "run-011"
    assert "• p95 fell from 97.2 ms to 48.4 ms" in output
    assert "20 runs, 2026-09-21 15:13 to 2026-09-22 10:13 UTC" in output
    assert "constant 20/s, 0 s warm-up, 10 s\n" in output


def test_only_the_newest_runs_are_shown_and_all_are_looked_at(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path, 10)
    some_runs(original, tmp_path, 10, first=11, p95=2.0)

    output = shown(tmp_path, "--last", "3").output

    assert "run-017 " not in output
    assert "run-018 " in output
    assert "the newest 3 are shown" in output
    assert "p95 rose" in output
    assert "run-001 " in shown(tmp_path, "--last", "0").output


def test_several_loads_are_told_apart_by_a_letter(original: RunFolder, tmp_path: Path) -> None:
    copied(original, tmp_path / "one", 1)
    copied(original, tmp_path / "two", 2, load="constant 40/s, 0 s warm-up, 10 s, seed 1")

    output = shown(tmp_path).output

    assert "load A: constant 20/s" in output
    assert "load B: constant 40/s" in output


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(original: RunFolder, tmp_path: Path, width: int) -> None:
    for number in range(1, 4):
        copied(original, tmp_path / f"20260921T1{number}0000Z-read-receipts", number, environment={"commit": "abc"})
    found = histories(tmp_path)

    text = history_text.render(found.histories, (), width=width, colour=False)

    assert max(map(len, text.splitlines())) <= max(width, 60)
    assert "97.0" in text


def test_colour_is_used_only_when_asked_for(original: RunFolder, tmp_path: Path) -> None:
    copied(original, tmp_path / "bad", 1, **BAD)
    found = histories(tmp_path).histories

    assert "\x1b" not in history_text.render(found, (), width=80, colour=False)
    assert "\x1b" in history_text.render(found, (), width=80, colour=True)


def test_hostile_names_are_made_visible(original: RunFolder, tmp_path: Path) -> None:
    evil = "\x1b[2J<script>|`x`\u202e"
    copied(original, tmp_path / "a\x1b[31m\n|b", 1, scenario=evil, environment={"commit": evil}, load=evil)
    found = histories(tmp_path)

    text = history_text.render(found.histories, [("\x1b", "\x1b")], width=120, colour=False)
    page = history_text.markdown(found.histories, [("\x1b", "<b>")])

    assert not {"\x1b", "\u202e"} & set(text + page)
    assert "<script>" not in page
    assert len({line.count("|") for line in page.splitlines() if line.startswith("|")}) == 1


def test_the_json_holds_every_run(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path, 3)

    found = json.loads(shown(tmp_path, "--json", "--last", "1").output)

    assert [row["run"]["run_id"] for row in found["histories"][0]["rows"]] == ["run-001", "run-002", "run-003"]
    assert found["histories"][0]["rows"][0]["p95_s"] == pytest.approx(0.097 * 1.03)
    assert found["unread"] == {}
    jsonschema.validate(found, json.loads(schema_file("history").read_text()))


def test_markdown_goes_to_a_file_or_to_stdout(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path / "runs", 3)
    page = tmp_path / "history.md"

    written, printed = shown(tmp_path / "runs", "--markdown", page), shown(tmp_path / "runs", "--markdown", "-")

    assert f"wrote {page}" in written.output
    assert page.read_text() == printed.output
    assert printed.output.startswith("### <code>read</code>\n")
    assert "| when (UTC) | run | verdict | n | p50 (ms) | p95 (ms) |" in printed.output


def test_two_outputs_do_not_share_stdout(tmp_path: Path) -> None:
    assert "both want stdout" in refused(tmp_path, "--json", "--markdown", "-").message
    assert "is a folder" in refused_markdown_folder(tmp_path).message


def refused_markdown_folder(tmp_path: Path) -> HarnessError:
    store(tmp_path / "runs" / "one", some_samples())
    return refused(tmp_path / "runs", "--markdown", tmp_path)


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=100))
def test_a_sparkline_has_a_sign_for_each_value(values: list[float]) -> None:
    drawn = sparkline(values)

    assert len(drawn) == min(len(values), 60)
    assert set(drawn) <= set("▁▂▃▄▅▆▇█")


def test_a_sparkline_goes_from_the_lowest_to_the_highest_sign() -> None:
    assert sparkline([1.0, 2.0, 3.0, 8.0]) == "▁▂▃█"  # steps of 7 / 8: 0, 1.14, 2.29 and the end
    assert sparkline([5.0, 5.0]) == "▁▁"


def test_an_instant_beyond_the_calendar_is_not_shown() -> None:
    assert when(T0) == "2026-09-21 14:13"
    assert when(2**63 - 1) == "2262-04-11 23:47"
    assert when(10**30) == "–"
