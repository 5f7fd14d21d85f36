"""Waits of one request beyond the first ones: their sums are kept, and cost no span each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from instrument_support import RUN, asgi_call, attributes, memory_provider, stages_of

from harness.instrument import instrument, marks, pipeline, server_timing, stage
from harness.instrument.marks import KEPT_ONE_BY_ONE, Mark, Record, add_mark
from harness.instrument.partition import partition

KINDS = (("queue", "threadpool"), ("download", "download"), ("queue", "event_loop"))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["wait", "wait", "wait", "stage"]), st.integers(0, 2), st.integers(1, 50), st.integers(0, 9)
    )
)


def a_record(steps: list[tuple[str, int, int, int]], at_once: int) -> tuple[Record, int]:
    """Waits and stages of a request one after another: (what, which kind, ns, ns of nothing before it)."""
    record = Record(0, 0, 1, 2, None)
    record.waits = KEPT_ONE_BY_ONE - at_once
    root, now = Mark(record, None, None, "request", None, 0), 0
    for what, kind, length, pause in steps:
        begin, now = now + pause, now + pause + length
        if what == "stage":
            add_mark(root, "inference", "inference", begin, now)
        else:
            wait = Mark(record, root, *KINDS[kind], {"resource": KINDS[kind][1]}, begin)
            wait.end = now
            record.add_wait(wait)
    return record, now


@given(STEPS)
def test_adding_waits_up_changes_no_share_of_any_stage(steps: list[tuple[str, int, int, int]]) -> None:
    single, end = a_record(steps, at_once=len(steps))
    summed, _ = a_record(steps, at_once=0)

    assert partition(0, end, summed.marks) == partition(0, end, single.marks)
    assert max((mark.end or 0 for mark in summed.marks), default=0) <= end
    for name in ("threadpool", "event_loop", "download"):
        lengths = [[(m.end or 0) - m.start for m in r.marks if m.name == name] for r in (single, summed)]
        assert sum(lengths[0]) == sum(lengths[1])
        assert sum((m.attributes or {}).get("harness.added_up", 1) for m in summed.marks if m.name == name) == len(
            lengths[0]
        )


def test_waits_that_overlap_or_follow_a_stage_begin_anew() -> None:
    record, _ = a_record([("wait", 0, 10, 0), ("wait", 0, 10, 5), ("stage", 0, 10, 0), ("wait", 0, 10, 0)], at_once=0)

    assert [(m.name, m.start, m.end) for m in record.marks] == [
        ("threadpool", 0, 20), ("inference", 25, 35), ("threadpool", 35, 45),
    ]  # fmt: skip
    overlapping = Mark(record, record.marks[-1].parent, *KINDS[0], None, 40)
    overlapping.end = 50
    record.add_wait(overlapping)
    assert record.marks[-1] is overlapping


def test_a_large_answer_makes_few_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    monkeypatch.setattr(marks, "SHORTEST_WAIT_NS", 0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1_000):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    asyncio.run(asgi_call(instrument(app)))
    *children, root = exporter.get_finished_spans()

    assert len(children) == KEPT_ONE_BY_ONE + 1
    # The receive is none of them: nothing was received. The start and 1,001 parts were sent.
    assert attributes(children[-1])["harness.added_up"] == 1_002 - KEPT_ONE_BY_ONE
    assert attributes(root)["harness.spans"] == len(children)


def test_more_marks_than_can_be_split_at_once_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_timing, "MOST_MARKS", 3)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(int(scope["path"][1:])):
            with stage("inference"):
                pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    (few,), (many,) = (asyncio.run(asgi_call(instrument(app), path, headers=[RUN])).timings() for path in ("/3", "/4"))

    assert ("inference" in stages_of(few), "streamed" in few) == (True, False)
    assert (set(stages_of(many)), "streamed" in many) == ({"total"}, True)
