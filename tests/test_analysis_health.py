"""The generator judged by its readings: the worst decides, and many load processes are no better than their worst."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.health import judge
from harness.findings import HealthState, Reading


def a_reading(value: float | None, name: str = "lateness p99", **fields: Any) -> Reading:
    return Reading(name, value, "ms", suspect=5.0, invalid=50.0, meaning="arrivals were sent late", **fields)


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (None, HealthState.HEALTHY),
        (5.0, HealthState.HEALTHY),
        (5.1, HealthState.SUSPECT),
        (50.1, HealthState.INVALID),
        (-60.0, HealthState.INVALID),
    ],
)
def test_a_reading_is_judged_by_its_limits(value: float | None, state: HealthState) -> None:
    assert judge([a_reading(value)]).state is state


def test_the_worst_reading_decides_and_each_one_gives_a_reason() -> None:
    health = judge([a_reading(60.0, "a"), a_reading(6.0, "b"), a_reading(1.0, "c")])

    assert health.state is HealthState.INVALID
    assert len(health.reasons) == 2


def test_a_reason_says_what_is_beyond_which_limit_and_what_to_do() -> None:
    health = judge([a_reading(6.0, advice="use --processes 2", worker="1")])

    assert health.reasons == ("lateness p99 is 6 ms, beyond 5 ms (arrivals were sent late): use --processes 2",)
    assert health.readings[0].worker == ""  # there is no other to tell it from


def test_of_many_workers_the_worst_is_kept_and_named() -> None:
    workers = [a_reading(value, worker=str(number)) for number, value in enumerate((1.0, 60.0, 6.0))]

    health = judge(workers)

    assert health.state is HealthState.INVALID
    assert health.readings == (workers[1],)
    assert health.reasons == (
        "lateness p99 of worker 1 is 60 ms, beyond 50 ms (arrivals were sent late); so is that of 1 more",
    )


def test_what_can_be_added_is_added_and_stamps_count_by_answers() -> None:
    def of(worker: str, sessions: float, answers: float, stamped: float) -> list[Reading]:
        counts = (("sessions", sessions, "count"), ("answers", answers, "count"), ("kernel_stamped", stamped, "ratio"))
        return [Reading(name, value, unit, None, None, "", worker=worker) for name, value, unit in counts]

    merged = {r.name: r for r in judge([*of("1", 8, 900, 1.0), *of("2", 12, 100, 0.5)]).readings}

    assert (merged["sessions"].value, merged["answers"].value) == (20, 1000)
    assert merged["kernel_stamped"].value == pytest.approx(0.95)  # 900 + 50 of 1000, not the 0.75 between them
    assert {r.worker for r in merged.values()} == {""}


def test_a_share_whose_weights_are_not_known_is_the_lowest_one() -> None:
    readings = [Reading("kernel_stamped", v, "ratio", None, None, "", worker=w) for w, v in (("1", 1.0), ("2", 0.5))]

    assert judge(readings).readings == (readings[1],)


def test_a_reading_that_one_worker_does_not_have_is_that_of_the_others() -> None:
    absent, known = a_reading(None, worker="1", absent="does not apply"), a_reading(6.0, worker="2")

    assert judge([absent, known]).readings == (known,)
    assert judge([absent, dataclasses.replace(absent, worker="2")]).state is HealthState.HEALTHY


RANK = list(HealthState)  # healthy, suspect, invalid
LIMITS = st.tuples(st.floats(0, 100), st.floats(0, 100)).filter(lambda pair: pair[0] != pair[1])


@given(st.lists(st.tuples(st.floats(0, 200), LIMITS), min_size=1, max_size=8), st.data())
def test_a_worse_reading_never_gives_a_better_state(drawn: list[tuple[float, Any]], data: st.DataObject) -> None:
    names, workers = st.sampled_from("ab"), st.sampled_from(["", "1", "2"])
    limits = {name: pair for name, (_, pair) in zip("ab", drawn * 2, strict=False)}
    readings = [
        Reading(name, value, "s", limits[name][0], limits[name][1], "", worker=data.draw(workers))
        for value, _ in drawn
        for name in [data.draw(names)]
    ]
    at = data.draw(st.integers(0, len(readings) - 1))
    step = data.draw(st.floats(0, 100))
    value = readings[at].value or 0.0
    worse = max(0.0, value - step) if readings[at].small_is_bad else value + step
    worsened = [*readings[:at], dataclasses.replace(readings[at], value=worse), *readings[at + 1 :]]

    assert RANK.index(judge(worsened).state) >= RANK.index(judge(readings).state)
    assert len(judge(worsened).readings) == len({r.name for r in readings})


@given(st.lists(st.floats(0, 200), min_size=1, max_size=5))
def test_one_more_worker_never_heals_the_others(values: list[float]) -> None:
    workers = [a_reading(value, worker=str(number)) for number, value in enumerate(values)]

    states = [RANK.index(judge(workers[: n + 1]).state) for n in range(len(workers))]

    assert states == sorted(states)


def test_a_generator_that_says_nothing_is_suspect() -> None:
    assert judge([]).state is HealthState.SUSPECT
