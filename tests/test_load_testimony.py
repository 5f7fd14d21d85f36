"""What a worker says is checked before it is put together with what the others say."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load import testimony
from harness.load.members import Member

READING = {"name": "cpu", "value": 0.5, "unit": "ratio", "suspect": 0.8, "invalid": None, "meaning": "of one core"}
COUNTS = {"scheduled": 9, "sent": 9, "ok": 8, "failed": 1, "censored": 0, "errors": {"timeout": 1}}
HOUR_NS = 3600 * 10**9
END = {
    **COUNTS, "kind": "end", "readings": [READING], "started_ns": 5 * HOUR_NS, "measured_from_ns": 5 * HOUR_NS + 1,
    "measured_until_ns": 5 * HOUR_NS + 3, "ended_ns": 5 * HOUR_NS + 4, "interrupted": False, "task_errors": {},
}  # fmt: skip


def end_of(**fields: object) -> dict[str, Any]:
    return testimony.end({**END, **fields}, 5 * HOUR_NS, 5 * HOUR_NS + 5)


def test_an_end_line_is_taken_with_its_known_fields_alone() -> None:
    assert end_of(more={"deep": []}) == {**END, "readings": [{**READING, "advice": "", "absent": ""}]}


@pytest.mark.parametrize(
    "field",
    [
        {"readings": None}, {"readings": [{**READING, "value": math.nan}]}, {"readings": [{**READING, "value": "0.5"}]},
        {"readings": [{**READING, "suspect": {}}]}, {"readings": [{"name": "cpu"}]}, {"sent": -1}, {"ok": 1.5},
        {"ok": True}, {"errors": [1]}, {"errors": {"a": {}}}, {"interrupted": "no"}, {"measured_until_ns": "x"},
        {"ended_ns": None}, {"measured_from_ns": 5 * HOUR_NS + 4}, {"ended_ns": 2**61}, {"started_ns": 1},
        {"readings": [{**READING, "value": 1e13}]}, {"kind": "progress"},
    ],
    ids=str,
)  # fmt: skip
def test_an_end_line_of_another_form_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(testimony.Unusable, match=r"^its last line "):
        end_of(**field)


ANYTHING = st.recursive(
    st.none() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(END)) | st.text(), inner),
)


@given(st.sampled_from(sorted(END)), ANYTHING)
def test_whatever_a_worker_says_at_its_end_is_refused_or_fits_json(name: str, value: object) -> None:
    try:
        json.dumps(end_of(**{name: value}), allow_nan=False)
    except testimony.Unusable as refused:
        said = str(refused)
        assert said.isprintable()


def test_progress_that_is_no_number_is_refused() -> None:
    line = {
        **COUNTS, "kind": "progress", "elapsed_s": 1.0, "total_s": 4, "phase": "measure", "step": 0,
        "in_flight": 0, "backlog": 0, "rate_per_s": 1.0, "p50_s": None, "p95_s": 0.5, "started_ns": HOUR_NS,
    }  # fmt: skip

    assert testimony.progress(line) == line
    for wrong in ({"elapsed_s": math.inf}, {"sent": "x"}, {"errors": {"a": {}}}, {"p95_s": "fast"}):
        with pytest.raises(testimony.Unusable, match="progress line"):
            testimony.progress({**line, **wrong})


def test_a_clock_that_is_no_number_is_refused() -> None:
    assert testimony.clock(1.7e9, 0) == (1.7e9, 0.0)
    assert testimony.clock(None, None) == (None, None)
    for wrong in (math.nan, math.inf, 1e10, "1", [], 2**80):
        with pytest.raises(testimony.Unusable, match="its clock cannot be compared"):
            testimony.clock(wrong, 0.0)


def test_a_clock_that_may_be_right_counts_as_right() -> None:
    member = Member("w", 0, "host", 1, 2, None, None)
    for offset_s, bound_s, off_s in ((0.5, 0.1, 0.5), (-0.5, 0.1, -0.5), (0.1, 0.1, 0.0), (None, None, 0.0)):
        member.offset_s, member.bound_s = offset_s, bound_s
        assert member.clock_s == off_s


def test_a_warning_of_a_worker_cannot_move_the_cursor() -> None:
    line = {"code": ["x"], "message": "\x1b[2Jone\ntwo", "hint": None, "invalidates": 0}

    assert testimony.warning(line, "worker 1")["message"] == "worker 1: [2Jone two"
