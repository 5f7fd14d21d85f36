"""The drawing of one request: well-formed, safe, readable, nothing over the edge."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import ClockOffset
from harness.report import waterfall_svg
from harness.report.waterfall_svg import fitting, ticks
from harness.views import Bar, Lane, Waterfall
from tests.waterfall_builders import ROOT, a_chain, a_root, a_sample, a_span, seen

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>\"'&\u202eevil\x00" + "x" * 1_000_000


def a_waterfall(*bars: Bar, **changes: object) -> Waterfall:
    known = Waterfall(7, "t" * 32, "read", "measure", True, "200", 0, 0.1, "marks", (), bars)
    return replace(known, **changes)


def a_bar(from_s: float = 0.01, until_s: float = 0.05, **changes: object) -> Bar:
    return replace(Bar(Lane.SERVER, 1, "detect", "inference", from_s, until_s), **changes)


def parsed(waterfall: Waterfall, key: str = "k") -> ElementTree.Element:
    text = str(waterfall_svg.render(waterfall, key)).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return ElementTree.fromstring(text)  # noqa: S314 - our own drawing


def texts(drawing: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in drawing.iter(f"{SVG}text")]


def test_every_line_has_its_name_and_its_duration(tmp_path: Path) -> None:
    found = texts(parsed(seen(tmp_path, a_sample(), a_chain())))

    for word in (
        "client",
        "service",
        "POST /v1/read",
        "detect · det",
        "38.00",
        "other: nobody claims it (2 ×)",
        "7.00",
    ):
        assert word in found


def test_a_tooltip_tells_all_that_is_known_of_a_bar() -> None:
    bar = a_bar(uncertain_s=0.002, details=(("model", "det"),))
    (title,) = (each.text for each in parsed(a_waterfall(bar)).iter(f"{SVG}title"))

    assert title == "detect, inference\nbegins at 10.00 ms, lasts 40.00 ms, ± 2.00 ms\nmodel: det"


def test_nothing_in_a_name_becomes_markup_or_turns_the_text_around() -> None:
    bar = a_bar(label=HOSTILE, details=((HOSTILE, HOSTILE),))
    drawing = str(waterfall_svg.render(a_waterfall(bar, name=HOSTILE, outcome=HOSTILE), "k"))

    assert "<script" not in drawing
    assert "\u202e" not in drawing
    assert "\x00" not in drawing
    assert len(drawing) < 10_000
    parsed(a_waterfall(bar, name=HOSTILE))
    assert "\u202e" not in str(waterfall_svg.table(a_waterfall(bar)))


def test_a_strict_page_can_show_it(tmp_path: Path) -> None:
    drawing = str(waterfall_svg.render(seen(tmp_path, a_sample(), a_chain()), "k"))

    assert not re.search(r"<style|style=|<script|\son\w+=|href|data:|@import|<foreignObject", drawing)


def test_ids_begin_with_the_key_and_what_refers_to_them_too() -> None:
    drawing = str(waterfall_svg.render(a_waterfall(a_bar(uncertain_s=0.001)), "slow-3"))

    assert set(re.findall(r'id="([^"]+)"', drawing)) == {"slow-3-doubt"}
    assert set(re.findall(r"url\(#([^)]+)\)", drawing)) == {"slow-3-doubt"}


def test_a_certain_place_is_not_hatched() -> None:
    assert "url(#" not in waterfall_svg.render(a_waterfall(a_bar()), "k")


def test_who_does_not_see_it_hears_what_took_long(tmp_path: Path) -> None:
    drawing = parsed(seen(tmp_path, a_sample(), a_chain()))

    assert drawing.get("role") == "img"
    assert drawing.get("aria-label") == (
        "Request 0 read: 100.0 ms, 200; longest in the service: detect · det 38.0 ms, session.run 30.0 ms. "
        "A table follows."
    )


def test_the_table_has_a_row_for_every_line(tmp_path: Path) -> None:
    table = waterfall_svg.table(seen(tmp_path, a_sample(), a_chain()))

    assert table.columns == ("seen by", "what", "stage", "begins (ms)", "lasts (ms)")
    assert ("service", "detect · det", "inference", "32.00", "38.00") in table.rows
    assert ("service", "other: nobody claims it (2 ×)", "other", "30.00", "7.00") in table.rows
    assert ("client", "waiting for the first byte", "", "4.00", "94.00") in table.rows


@pytest.mark.parametrize(
    "found",
    [
        a_waterfall(),
        a_waterfall(a_bar(0.0, 0.0), latency_s=0.0),
        a_waterfall(a_bar(-3.0, 900.0, uncertain_s=1e6), latency_s=-1.0),
        a_waterfall(a_bar(0.0, 1e-9), latency_s=1e-9),
        a_waterfall(a_bar(0.0, 9e9), latency_s=9e9),
        a_waterfall(a_bar(stage="no such stage", depth=9_999)),
    ],
    ids=["no bars", "no time", "beyond both ends", "a nanosecond", "centuries", "another stage"],
)
def test_bars_stay_inside_the_drawing(found: Waterfall) -> None:
    drawing = parsed(found)
    _, _, width, height = map(float, (drawing.get("viewBox") or "").split())

    assert "nan" not in str(waterfall_svg.render(found, "k"))
    for box in drawing.iter(f"{SVG}rect"):
        x, y = float(box.get("x", "0")), float(box.get("y", "0"))
        assert 0 <= x <= x + float(box.get("width", "0")) <= width + 0.1
        assert 0 <= y <= y + float(box.get("height", "0")) <= height


def test_bars_and_durations_never_share_a_column(tmp_path: Path) -> None:
    deep = [a_root(), *(a_span("w" * 90, 20, 30, parent_id=ROOT, span_id=f"{n + 1:016x}") for n in range(3))]
    drawing = parsed(seen(tmp_path, a_sample(), deep))
    boxes = [b for b in drawing.iter(f"{SVG}rect") if b.get("fill") != "none"]

    first = min(float(b.get("x", "0")) for b in boxes)
    lines = [text for text in drawing.iter(f"{SVG}text") if float(text.get("y", "0")) > 20]
    names = [text for text in lines if text.get("text-anchor") is None]
    lasts = [text for text in lines if text.get("text-anchor") == "end"]
    assert len(lasts) == len([g for g in drawing.iter(f"{SVG}g")])
    for name, last in zip(names[-4:], lasts[-4:], strict=True):
        begins = float(last.get("x", "0")) - 12 * 0.65 * len(last.text or "")
        assert float(name.get("x", "0")) + 12 * 0.55 * len(name.text or "") < begins
        assert float(last.get("x", "0")) < first


def test_doubt_is_hatched_on_both_sides_of_each_end(tmp_path: Path) -> None:
    found = seen(tmp_path, a_sample(), a_chain(), ((None, ClockOffset(0, 1_000_000, False, 0, 10)),))
    hatched = [b for b in parsed(found).iter(f"{SVG}rect") if "url" in b.get("fill", "")]

    ways, window, spans, gaps = 2, 1, 5, 2
    assert len(hatched) == 2 * (ways + window + spans + gaps) - 1  # a gap of 2 ms is uncertain as a whole


@pytest.mark.parametrize(
    ("until_s", "expected_ms"),
    [(0.1, [0, 20, 40, 60, 80, 100]), (0.0441, [0, 10, 20, 30, 40]), (1.0, [0, 200, 400, 600, 800, 1000])],
)
def test_ticks_are_round(until_s: float, expected_ms: list[float]) -> None:
    assert [round(tick * 1e3, 6) for tick in ticks(0.0, until_s)] == expected_ms


@given(st.floats(-10, 10), st.floats(1e-9, 1e6))
def test_there_are_a_few_ticks_in_any_stretch(lengths_before: float, length: float) -> None:
    since = lengths_before * length
    until = since + length
    found = ticks(since, until)

    assert len(found) <= 9
    assert all(since - length * 1e-6 <= tick <= until + length * 1e-6 for tick in found)


@given(st.text(max_size=60), st.floats(20, 300))
def test_words_are_cut_to_their_column(words: str, width: float) -> None:
    found = fitting(words, width, 12.0)

    assert found == words or found.endswith("…")
    assert len(found) <= max(2, width / (12 * 0.4) + 1)
