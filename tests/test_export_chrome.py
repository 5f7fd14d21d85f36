"""Trace events: they nest on each thread, whatever overlaps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.export import chrome
from harness.export.lanes import lanes
from tests.builders import a_root, a_sample, a_span, at
from tests.export_support import BATCH, HOSTILE, broken_nesting, events_of, store, two_in_a_batch

intervals = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(0, 3)), max_size=25)


def crossing(*events: tuple[int, int]) -> list[str]:
    return broken_nesting([{"pid": 1, "tid": 1, "ts": ts, "dur": dur, "name": "x"} for ts, dur in events])


def test_the_validator_itself_sees_a_crossing_and_nothing_else() -> None:
    assert len(crossing((0, 10), (5, 10))) == 1
    assert crossing((0, 10), (2, 3), (5, 5), (10, 5)) == []


@given(intervals)
def test_intervals_on_a_lane_nest_whatever_they_are(found: list[tuple[int, int, int]]) -> None:
    starts, ends, owners = [s for s, _, _ in found], [s + d for s, d, _ in found], [o for _, _, o in found]

    placed = lanes(starts, ends, owners)

    events = [
        {"pid": 1, "tid": lane, "ts": s, "dur": e - s, "name": str(o)}
        for s, e, o, lane in zip(starts, ends, owners, placed, strict=True)
    ]
    assert broken_nesting(events) == []


@given(intervals)
def test_intervals_of_two_owners_never_lie_in_each_other(found: list[tuple[int, int, int]]) -> None:
    starts, ends, owners = [s for s, _, _ in found], [s + d for s, d, _ in found], [o for _, _, o in found]

    placed = list(zip(lanes(starts, ends, owners), starts, ends, owners, strict=True))

    for lane, start, end, owner in placed:
        for other_lane, other_start, other_end, other in placed:
            if lane == other_lane and owner != other:
                assert min(end, other_end) <= max(start, other_start)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ([(0, 10, 1), (2, 5, 1), (6, 9, 1)], [0, 0, 0]),  # a tree
        ([(0, 10, 1), (5, 15, 2), (10, 20, 3)], [0, 1, 0]),  # the third one begins when the first one ends
        ([(0, 10, 1), (2, 6, 1), (4, 8, 1)], [0, 0, 1]),  # parallel work in one owner
        ([(0, 10, 1), (2, 6, 2)], [0, 1]),  # inside, but of somebody else
    ],
)
def test_lanes_are_as_few_as_they_can_be(found: list[tuple[int, int, int]], wanted: list[int]) -> None:
    assert lanes([s for s, _, _ in found], [e for _, e, _ in found], [o for _, _, o in found]) == wanted


def test_overlapping_requests_and_their_spans_nest_on_every_thread(tmp_path: Path) -> None:
    samples, spans = [], []
    for number in range(40):
        begin = number * 7.0
        samples.append(a_sample(number, **{f"{n}_ns": at(begin + ms) for n, ms in TIMES.items()}))
        spans += [a_root(begin + 10, begin + 90, number, span_id=f"{number:x}".zfill(16).replace("0", "d", 1))]
        spans += [
            a_span(name, begin + start, begin + end, number=number)
            for name, start, end in (("one", 15, 50), ("beside", 20, 60), ("inner", 25, 30))
        ]
    folder = store(tmp_path / "run", samples, spans)

    complete = events_of(chrome.render(folder, range(40)), "X")

    assert len(complete) == 40 * (1 + 5 + 4)
    assert broken_nesting(complete) == []


TIMES = {
    "scheduled": 0, "start": 1, "resolved": 1, "tcp": 2, "connected": 2, "send": 3, "sent": 4, "first_byte": 98,
    "done": 100, "done_user": 100,
}  # fmt: skip


def test_instants_are_microseconds_after_the_first_with_their_nanoseconds(tmp_path: Path) -> None:
    folder = store(tmp_path / "run", [a_sample(0, start_ns=at(0) + 1_234_567)])

    text = chrome.render(folder, [0])

    backlog = next(event for event in events_of(text, "X") if event["name"] == "backlog")
    assert (backlog["ts"], backlog["dur"]) == (0.0, 1234.567)
    assert '"dur":1234.567' in text
    assert json.loads(text)["otherData"]["zero_unix_ns"] == str(at(0))


def test_the_steps_of_a_request_lie_inside_of_it_even_if_its_first_byte_was_seen_late(tmp_path: Path) -> None:
    sample = a_sample(0, first_byte_ns=at(101))

    steps = [
        (event["name"], event["ts"], event["dur"])
        for event in events_of(chrome.render(store(tmp_path / "run", [sample]), [0]), "X")
        if event["cat"] == "client"
    ]

    assert steps == [
        ("backlog", 0, 1_000), ("connect", 1_000, 2_000), ("send", 3_000, 1_000), ("wait", 4_000, 96_000),
    ]  # fmt: skip


def test_each_process_has_a_name_and_its_lanes_have_numbers(tmp_path: Path) -> None:
    named = events_of(chrome.render(two_in_a_batch(tmp_path / "run"), [0, 1]), "M")

    assert [event["args"]["name"] for event in named if event["name"] == "process_name"] == [
        "harness", "sample (process 7)", "sample (process 8)", "sample (process 9)",
    ]  # fmt: skip
    requests = [event["args"]["name"] for event in named if event["name"] == "thread_name" and event["pid"] == 1]
    assert requests == ["requests 1", "requests 2"]


def test_arrows_go_from_requests_to_the_service_and_from_members_to_their_batch(tmp_path: Path) -> None:
    text = chrome.render(two_in_a_batch(tmp_path / "run"), [0, 1])
    batch = next(event for event in events_of(text, "X") if event["args"].get("span_id") == BATCH)

    starts, ends = events_of(text, "s"), events_of(text, "f")

    assert [event["id"] for event in starts] == [event["id"] for event in ends] == [1, 2, 3, 4]
    assert [event["name"] for event in starts] == ["request", "request", "batch", "batch"]
    assert [(event["pid"], event["ts"]) for event in ends[2:]] == [(batch["pid"], batch["ts"])] * 2


def test_requests_in_flight_are_counted_at_each_change(tmp_path: Path) -> None:
    counted = events_of(chrome.render(two_in_a_batch(tmp_path / "run"), [0, 1]), "C")

    assert [(event["ts"], event["args"]["requests"]) for event in counted] == [(0, 1), (20_000, 2), (100_000, 0)]


def test_of_no_request_there_is_an_empty_trace(tmp_path: Path) -> None:
    text = chrome.render(two_in_a_batch(tmp_path / "run"), [])

    assert events_of(text, "X") == []
    assert broken_nesting(events_of(text, "X")) == []


def test_a_request_that_was_never_written_got_as_far_as_connecting(tmp_path: Path) -> None:
    never = dict.fromkeys(("resolved_ns", "tcp_ns", "connected_ns", "send_ns", "sent_ns", "first_byte_ns"))
    folder = store(tmp_path / "run", [a_sample(0, **never, start_ns=at(40), done_ns=at(100), error="refused")])

    names = [event["name"] for event in events_of(chrome.render(folder, [0]), "X")]

    assert names == ["read", "backlog", "connect"]


def test_hostile_names_are_text(tmp_path: Path) -> None:
    spans = [a_root(10, 90, stage=HOSTILE, service=HOSTILE), a_span(HOSTILE, 20, 30, attributes={HOSTILE: HOSTILE})]
    folder = store(tmp_path / "run", [a_sample(0, name=HOSTILE, error=HOSTILE)], spans)

    found = events_of(chrome.render(folder, [0]), "X")

    assert [event["name"] for event in found].count(HOSTILE) == 2
    assert {event["cat"] for event in found} >= {HOSTILE}
