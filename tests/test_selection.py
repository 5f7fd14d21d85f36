from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from harness.analysis.selection import Columns, Selection, describe, mask, ordered
from harness.analysis.selection_attributes import Kinds, overrepresented


def kinds(texts: list[str]) -> Kinds:
    known = tuple(dict.fromkeys(texts))
    return Kinds(np.array([known.index(text) for text in texts], np.int8), known)


def columns(latency_s: list[float], **changes: Any) -> Columns:
    """A request a second; all of its latency is inference unless `stages` says otherwise."""
    n = len(latency_s)
    latency = np.array(latency_s, np.float64)
    stages = changes.pop("stages", {"inference": latency_s})
    made = Columns(
        request_id=np.arange(n), at_s=np.arange(n, dtype=np.float64), latency_s=latency, ok=np.ones(n, bool),
        with_half=np.ones(n, bool), stage_names=tuple(stages),
        stages=np.array([*stages.values()], np.float32).reshape(len(stages), n),
        known=np.ones((len(stages), n), bool), name=kinds(["read"] * n), phase=kinds(["measure"] * n),
        step=kinds(["1"] * n), outcome=kinds(["ok"] * n), others=(), by_latency=np.argsort(latency, kind="stable"),
    )  # fmt: skip
    return replace(made, **changes)


def selected(of: Columns, **asked: Any) -> list[int]:
    return np.flatnonzero(mask(of, Selection(**asked))).tolist()


def test_nothing_asked_for_selects_everything() -> None:
    assert selected(columns([0.1, 0.2])) == [0, 1]


def test_limits_belong_to_the_selection() -> None:
    five = columns([0.1, 0.2, 0.3, 0.4, 0.5])

    assert selected(five, from_s=1.0, until_s=3.0) == [1, 2, 3]
    assert selected(five, least_s=0.2, most_s=0.4) == [1, 2, 3]
    assert selected(five, from_s=2.0, most_s=0.4) == [2, 3]


def test_a_stage_is_asked_for_by_its_seconds_or_its_share() -> None:
    three = columns([1.0, 1.0, 2.0], stages={"queue": [0.1, 0.6, 0.8], "inference": [0.9, 0.4, 1.2]})

    assert selected(three, stage="queue", stage_least_s=0.5) == [1, 2]
    assert selected(three, stage="queue", stage_least_share=0.5) == [1]
    assert selected(three, stage="preprocess", stage_least_s=0.0) == []


def test_a_stage_that_is_not_known_is_never_selected() -> None:
    two = columns([1.0, 1.0], known=np.array([[True, False]]))

    assert selected(two, stage="inference") == [0]


def test_names_outcomes_phases_and_steps_are_asked_for_by_their_words() -> None:
    four = columns(
        [0.1] * 4, name=kinds(["a", "b", "c", "a"]), phase=kinds(["warmup", "measure", "measure", "measure"]),
        step=kinds(["1", "1", "2", "2"]), ok=np.array([True, True, False, True]),
        outcome=kinds(["ok", "ok", "timeout", "ok"]),
    )  # fmt: skip

    assert selected(four, names=("a", "b")) == [0, 1, 3]
    assert selected(four, outcome="failed") == [2]
    assert selected(four, outcome="ok", phase="measure") == [1, 3]
    assert selected(four, error="timeout") == [2]
    assert selected(four, step=1) == [2, 3]
    assert selected(four, names=("z",)) == []


def test_requests_are_ordered_by_latency_time_or_stage_the_unknown_last() -> None:
    three = columns([0.3, 0.1, 0.2], stages={"queue": [0.01, 0.0, 0.03]}, known=np.array([[True, False, True]]))
    every = np.ones(3, bool)

    assert ordered(three, every, "latency", True).tolist() == [0, 2, 1]
    assert ordered(three, every, "time", False).tolist() == [0, 1, 2]
    assert ordered(three, every, "queue", True).tolist() == [2, 0, 1]
    assert ordered(three, every, "queue", False).tolist() == [0, 2, 1]


def test_stage_means_of_the_selection_stand_beside_the_rest_and_add_up() -> None:
    four = columns([1.0, 3.0, 0.5, 0.5], stages={"queue": [0.2, 0.8, 0.1, 0.3], "inference": [0.8, 2.2, 0.4, 0.2]})
    asked = Selection(least_s=1.0)

    found = describe(four, asked, mask(four, asked))

    queue, inference = found.stages
    assert (found.n, found.of, found.split_n, found.split_rest_n) == (2, 4, 2, 2)
    assert queue.selected_s == pytest.approx(0.5)
    assert queue.rest_s == pytest.approx(0.2)
    assert queue.difference_s == pytest.approx(0.3)
    assert inference.selected_s == pytest.approx(1.5)
    assert found.mean_s == 2.0


def test_failed_requests_stay_out_of_stage_means_and_rank_as_slowest() -> None:
    latency = np.random.default_rng(1).permutation(np.arange(1, 101)) / 100
    hundred = columns(latency.tolist(), ok=latency > 0.01)

    found = describe(hundred, Selection(), np.ones(100, bool))

    assert (found.failed, found.split_n, found.all_failed) == (1, 99, False)
    assert found.latency.p50.value == pytest.approx(0.51)
    assert found.latency.max_s == pytest.approx(1.0)


