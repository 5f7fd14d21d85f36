"""What the page shows beside the summary: waterfalls, flame graphs; also with hostile names."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyinstrument import Profiler
from report_builders import a_ledger, a_summary
from report_hostile import ALL
from test_report_html import Page

from harness.commands.report import command
from harness.flames import FOLDER, call_profiles
from harness.report import flame_svg, html
from harness.report.files import render_as
from harness.run import reopen
from harness.run_folder import RunFolder
from harness.views import Bar, Flame, FlameNode, Lane, Views, Waterfall
from tests import simulated_queues, stored_queues


def a_waterfall(request_id: int = 7, text: str = "receipt", **changes: Any) -> Waterfall:
    bars = (
        Bar(Lane.CLIENT, 0, text, "upload", 0.0, 0.1, 0.01),
        Bar(Lane.SERVER, 0, text, None, 0.1, 0.5, details=((text, text),)),
        Bar(Lane.SERVER, 1, text, "inference", 0.2, 0.4, span_id="a" * 16),
    )
    made = Waterfall(
        request_id, text, text, "measure", True, text, 1_767_323_045 * 10**9, 0.5, "marks",
        (("upload", 0.1), ("inference", 0.2), ("other", 0.2), ("queue_est", None)), bars, text,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def a_flame(text: str = "read", where: str | None = "reader.py:7") -> Flame:
    leaf = FlameNode(text, 0.3, where=where)
    stage = FlameNode("inference", 0.4, stage="inference", children=(FlameNode(text, 0.4, stage="inference"),))
    return Flame(text, 12, text, FlameNode(text, 1.0, children=(leaf, stage)))


def views(text: str = "receipt") -> Views:
    return Views(slowest=(a_waterfall(1, text), a_waterfall(2, text)), typical=(a_waterfall(3, text),),
                 flames=(a_flame(text),))  # fmt: skip


def test_each_request_opens_to_its_waterfall_and_the_slowest_one_is_open() -> None:
    page = Page(html.render(a_summary(), None, views()))
    requests = [a for a in page.all("details") if "request" in a.get("class", "").split()]

    assert len(requests) == 3
    assert ["open" in a for a in requests] == [True, False, False]
    assert ["printed" in a["class"].split() for a in requests] == [True, False, True]
    assert sum("waterfall" in a.get("class", "") for a in page.all("svg")) == 3


def test_without_waterfalls_requests_are_rows_of_bars() -> None:
    page = Page(html.render(a_summary(), None))

    assert not [a for a in page.all("details") if "request" in a.get("class", "").split()]
    assert len([a for a in page.all("td") if a.get("class") == "request-bar"]) == 5


def test_a_flame_graph_comes_with_its_figures() -> None:
    page = Page(html.render(a_summary(), None, views("read")))

    assert sum(a.get("class") == "flame" for a in page.all("svg")) == 1
    for words in ("Flame graphs", "reader.py:7", "own time (ms)"):
        assert words in page.words


def test_a_flame_graph_without_time_is_its_note() -> None:
    empty = Flame("Call profile", 0, "Left out: x.pyisession: no JSON.", FlameNode("nothing", 0.0))

    page = Page(html.render(a_summary(), None, Views(flames=(empty,))))

    assert "Left out: x.pyisession" in page.words
    assert not [a for a in page.all("svg") if a.get("class") == "flame"]


def test_ids_stay_unique_and_links_lead_somewhere_with_everything_shown() -> None:
    page = Page(html.render(a_summary(), a_ledger(), views()))
    ids = [a["id"] for _, a in page.elements if "id" in a]

    assert len(ids) == len(set(ids))
    assert {a["href"].removeprefix("#") for a in page.all("a")} <= set(ids)


@pytest.mark.parametrize("text", ALL, ids=lambda t: ascii(t[:12]))
def test_no_name_of_a_span_or_frame_changes_the_structure_of_the_page(text: str) -> None:
    assert shape(text) == shape("name")


@cache
def shape(name: str) -> list[tuple[str, list[str]]]:
    """Elements and their attributes; but for those of a label, which is where there is room for one."""
    page = html.render(a_summary(models=()), None, views(name))
    assert len(page) < 250_000
    return [(tag, sorted(attributes)) for tag, attributes in Page(page).elements if tag not in ("text", "title")]


# --- the drawing -----------------------------------------------------------------------------------------------


def test_frames_stand_below_who_called_them_as_wide_as_their_time() -> None:
    drawn = flame_svg.render(a_flame(), "f")
    boxes = [tuple(map(float, found)) for found in re.findall(r'x="([\d.]+)" y="(\d+)" width="([\d.]+)"', drawn)]

    # 960 px for 1 s: the leaf has 288 px from 0, the stage 384 px from there; a gap of 1 px after each.
    assert boxes == [(0.0, 0.0, 959.0), (0.0, 22.0, 287.0), (288.0, 22.0, 383.0), (288.0, 44.0, 383.0)]
    assert 'viewBox="0 0 960 66"' in drawn
    assert "<title>inference: 400.0 ms, 40.0%, 0.0 ms its own</title>" in drawn


def test_a_label_is_cut_where_there_is_no_room() -> None:
    narrow = FlameNode("a_function_with_a_long_name", 0.1)
    drawn = flame_svg.render(Flame("t", 1, "", FlameNode("root", 1.0, children=(narrow,))), "f")

    assert ">a_function_w…</text>" in drawn  # 96 px less 8 for the edges hold 13 letters


def test_the_table_of_a_flame_graph_ranks_frames_by_their_own_time() -> None:
    again = FlameNode("walk", 0.4, where="a.py:1", children=(FlameNode("walk", 0.3, where="a.py:1"),))
    root = FlameNode("main", 1.0, where="a.py:9", children=(again, FlameNode("read", 0.2, where="b.py:3")))

    table = flame_svg.table(Flame("t", 1, "", root))

    # main: 1.0 - 0.6; walk: 0.1 + 0.3, and 0.4 with what it calls, which is itself.
    assert sorted(row[0] for row in table.rows[:2]) == ["main", "walk"]
    assert {row[0]: (row[1], row[3]) for row in table.rows} == {
        "main": ("400.0", "1,000.0"), "walk": ("400.0", "400.0"), "read": ("200.0", "200.0"),
    }  # fmt: skip


def test_a_huge_graph_is_drawn_in_part() -> None:
    many = FlameNode("root", 5_000.0, children=tuple(FlameNode(f"f{i}", 1.0) for i in range(5_000)))
    deep = FlameNode("end", 1.0)
    for _ in range(200):
        deep = FlameNode("down", 1.0, children=(deep,))

    assert len(flame_svg.render(Flame("t", 1, "", many), "f")) < 400_000
    assert flame_svg.render(Flame("t", 1, "", deep), "f").count("<rect") == flame_svg.MOST_ROWS


# --- the command -------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return stored_queues.store(tmp_path / "run", simulated_queues.simulate(200, 0.5, 1))


def burns_in_a_test(n: int) -> int:
    return sum(i * i for i in range(n))


def test_the_hot_function_of_a_call_profile_is_in_the_report(run: Path) -> None:
    (run / FOLDER).mkdir()
    profiler = Profiler(interval=0.0005)
    profiler.start()
    for _ in range(10):
        burns_in_a_test(50_000)
    profiler.stop().save(run / FOLDER / "request.pyisession")

    done = CliRunner().invoke(command, [str(run), "--format", "html", "-o", "-"])

    assert done.exit_code == 0, done.output
    assert "burns_in_a_test" in done.output.partition('id="flames"')[2]
    assert any(flame.n for flame in call_profiles(RunFolder(run)))


def test_the_percentiles_of_a_baseline_are_drawn_beside_those_of_the_run(run: Path, tmp_path: Path) -> None:
    other = stored_queues.store(tmp_path / "other", simulated_queues.simulate(200, 0.8, 2))
    refused = CliRunner().invoke(command, [str(run), "--baseline", str(other), "-o", "-"])
    assert "no latencies" in str(refused.exception)  # it was never concluded: it has no ledger

    outcome = reopened(other)
    other_folder = RunFolder(other)
    other_folder.write_table("ledger", pa.Table.from_pandas(outcome.ledger, preserve_index=False))
    done = CliRunner().invoke(command, [str(run), "--baseline", str(other), "-o", "-"])

    assert done.exit_code == 0, done.output
    assert "other" in done.output.partition('id="curve"')[2].partition("</section>")[0]


def reopened(path: Path) -> Any:
    return reopen(RunFolder.open(path))


def test_a_baseline_is_for_pages_only(run: Path) -> None:
    done = CliRunner().invoke(command, [str(run), "--format", "md", "--baseline", str(run)])

    assert "only html has one" in str(done.exception)


def test_views_change_no_other_format() -> None:
    assert render_as("md", a_summary(), None, views()) == render_as("md", a_summary(), None)
