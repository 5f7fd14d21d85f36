"""Which spans belong to which request, and which request has no server half."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.join import CHANNELS, OTLP, SERVER_TIMING, SPLITS, Joined, join
from harness.model import CLAIMS, Sample, Span, Split
from tests.builders import a_root, a_sample, a_span, samples_table, spans_table, trace

HEADER = f'mlharness;desc="1 {trace(0)} b000000000000000 1790000000010000000 abc", total;dur=80.0, inference;dur=60.0'


def joined(samples: list[Sample], spans: list[Span], source: str = "auto") -> Joined:
    return join(samples_table(*samples), [spans_table(*spans)], source)


def channel(found: Joined, row: int = 0) -> str | None:
    return CHANNELS[found.halves.channel[row]] if found.halves.known[row] else None


def split(found: Joined) -> Split:
    return SPLITS[found.halves.split[0]]


def stages(found: Joined) -> list[str]:
    return [CLAIMS[stage] for stage in found.halves.intervals.stage]


def test_a_request_gets_the_server_span_that_names_it_as_parent() -> None:
    found = joined([a_sample()], [a_root(), a_span("det", 20, 80, stage="inference")])

    assert channel(found) == OTLP
    assert split(found) is Split.MARKS
    assert found.halves.total_s[0] == pytest.approx(0.080)
    assert stages(found) == ["inference"]


def test_a_root_below_a_proxy_is_found_though_its_parent_is_unknown() -> None:
    found = joined([a_sample()], [a_root(parent_id="ffffffffffffffff")])

    assert found.halves.known[0]


def test_spans_without_the_marks_attribute_are_plain_spans() -> None:
    assert split(joined([a_sample()], [a_root(attributes=None)])) is Split.SPANS


def test_a_request_of_another_run_is_counted_as_foreign() -> None:
    found = joined([a_sample(0)], [a_root(number=0), a_root(number=7, span_id="a700000000000000")])

    assert found.foreign == 1


def test_the_earliest_of_two_server_spans_side_by_side_is_the_root_and_both_are_reported() -> None:
    second = a_root(95, 99, span_id="a900000000000000")

    found = joined([a_sample()], [second, a_root()])

    assert found.several_roots == 1
    assert found.halves.total_s[0] == pytest.approx(0.080)


def test_a_server_span_inside_another_one_is_no_second_root() -> None:
    inner = a_root(20, 80, span_id="a900000000000000")

    assert joined([a_sample()], [a_root(), inner]).several_roots == 0


def test_a_trace_that_lost_a_child_span_falls_back_to_the_header() -> None:
    root = a_root(attributes={"harness.split": "marks", "harness.spans": 2})
    child = a_span("det", 20, 80, stage="inference")

    found = joined([a_sample(server_timing=HEADER)], [root, child])

    assert found.incomplete == 1
    assert channel(found) == SERVER_TIMING


def test_a_trace_that_lost_a_child_span_and_has_no_header_has_no_server_half() -> None:
    root = a_root(attributes={"harness.split": "marks", "harness.spans": 1})

    assert channel(joined([a_sample()], [root])) is None


def test_the_header_of_another_request_is_not_believed() -> None:
    assert channel(joined([a_sample(3, server_timing=HEADER)], [])) is None


@pytest.mark.parametrize(
    ("source", "expected"), [("auto", OTLP), ("otlp", OTLP), ("server-timing", SERVER_TIMING), ("none", None)]
)
def test_the_source_decides_what_is_read(source: str, expected: str | None) -> None:
    assert channel(joined([a_sample(server_timing=HEADER)], [a_root()], source)) == expected


def test_spans_of_later_requests_in_one_trace_are_noticed() -> None:
    later = a_span("POST /v1/read", 150, 200, kind="internal", parent_id="a000000000000000")

    assert joined([a_sample()], [a_root(), later]).trailing == 1
    assert joined([a_sample()], [a_root()]).trailing == 0


def test_a_framework_s_own_span_around_ours_is_not_the_root() -> None:
    around = a_root(9, 91, span_id="a900000000000000", attributes=None)

    found = joined([a_sample()], [around, a_root(10, 90)])

    assert split(found) is Split.MARKS
    assert found.halves.total_s[0] == pytest.approx(0.080)


def test_a_span_delivered_twice_counts_once() -> None:
    child = a_span("det", 20, 80, stage="inference")

    found = joined([a_sample()], [a_root(), child, child])

    assert stages(found) == ["inference"]
    assert found.duplicates == 1


def test_unstaged_spans_between_two_stages_are_transparent() -> None:
    outer = a_span("outer", 20, 80, stage="inference", span_id="1" * 16)
    middle = a_span("middle", 30, 70, parent_id="1" * 16, span_id="2" * 16)
    inner = a_span("inner", 40, 60, stage="queue", parent_id="2" * 16, span_id="3" * 16)

    found = joined([a_sample()], [a_root(), inner, middle, outer])

    assert stages(found) == ["inference", "queue"]
    assert list(found.halves.intervals.parent) == [-1, 0]


def test_spans_that_are_each_others_parents_end_the_search() -> None:
    one = a_span("one", 20, 80, stage="inference", span_id="1" * 16, parent_id="2" * 16)
    two = a_span("two", 30, 70, stage="queue", span_id="2" * 16, parent_id="1" * 16)

    found = joined([a_sample()], [a_root(), one, two])

    assert list(found.halves.intervals.parent) == [-1, -1]


def test_a_chain_of_ten_thousand_nested_spans_is_read() -> None:
    chain: list[Any] = [a_root()]
    for i in range(10_000):
        parent = "a000000000000000" if i == 0 else f"{i:016x}"
        chain.append(a_span("deep", 20, 80, stage="inference", span_id=f"{i + 1:016x}", parent_id=parent))

    found = joined([a_sample()], list(reversed(chain)))

    assert list(found.halves.intervals.parent) == list(range(-1, 9_999))


def test_thousands_of_stages_below_a_long_chain_of_other_spans_are_read_in_no_time() -> None:
    spans: list[Span] = [a_root()]
    for i in range(20_000):
        parent = "a000000000000000" if i == 0 else f"{i:016x}"
        spans.append(a_span("plain", 20, 80, span_id=f"{i + 1:016x}", parent_id=parent))
        spans.append(a_span("run", 20, 80, stage="inference", span_id=f"b{i:015x}", parent_id=f"{i + 1:016x}"))
    began = time.monotonic()

    found = joined([a_sample()], spans)

    assert len(found.halves.intervals) == 20_000
    assert time.monotonic() - began < 10  # climbing the chain for each of them would take a minute


def plain_traces(n: int, without: set[int], *, orphan: bool) -> Joined:
    """Requests with a plain root and an inference span each, except those `without`; maybe one span without parent."""
    samples = [a_sample(number) for number in range(n)]
    spans = [a_root(number=number, span_id=f"a{number:015x}", attributes=None) for number in range(n)]
    for number in set(range(n)) - without:
        ids = {"number": number, "span_id": f"b{number:015x}", "parent_id": f"a{number:015x}"}
        spans.append(a_span("run", 20, 60, stage="inference", **ids))
    if orphan:
        spans.append(a_span("lost its parent", 30, 40, span_id="c" * 16, parent_id="d" * 16))
    return joined(samples, spans)


def test_where_spans_are_lost_a_request_without_a_stage_that_all_others_have_is_not_whole() -> None:
    found = plain_traces(40, {7, 9}, orphan=True)

    assert found.dropping
    assert found.incomplete == 2
    assert [row for row in range(40) if not found.halves.known[row]] == [7, 9]


@pytest.mark.parametrize(("n", "without", "orphan"), [(40, {7, 9}, False), (40, set(range(9)), True), (12, {7}, True)])
def test_where_nothing_is_lost_or_the_stage_is_not_usual_a_request_may_go_without_it(
    n: int, without: set[int], orphan: bool
) -> None:
    assert plain_traces(n, without, orphan=orphan).incomplete == 0


def test_a_second_server_span_whose_caller_never_came_is_an_orphan() -> None:
    behind = a_root(20, 80, span_id="b" * 16, parent_id="d" * 16)

    assert joined([a_sample()], [a_root(), behind]).orphans == 1
