"""The split of the tail, the holders of resources, works or waits, growth: rows with figures worked by hand."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_builders import a_summary
from report_diagnosed import (
    a_diagnosed_summary,
    an_unclear_tail,
    some_blame,
    some_growth,
    some_tail,
)
from report_texts import texts

from harness.diagnosis import BlameFindings, TailFindings, TailShare
from harness.report import why, work_text

# --- the tail --------------------------------------------------------------------------------------------------


def test_each_bar_of_the_tail_begins_where_the_one_above_ends() -> None:
    table = why.tail_table(a_diagnosed_summary())
    assert table is not None

    # 0.71 + 0.22 + 0.05 + 0.04 reach 1.02, the whole axis; the last takes 0.02 back.
    expected = [(0.0, 0.71), (0.71, 0.22), (0.93, 0.05), (0.98, 0.04), (1.0, 0.02)]
    assert [(line.start * 1.02, line.width * 1.02) for line in table.lines] == [
        (pytest.approx(start), pytest.approx(width)) for start, width in expected
    ]
    assert [line.less for line in table.lines] == [False] * 4 + [True]
    assert [line.ms for line in table.lines] == ["313.8", "97.2", "22.1", "17.7", "-8.8"]  # sums to the 442 ms
    assert table.total == "442.0"


def test_a_clear_stage_is_named_and_an_unclear_one_is_not() -> None:
    for text in texts(a_diagnosed_summary()).values():
        assert "Queue explains 71.0% of the difference (58.0% … 83.0%)." in text
    for text in texts(a_diagnosed_summary(tail=an_unclear_tail())).values():
        assert "No single stage explains it: queue comes first with 55.0% (31.0% … 80.0%)" in text
        assert "explains 55" not in text


def test_a_stage_that_grew_by_more_than_the_latency_explains_all_of_it() -> None:
    shares = (TailShare("queue", 1.2, 1.1, 1.3), TailShare("other", -0.2, -0.3, -0.1))
    table = why.tail_table(a_diagnosed_summary(tail=dataclasses.replace(some_tail(), shares=shares)))
    assert table is not None

    assert table.answer == "Queue explains all of the difference (110.0% … 130.0%)."


@given(st.lists(st.floats(-2.0, 3.0), max_size=9))
def test_no_bar_of_the_tail_leaves_its_axis(shares: list[float]) -> None:
    found = tuple(TailShare("other", share, share - 0.1, share + 0.1) for share in sorted(shares, reverse=True))
    table = why.tail_table(a_summary(tail=TailFindings("p99 - p50", 0.4, 0.6, 0.2, 900, 9, found)))

    assert (table is None) == (shares == [])
    for line in table.lines if table else ():
        assert -1e-9 <= line.start <= line.start + line.width <= 1 + 1e-9


# --- who held what ---------------------------------------------------------------------------------------------


def test_holders_stand_below_what_they_held_and_their_waits_sum_up() -> None:
    lock, batcher = why.blame_groups(a_diagnosed_summary())

    assert (lock.resource, lock.waited) == ("model_lock", "80.0 ms a request; 1,410 requests waited")
    assert [line.ms for line in lock.lines] == ["62.00", "16.00", "2.00"]
    assert lock.lines[1].holder == "inference (text-recognition) of receipt-2-lines, its own kind"
    assert batcher.lines[0].holder == "nobody known: a batch being filled, a late event loop"


def test_many_holders_are_summed_up() -> None:
    holders = tuple(dataclasses.replace(some_blame()[0], name=f"kind-{i}", wait_s=0.01, share=0.1) for i in range(10))
    (group,) = why.blame_groups(a_summary(blame=holders))

    assert len(group.lines) == why.MOST_HOLDERS + 1
    assert (group.lines[-1].holder, group.lines[-1].share, group.lines[-1].ms) == ("4 more", "40.0%", "40.00")


def test_holders_that_the_analysis_summed_up_are_called_others() -> None:
    def told(stage: str) -> str:
        return why.holder_text(BlameFindings("lock", stage, None, "others", False, 0.1, 0.2, 9))

    assert (told("other"), told("inference")) == ("all others together", "others, in inference")


# --- works or waits, and what grows ----------------------------------------------------------------------------


def test_wall_clock_and_cpu_of_a_stage_leave_what_it_waited() -> None:
    lines = {line.stage: line for line in work_text.work_lines(a_diagnosed_summary())}

    assert list(lines) == ["preprocess", "inference", "postprocess"]  # in the order of the request
    found = lines["postprocess"]
    assert (found.wall, found.cpu, found.waits, found.busy) == ("9.4", "2.1", "7.3", "22.3%")


def test_growth_is_told_between_the_lowest_and_the_highest_load() -> None:
    lines = {line.stage: line for line in work_text.growth_lines(a_diagnosed_summary())}

    assert work_text.growth_levels(a_diagnosed_summary()) == ("10/s", "40/s")
    assert (lines["queue"].change, lines["queue"].grows) == ("+84.00", "waits longer")
    assert (lines["inference"].share, lines["inference"].grows) == ("18.0%", "works longer")
    assert (lines["other"].change, lines["other"].grows) == ("-1.00", "–")
    assert lines["upload"].interval == "no request counts here"


def test_growth_without_its_steps_is_told_by_their_numbers() -> None:
    assert work_text.growth_levels(a_summary(growth=some_growth())) == ("step 1", "step 3")
    assert work_text.growth_levels(a_summary()) == ("", "")


def test_a_wait_too_short_to_matter_is_named_and_not_shown() -> None:
    short = BlameFindings("event_loop", None, None, None, False, 0.0015, 1.0, 9)  # 1% of the mean 182.4 ms is 1.8 ms
    summary = a_diagnosed_summary(blame=(*some_blame(), short))

    assert [group.resource for group in why.blame_groups(summary)] == ["model_lock", "batcher"]
    for name, text in texts(summary).items():
        assert re.search(r"eft out, each less than 1% of the mean latency: event(_|&#95;)loop", text), name
    assert why.blame_note(a_diagnosed_summary()) == why.blame_note(a_summary(blame=(short,))) == ""


def test_where_all_requests_are_of_one_kind_holders_do_not_name_it() -> None:
    alike = tuple(dataclasses.replace(b, name="receipt", own=True) for b in some_blame()[:3])
    (group,) = why.blame_groups(a_summary(blame=alike))

    assert group.lines[0].holder == "inference (text-recognition)"


def test_how_many_hold_a_resource_at_a_time_is_said_where_it_is_known() -> None:
    one, three = (
        why.blame_groups(a_summary(blame=tuple(dataclasses.replace(b, at_once=n) for b in some_blame()[:3])))[0]
        for n in (1, 3)
    )
    assert one.waited == "80.0 ms a request; 1,410 requests waited; held by one at a time"
    assert three.waited.endswith("held by up to 3 at a time")


def test_stages_that_surely_have_none_of_the_gap_are_one_row() -> None:
    tiny = tuple(TailShare(stage, share, -0.001, 0.004) for stage, share in (("backlog", 0.003), ("other", 0.001)))
    wide = TailShare("inference", 0.002, -0.1, 0.3)  # nobody can say that this is small
    tail = dataclasses.replace(some_tail(), shares=(TailShare("queue", 0.994, 0.9, 1.0), *tiny, wide))
    table = why.tail_table(a_summary(tail=tail))

    assert table is not None
    assert [(line.label, line.share) for line in table.lines] == [
        ("queue", "99.4%"), ("inference", "0.2%"), ("2 more stages", "0.4%"),
    ]  # fmt: skip
    assert sum(line.width for line in table.lines) == pytest.approx(1.0)


def test_without_slow_requests_to_explain_the_heading_is_of_the_holders() -> None:
    for name, text in texts(a_diagnosed_summary(tail=None, contrasts=())).items():
        assert why.SLOW not in text, name
        assert text.count(why.HELD) == 1


def test_n_is_a_column_only_where_it_differs() -> None:
    same = a_diagnosed_summary(work=a_diagnosed_summary().work[:2])

    assert work_text.work_columns(a_diagnosed_summary())[-1] == "n"
    assert work_text.work_columns(same)[-1] == "busy"
    for name, text in texts(same).items():
        assert "of its own counts as waiting; n = 1,794" in re.sub(r"\s+", " ", text), name
