"""Whatever a service sends: circles, orphans, spans of a second life, attributes of a megabyte."""

from __future__ import annotations

import itertools
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.clock import ClockOffset
from harness.model import CLAIMS, SERVER_STAGES, Span
from harness.report import waterfall_svg
from harness.views import Bar, Waterfall
from harness.windows import Offsets
from tests.builders import MS, T0
from tests.waterfall_builders import ONE_CLOCK, ROOT, a_chain, a_root, a_sample, a_span, bars, seen

IDS = [f"{number:016x}" for number in range(1, 7)]
OFFSETS: list[Offsets | None] = [
    ONE_CLOCK, None, ((None, None),), ((None, ClockOffset(20 * MS, 4 * MS, False, 0, 3)),),
]  # fmt: skip
INSTANTS = st.integers(-50, 250).map(lambda ms: T0 + ms * MS) | st.integers(0, 2**63 - 1)


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    """Up to six spans below each other in any way, and mostly a root."""
    found = [a_root(draw(st.integers(0, 60)), draw(st.integers(40, 140)))] if draw(st.integers(0, 4)) else []
    for span_id in IDS[: draw(st.integers(0, len(IDS)))]:
        begin, end = sorted((draw(INSTANTS), draw(INSTANTS)))
        parent = draw(st.sampled_from([ROOT, None, "f" * 16, *IDS]))
        stage = draw(st.sampled_from([None, None, *CLAIMS]))
        kind = draw(st.sampled_from(["internal", "internal", "server", "client"]))
        made = a_span(draw(st.text(max_size=3)), 0, 0, span_id=span_id, parent_id=parent, stage=stage, kind=kind)
        found.append(
            Span(**{name: getattr(made, name) for name in Span.__slots__} | {"start_ns": begin, "end_ns": end})
        )
    return found


def drawn(rows: Sequence[Span], offsets: Offsets | None = ONE_CLOCK, **changes: object) -> Waterfall:
    with tempfile.TemporaryDirectory() as path:
        return seen(Path(path), a_sample(), rows, offsets, **changes)


@settings(max_examples=12, deadline=None)
@given(spans(), st.sampled_from(OFFSETS))
def test_every_bar_of_every_tree_can_be_drawn(rows: list[Span], offsets: Offsets | None) -> None:
    found = drawn(rows, offsets)

    assert len(found.bars) <= 400
    for bar in found.bars:
        assert -found.latency_s / 2 <= bar.from_s <= bar.until_s <= 2 * found.latency_s
        assert math.isfinite(bar.uncertain_s)
        assert bar.uncertain_s >= 0
    depths = [bar.depth for bar in bars(found, "server") if bar.span_id is not None]
    assert all(after <= before + 1 for before, after in itertools.pairwise(depths))
    assert "nan" not in waterfall_svg.render(found, "k")


@settings(max_examples=12, deadline=None)
@given(spans())
def test_the_deepest_bars_at_each_instant_give_the_ledgers_stages(rows: list[Span]) -> None:
    found = drawn(rows, None)
    if found.split == "none":
        return
    window = bars(found, "server")[0]

    spent = _charged(bars(found, "server")[1:], window.from_s, window.until_s)

    for stage in SERVER_STAGES:
        known = dict(found.stages)[stage]
        # Clocks of two hosts drift apart by up to 500 ppm; these instants are whole milliseconds.
        assert spent.get(stage, 0.0) == pytest.approx(known or 0.0, abs=1.5e-4)


def _charged(found: list[Bar], since: float, until: float) -> dict[str, float]:
    """Each stretch of the window to the open bars with a stage that have no open one with a stage below them."""
    above: dict[int, list[int]] = {}
    path: list[int] = []
    for number, bar in enumerate(found):
        path = [one for one in path if found[one].depth < bar.depth]
        above[number] = list(path)
        path.append(number)
    staged = [k for k, bar in enumerate(found) if bar.stage is not None and bar.span_id is not None]
    cuts = sorted(
        {since, until, *(e for k in staged for e in (found[k].from_s, found[k].until_s) if since < e < until)}
    )
    spent: dict[str, float] = {}
    for begin, end in itertools.pairwise(cuts):
        is_open = [k for k in staged if found[k].from_s <= begin and found[k].until_s >= end]
        covered = {one for k in is_open for one in above[k]}
        leaves = [k for k in is_open if k not in covered]
        for k in leaves:
            stage = str(found[k].stage)
            spent[stage] = spent.get(stage, 0.0) + (end - begin) / len(leaves)
    return spent