def test_where_all_have_failed_it_is_told_how_long_that_took() -> None:
    many = columns([0.5] * 40, ok=np.zeros(40, bool))

    found = describe(many, Selection(), np.ones(40, bool))

    assert found.all_failed
    assert found.latency.p50.value == 0.5
    assert found.stages[0].selected_s is None


def test_percentiles_that_n_cannot_carry_are_refused() -> None:
    few = columns([0.1, 0.2, 0.3])

    found = describe(few, Selection(), np.ones(3, bool))

    assert found.latency.p99.value is None
    assert found.latency.p99.refusal == "needs 368 requests, has 3"


@pytest.mark.parametrize("n", [0, 1, 2])
def test_next_to_no_requests_are_no_trouble(n: int) -> None:
    few = columns([0.0] * n)
    for each in (Selection(), Selection(least_s=9.0), Selection(outcome="failed"), Selection(stage="inference")):
        found = describe(few, each, mask(few, each))

        assert found.attributes == ()
        assert found.no_attributes is not None


def test_latencies_that_are_infinite_or_missing_are_no_trouble() -> None:
    odd = columns([np.inf, np.nan, 0.1], ok=np.array([False, False, True]), stages={"inference": [0.0, 0.0, 0.1]})

    found = describe(odd, Selection(), mask(odd, Selection()))

    assert found.mean_s == pytest.approx(0.1)
    assert selected(odd, most_s=1.0) == [2]


def test_a_kind_of_request_that_fills_the_selection_is_named_with_its_counts() -> None:
    n = 1000
    large = np.arange(n) % 10 == 0
    names = Kinds(large.astype(np.int8), ("small", "large"))
    thousand = columns(np.where(large, 0.5, 0.1).tolist(), name=names)
    asked = Selection(least_s=0.4)

    (found,) = describe(thousand, asked, mask(thousand, asked)).attributes

    assert (found.attribute, found.value) == ("name", "large")
    assert (found.n, found.of, found.rest_n, found.rest_of) == (100, 100, 0, 900)
    assert found.difference == 1.0


def test_what_was_asked_for_is_not_told_as_a_finding() -> None:
    n = 200
    two = columns([0.1] * n, name=Kinds((np.arange(n) % 2).astype(np.int8), ("a", "b")))
    asked = Selection(names=("a",))

    found = describe(two, asked, mask(two, asked))

    assert found.attributes == ()


def test_what_is_spread_evenly_is_not_named() -> None:
    random = np.random.default_rng(3)
    every = np.ones(4000, bool)
    attributes = [(f"a{i}", Kinds(random.integers(0, 4, 4000).astype(np.int8), tuple("wxyz"))) for i in range(8)]

    found, why = overrepresented(attributes, random.random(4000) < 0.1, every)

    assert found == ()
    assert why == "nothing that is recorded of them tells them from the rest"


def test_chance_is_named_in_a_few_of_a_hundred_selections_at_most() -> None:
    """Requests that are alike, half of the selections a stretch of time."""
    random = np.random.default_rng(1)
    named, n, every = 0, 600, np.ones(600, bool)
    for number in range(100):
        attributes = [
            (f"a{k}", Kinds(random.integers(0, k, n).astype(np.int8), tuple("abcdefghijkl"))) for k in (2, 4, 12)
        ]
        begin = random.integers(0, n - 60)
        stretch = (np.arange(n) >= begin) & (np.arange(n) < begin + 60)
        found, _ = overrepresented(attributes, stretch if number % 2 else random.random(n) < 0.1, every)
        named += bool(found)

    assert named <= 5


def test_where_all_are_selected_there_is_no_rest_and_that_is_said() -> None:
    every = np.ones(40, bool)

    found, why = overrepresented([("name", kinds(["a", "b"] * 20))], every, every)

    assert (found, why) == ((), "every request is selected, so there is no rest to differ from")


def test_two_long_stretches_that_overlap_once_are_no_evidence() -> None:
    at = np.arange(4000)
    stretch = (at > 1000) & (at < 2000)
    worker = Kinds(((at > 900) & (at < 1900)).astype(np.int8), ("0", "1"))

    found, _ = overrepresented([("worker", worker)], stretch, np.ones(4000, bool))

    assert found == ()


def test_attributes_that_are_not_known_of_the_selection_are_left_out() -> None:
    unknown = Kinds(np.where(np.arange(100) < 50, -1, 0).astype(np.int8), ("new", "kept open"))

    found, _ = overrepresented([("connection", unknown)], np.arange(100) < 50, np.ones(100, bool))

    assert found == ()


def test_the_rest_is_of_the_phase_of_the_selection() -> None:
    three = columns([0.1, 0.2, 0.3], phase=kinds(["warmup", "measure", "measure"]))
    asked = Selection(phase="measure", least_s=0.25)

    found = describe(three, asked, mask(three, asked))

    assert (found.n, found.of, found.split_rest_n) == (1, 2, 1)


def test_the_columns_have_a_value_for_each_request() -> None:
    made = columns([0.1, 0.2])
    sizes = {f.name: len(v) for f in fields(made) if isinstance(v := getattr(made, f.name), np.ndarray) and v.ndim == 1}

    assert set(sizes.values()) == {len(made)}
