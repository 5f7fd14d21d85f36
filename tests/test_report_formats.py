"""Console, Markdown and JSON: golden texts, hostile names, runs that measured nothing."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_builders import a_latency, a_summary, an_empty_summary, an_estimate, some_counts
from report_diagnosed import a_diagnosed_summary
from report_hostile import ALL, NUL, SCRIPT, a_hostile_summary
from rich.cells import cell_len

from harness.errors import RunFolderError
from harness.findings import Summary
from harness.report import console, json_report, markdown

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = Path(json_report.__file__).parent / "schema" / "summary.schema.json"


def same_as_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text)
    assert text == path.read_text(), f"{name} differs; UPDATE_GOLDEN=1 accepts the new text"


def every_summary() -> list[Summary]:
    return [a_summary(), a_diagnosed_summary(), an_empty_summary(), *map(a_hostile_summary, ALL)]


# --- console -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_the_console_text_is_the_golden_one(width: int) -> None:
    same_as_golden(f"console-{width}.txt", console.render(a_summary(), width=width, colour=False))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_console_text_of_an_explained_run_is_the_golden_one(width: int) -> None:
    same_as_golden(f"console-why-{width}.txt", console.render(a_diagnosed_summary(), width=width, colour=False))


def test_the_console_text_of_an_empty_run_is_the_golden_one() -> None:
    same_as_golden("console-empty.txt", console.render(an_empty_summary(), width=80, colour=False))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_console_line_is_wider_than_asked(width: int) -> None:
    for summary in every_summary():
        assert max(map(cell_len, console.render(summary, width=width, colour=False).splitlines())) <= width


def test_without_colour_there_is_no_escape_code_and_with_colour_there_is() -> None:
    assert "\x1b" not in console.render(a_summary(), width=80, colour=False)
    assert "\x1b[" in console.render(a_summary(), width=80, colour=True)


def test_colour_changes_no_letter() -> None:
    plain = console.render(a_summary(), width=80, colour=False)
    coloured = re.sub(r"\x1b\[[0-9;]*m", "", console.render(a_summary(), width=80, colour=True))

    assert [line.rstrip() for line in coloured.splitlines()] == plain.splitlines()


def test_a_name_cannot_send_escape_codes_or_markup_to_the_terminal() -> None:
    assert "before⟨NUL⟩after⟨ESC⟩[31mred" in console.render(a_hostile_summary(NUL), width=120, colour=False)
    assert "[bold red]loud[/] :skull:" in console.render(a_hostile_summary(ALL[-1]), width=120, colour=False)


def test_a_client_only_run_shows_no_stage_table() -> None:
    assert "Where the time goes" not in console.render(a_summary(stages=()), width=80, colour=False)


# --- markdown ------------------------------------------------------------------------------------------------


def test_the_markdown_is_the_golden_one() -> None:
    same_as_golden("report.md", markdown.render(a_summary()))


def test_the_markdown_of_an_explained_run_is_the_golden_one() -> None:
    same_as_golden("report-why.md", markdown.render(a_diagnosed_summary()))


def test_the_markdown_of_an_empty_run_is_the_golden_one() -> None:
    same_as_golden("report-empty.md", markdown.render(an_empty_summary()))


def structure(text: str) -> list[tuple[str, str]]:
    """Blocks, cells and inline elements of a Markdown text without the words in them; raw HTML as it stands."""
    found = []
    for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text):
        for part in (token, *(token.children or [])):
            if part.type != "text":
                found.append((part.type, part.content if part.type.startswith("html") else ""))
    return [f for f in found if f != ("html_inline", "<!-- -->")]


@pytest.mark.parametrize("text", ALL, ids=lambda t: ascii(t[:12]))
def test_no_name_changes_the_structure_of_the_markdown(text: str) -> None:
    assert structure(markdown.render(a_hostile_summary(text))) == structure(markdown.render(a_hostile_summary("name")))


@given(st.text(alphabet=st.sampled_from("|`*_<>[]()!\\#@&;:/~$-+=.\n aw1"), max_size=40))
def test_no_text_escapes_from_a_table_cell(text: str) -> None:
    page = f"| a | b |\n| --- | --- |\n| {markdown.escaped(text)} | {markdown.named(text)} |\n"
    kinds = {kind for kind, _ in structure(page)}

    assert kinds <= {"table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close", "tr_open",
                     "tr_close", "th_open", "th_close", "td_open", "td_close", "inline", "html_inline"}  # fmt: skip
    assert {html for kind, html in structure(page) if kind == "html_inline"} == {"<code>", "</code>"}


# --- JSON ----------------------------------------------------------------------------------------------------


def test_every_summary_survives_the_round_trip() -> None:
    for summary in every_summary():
        assert json_report.parse(json_report.render(summary)) == summary


def test_every_summary_obeys_the_committed_schema() -> None:
    checker = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    for summary in every_summary():
        checker.validate(json.loads(json_report.render(summary)))


def test_the_committed_schema_is_the_one_of_the_dataclasses() -> None:
    same_as_golden(os.path.relpath(SCHEMA, GOLDEN), json.dumps(json_report.schema(), indent=2) + "\n")


def test_the_schema_refuses_a_missing_verdict_and_a_text_for_a_number() -> None:
    checker = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    good = json.loads(json_report.render(a_summary()))

    assert not checker.is_valid({k: v for k, v in good.items() if k != "verdict"})
    assert not checker.is_valid({**good, "duration_s": "72.4"})
    assert not checker.is_valid({**good, "verdict": "fine"})


def test_stages_and_pairs_are_objects_in_order() -> None:
    written = json.loads(json_report.render(a_summary()))

    assert list(written["stages"])[:3] == ["backlog", "transfer", "connect"]
    assert written["stages"]["inference"]["mean"]["value"] == 0.1186
    assert written["counts"]["errors"] == {"timeout after 30 s": 3, "status 503": 1}
    assert written["environment"] == {"python": "3.11.2", "cpu": "2 cores"}


def test_numbers_that_are_not_finite_become_null() -> None:
    infinite = dataclasses.replace(an_estimate(0.1), value=math.inf, low=math.nan)
    text = json_report.render(a_summary(latency=a_latency(p95=infinite, max_s=math.inf)))

    assert not re.search(r"NaN|Infinity", text)
    assert json_report.parse(text).latency.p95.value is None


def test_text_is_written_as_it_is_and_can_always_be_encoded() -> None:
    assert "Straße" in json_report.render(a_summary(scenario="Straße"))
    for summary in every_summary():
        json_report.render(summary).encode()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "null", '{"stages": 3}', '{"stages": {"a": 1}}', "NaN", "[" * 9999]
)
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(RunFolderError) as refused:
        json_report.parse(text)

    assert "\n" not in refused.value.message
    assert refused.value.hint


def test_a_wrong_value_is_named_by_its_place() -> None:
    text = json_report.render(a_summary()).replace('"scheduled": 244', '"scheduled": "many"')

    with pytest.raises(RunFolderError, match=r"counts\.scheduled"):
        json_report.parse(text)


def test_a_script_in_an_error_text_survives_as_text() -> None:
    summary = a_summary(counts=some_counts(errors=((SCRIPT, 4),)))

    assert json.loads(json_report.render(summary))["counts"]["errors"] == {SCRIPT: 4}
