"""Spans and headers as columns: each says what the row-by-row reading says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model import CLAIMS
from harness.spans import server_timing, tree
from harness.spans.columns import columns_of, numbers_of
from harness.spans.header_columns import read_headers
from tests.builders import a_root, a_span, spans_table, trace

HOST = "abcabcabcabc"
HEAD = 'mlharness;desc="1 {} b7ad6b7169203331 1790000000010000000 {}"'


def text(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


def test_ids_are_read_as_numbers_and_none_as_zero() -> None:
    assert numbers_of(text("00000000000000ff", None, "ABCDEF0123456789")).tolist() == [255, 0, 0xABCDEF0123456789]


def test_a_slice_of_a_column_is_read_from_where_it_begins() -> None:
    column = text(*(f"{i:016x}" for i in range(10))).slice(3, 4)

    assert numbers_of(column).tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize("damaged", ["12", "g" * 16, "\N{SNOWMAN}" * 16, "0" * 17])
def test_an_id_that_is_none_gets_a_number_of_its_own(damaged: str) -> None:
    first, second, third = numbers_of(text(damaged, "00000000000000ff", damaged)).tolist()

    assert first == third != 0
    assert second == 255


def test_what_a_root_and_a_stage_say_is_read_and_the_rest_is_not() -> None:
    root = a_root(attributes={
        "harness.split": "marks", "harness.spans": 2, "harness.host": HOST, "harness.first_send_ns": 77,
    })  # fmt: skip
    model = {"harness.model": "det", "harness.batch_id": "b1", "harness.batch_size": 8, "harness.cpu_ns": 5}
    wait = a_span("wait", 1, 2, stage="queue", attributes={"harness.resource": "gpu"})
    spans = spans_table(root, a_span("det", 3, 4, stage="inference", attributes=model), wait)

    found = columns_of([spans], pa.array([trace(0)]))

    assert (found.marked.tolist(), found.announced.tolist()) == ([True, False, False], [2, -1, -1])
    assert (found.hosts, found.answered_ns[0]) == ((HOST,), 77)
    assert (found.models, found.model_of.tolist()) == (("det",), [-1, 0, -1])
    assert (found.batches, found.batch_size.tolist()) == (("b1",), [-1, 8, -1])
    assert (found.resources, found.resource_of.tolist()) == (("gpu",), [-1, -1, 0])
    assert found.cpu_ns.tolist() == [-1, 5, -1]


def test_cpu_time_is_read_of_every_stage_and_of_nothing_that_only_looks_like_it() -> None:
    said = ('{"harness.cpu_ns":12,"x":1}', '{"harness.cpu_ns": 7}', '{"harness.cpu_ns":"9"}', '{"x":"harness.cpu_ns"}')
    spans = [replace(a_span("s", 1, 2, stage="preprocess"), attributes=text) for text in said]

    found = columns_of([spans_table(*spans, a_span("no stage", 1, 2))], pa.array([trace(0)]))

    assert found.cpu_ns.tolist() == [12, 7, -1, -1, -1]


def test_a_process_is_known_by_its_service_and_its_number() -> None:
    roots = [a_root(service=service, pid=pid) for service, pid in (("api", 7), ("api", 8), ("api", 7), (None, None))]

    found = columns_of([spans_table(*roots)], pa.array([trace(0)]))

    assert (found.processes, found.process_of.tolist()) == (("api (pid 7)", "api (pid 8)"), [0, 1, 0, -1])


@pytest.mark.parametrize("attributes", ["", "[]", "{", "null", '{"harness.spans": -1, "harness.first_send_ns": 1e30}'])
def test_attributes_that_were_damaged_say_nothing(attributes: str) -> None:
    damaged = pa.array([attributes], pa.string())
    spans = spans_table(a_root())
    spans = spans.set_column(spans.schema.get_field_index("attributes"), "attributes", damaged)

    found = columns_of([spans], pa.array([trace(0)]))

    assert (found.announced[0], found.answered_ns[0], found.host_of[0]) == (-1, -1, -1)


def test_parts_are_put_together_and_foreign_traces_counted_once() -> None:
    parts = [spans_table(a_root(number=n, span_id=f"a{n:015x}")) for n in (0, 5, 1, 5)]

    found = columns_of(parts, pa.array([trace(0), trace(1)]))

    assert (found.request.tolist(), found.foreign, found.read) == ([0, 1], 1, 4)


# --- headers -----------------------------------------------------------------------------------------------

durations = st.lists(
    st.tuples(st.sampled_from([*CLAIMS, "total", "cache", "app"]), st.decimals(0, 9_999_999, places=6)), max_size=7
)
heads = st.sampled_from([
    HEAD.format(trace(0), HOST), HEAD.format(trace(0), "-"), HEAD.format(trace(0), f"{HOST} streamed"),
    HEAD.format(trace(3), HOST), HEAD.format("x", HOST), 'cdn;desc="a, b"', "",
])  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(heads, durations), min_size=1, max_size=4))
def test_headers_in_columns_say_what_the_parser_says(headers: list[tuple[str, list[tuple[str, object]]]]) -> None:
    lines = [", ".join([head, *(f"{name};dur={ms:f}" for name, ms in spent)]) for head, spent in headers]

    found = read_headers(text(*lines), text(*[trace(0)] * len(lines)))

    for row, line in enumerate(lines):
        half = server_timing.parse(line)
        assert found.usable[row] == (half is not None and half.trace_id in (None, trace(0)))
        if half is not None and found.usable[row]:
            start_ns = -1 if half.window_start_ns is None else half.window_start_ns
            assert (found.start_ns[row], found.hosts[row], found.streamed[row]) == (start_ns, half.host, half.streamed)
            assert found.total_s[row] == pytest.approx(half.total_s, rel=1e-12)
            assert dict(half.stages) == pytest.approx(
                {s: found.seconds[row, i] for i, s in enumerate(CLAIMS) if s in dict(half.stages)}, rel=1e-12
            )


def test_our_own_header_takes_the_short_way() -> None:
    ours = HEAD.format(trace(0), HOST) + ", total;dur=52.500000, queue;dur=4.000000, inference;dur=32.000000"

    found = read_headers(text(ours, None), text(trace(0), trace(1)))

    assert found.usable.tolist() == [True, False]
    assert found.seconds[0].tolist() == [0, 0.004, 0, 0.032, 0, 0]


# --- trees -------------------------------------------------------------------------------------------------


def climbed(parent: list[int], row: int) -> list[int]:
    """The rows above, nearest first, up to the first that was seen before."""
    seen: list[int] = []
    while parent[row] >= 0 and parent[row] not in seen:
        row = parent[row]
        seen.append(row)
    return seen


forests = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-1, n - 1), min_size=n, max_size=n), st.lists(st.booleans(), min_size=n, max_size=n)
    )
)


@settings(max_examples=300)
@given(forests)
def test_following_all_pointers_at_once_finds_what_climbing_finds(forest: tuple[list[int], list[bool]]) -> None:
    parent, wanted = forest
    in_circle = [parent[climbed(parent, row)[-1]] >= 0 if parent[row] >= 0 else False for row in range(len(parent))]

    tops = tree.ends_of(np.array(parent))
    near = tree.nearest(np.array(parent), np.array(wanted))

    for row, circle in enumerate(in_circle):
        above = climbed(parent, row)
        assert tops[row] == (-1 if circle else (above[-1] if above else row))
        if not circle:
            assert near[row] == next((r for r in above if wanted[r]), -1)
    assert (tree.ends_of(near) >= 0).all()  # circles are cut


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 8)), min_size=1, max_size=6), min_size=1, max_size=4)
)
def test_a_parent_is_looked_up_in_its_own_request(requests: list[list[tuple[int, int]]]) -> None:
    rows = [(number, *span) for number, spans in enumerate(requests) for span in sorted(dict(spans).items())]
    request, ids, above = (np.array(column) for column in zip(*rows, strict=True))

    found = tree.parents_of(request.astype(np.int32), ids.astype(np.uint64), above.astype(np.uint64))

    for row, (number, own, wanted) in enumerate(rows):
        expected = next((i for i, (n, o, _) in enumerate(rows) if n == number and o == wanted and i != row), -1)
        assert found[row] == expected, own