def test_spans_that_are_each_others_parents_are_drawn_once(tmp_path: Path) -> None:
    a, b = IDS[:2]
    circle = [a_span("a", 20, 40, span_id=a, parent_id=b), a_span("b", 30, 50, span_id=b, parent_id=a)]
    found = seen(tmp_path, a_sample(), [a_root(), *circle, a_span("own", 50, 60, span_id=IDS[2], parent_id=IDS[2])])

    assert sorted(bar.label for bar in bars(found, "server") if bar.span_id) == ["POST /v1/read", "a", "b", "own"]


def test_ten_thousand_spans_become_four_hundred_bars(tmp_path: Path) -> None:
    many = [
        a_span(f"s{n}", 10 + n * 0.007, 10 + n * 0.007 + 0.001 * (n % 7), span_id=f"{n + 1:016x}", parent_id=ROOT)
        for n in range(10_000)
    ]
    found = seen(tmp_path, a_sample(), [a_root(), *many])

    assert 300 < len(found.bars) <= 400
    left_out = 10_001 - sum(bar.span_id is not None for bar in found.bars)
    assert found.note == f"Not drawn: {left_out:,} spans of the shortest."


def test_a_chain_of_ten_thousand_calls_keeps_its_outer_ones(tmp_path: Path) -> None:
    ids = [ROOT, *(f"{n + 1:016x}" for n in range(10_000))]
    chain = [
        a_span(f"s{n}", 10 + n * 0.003, 90 - n * 0.003, span_id=ids[n + 1], parent_id=ids[n]) for n in range(10_000)
    ]
    found = seen(tmp_path, a_sample(), [a_root(), *chain], most_bars=50)

    labels = [bar.label for bar in bars(found, "server") if bar.span_id]
    assert labels == ["POST /v1/read", *(f"s{n}" for n in range(len(labels) - 1))]
    assert len(found.bars) <= 50


def test_attributes_of_a_megabyte_are_cut(tmp_path: Path) -> None:
    large = a_span("n" * 1_000_000, 20, 30, parent_id=ROOT, attributes={"text": "x" * 1_000_000})
    many = a_span("many", 30, 40, parent_id=ROOT, attributes={f"key {n}": "v" * 500 for n in range(100)})
    found = {bar.label[:4]: bar for bar in bars(seen(tmp_path, a_sample(), [a_root(), large, many]), "server")}

    assert len(found["nnnn"].label) == 120
    assert ("attributes", "977 KiB: too large to be shown") in found["nnnn"].details
    assert len(found["many"].details) <= 20
    assert max(len(text) for pair in found["many"].details for text in pair) <= 200
    assert found["many"].details[-1] == ("and", "82 more attributes")


@pytest.mark.parametrize(
    "attributes", ["{", "[1]", '{"harness.model": {"a": [1]}, "harness.batch_size": true}', "null"]
)
def test_attributes_that_are_no_object_say_nothing(tmp_path: Path, attributes: str) -> None:
    odd = a_span("odd", 20, 30, parent_id=ROOT, stage="inference")
    odd = Span(**{name: getattr(odd, name) for name in Span.__slots__} | {"attributes": attributes})

    assert [bar.label for bar in bars(seen(tmp_path, a_sample(), [a_root(), odd]), "server", "inference")] == ["odd"]


def test_what_everybody_asks_first_stands_first(tmp_path: Path) -> None:
    told = {"image.width": 640, "harness.stage": "inference", "harness.cpu_ns": 8_000_000, "harness.model": "det"}
    call = a_span("run", 20, 30, parent_id=ROOT, stage="inference", attributes=told)

    assert bars(seen(tmp_path, a_sample(), [a_root(), call]), "server", "inference")[0].details == (
        ("model", "det"), ("CPU time of its thread", "8.00 ms"), ("service", "sample (pid 1)"), ("image.width", "640"),
    )  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["scheduled_ns", "start_ns", "resolved_ns", "tcp_ns", "connected_ns", "send_ns", "sent_ns", "first_byte_ns",
             "done_ns"]
        ),
        INSTANTS,
    )
)  # fmt: skip
def test_instants_in_any_order_are_drawn_all_the_same(instants: dict[str, int]) -> None:
    with tempfile.TemporaryDirectory() as path:
        found = seen(Path(path), a_sample(**instants), a_chain())

    assert all(bar.from_s <= bar.until_s for bar in found.bars)
    assert json.dumps(waterfall_svg.table(found).rows)
    assert "nan" not in waterfall_svg.render(found, "k")
