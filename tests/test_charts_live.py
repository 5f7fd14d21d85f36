"""The charts of a run that is on, as a browser draws them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import vl_convert

from harness.report.charts import live_specs


def drawn(key: str, rows: list[dict[str, Any]]) -> str:
    return vl_convert.vegalite_to_svg({**live_specs()[key], "width": 400, "datasets": {"live": rows}})


def rows_of(series: str, values: list[float | None]) -> list[dict[str, Any]]:
    return [{"t_s": t, "series": series, "value": value} for t, value in enumerate(values)]


def test_without_a_failure_the_line_lies_along_the_bottom() -> None:
    picture = drawn("errors", rows_of("failed", [0, 0, 0]))
    path = re.findall(r'd="(M0,[^"]*)"[^>]*stroke-width="2"', picture) or re.findall(r'd="(M0,170[^"]*)"', picture)

    assert {float(y) for _, y in re.findall(r"([\d.]+),([\d.]+)", path[0])} == {170.0}
    assert ">1</text>" in picture


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_requests_are_counted_in_whole_numbers(most: int) -> None:
    picture = drawn("in_flight", rows_of("in flight", [0, most, most]))

    assert f">{most if most < 7 else 6}</text>" in picture
    assert not re.search(r">\d\.5</text>", picture)  # seconds have even parts


@pytest.mark.parametrize(("key", "series"), [("rate", "achieved"), ("latency", "p50"), ("stages", "inference")])
def test_what_is_not_known_interrupts_a_line(key: str, series: str) -> None:
    whole, gap = (
        drawn(key, rows_of(series, [2, 3, middle, None if middle is None else 3, 2, 3])) for middle in (2, None)
    )

    def strokes(picture: str) -> int:
        return sum(d.count("M") for d in re.findall(r'd="([^"]*L[^"]*)"', picture))

    assert strokes(gap) > strokes(whole)
