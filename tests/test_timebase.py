from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from harness.timebase import REANCHOR_EVERY_NS, ClockStep, Timebase

SECOND = 1_000_000_000


class Clock:
    """A clock that stands still until it is moved; each reading costs `cost_ns`."""

    def __init__(self, at: int, cost_ns: int = 0) -> None:
        self.at = at
        self.cost_ns = cost_ns

    def __call__(self) -> int:
        self.at += self.cost_ns
        return self.at


def test_now_is_the_wall_clock_at_the_start() -> None:
    base = Timebase(wall=Clock(1_700_000_000 * SECOND), mono=Clock(5 * SECOND))

    assert base.now_ns() == 1_700_000_000 * SECOND


def test_a_step_of_the_wall_clock_does_not_move_durations() -> None:
    wall, mono = Clock(1000 * SECOND), Clock(5 * SECOND)
    base = Timebase(wall, mono)

    before = base.now_ns()
    wall.at -= 3600 * SECOND
    mono.at += 250

    assert base.now_ns() - before == 250


def test_a_reading_taken_earlier_becomes_an_instant() -> None:
    base = Timebase(wall=Clock(1000 * SECOND), mono=Clock(5 * SECOND))

    assert base.at(4 * SECOND) == 999 * SECOND


def test_an_anchor_younger_than_a_second_is_kept() -> None:
    wall, mono = Clock(1000 * SECOND), Clock(5 * SECOND)
    base = Timebase(wall, mono)
    wall.at += 77
    mono.at += REANCHOR_EVERY_NS - 1

    assert base.reanchor() == 0
    assert base.drift_ns == 0


def test_a_new_anchor_follows_the_wall_clock_and_tells_the_drift() -> None:
    wall, mono = Clock(1000 * SECOND), Clock(5 * SECOND)
    base = Timebase(wall, mono)
    wall.at += SECOND + 400
    mono.at += SECOND

    assert base.reanchor() == 400
    assert base.now_ns() == 1001 * SECOND + 400


def test_the_largest_drift_is_kept_with_its_sign() -> None:
    wall, mono = Clock(1000 * SECOND), Clock(0)
    base = Timebase(wall, mono)
    for drift in (300, -900, 100):
        wall.at += SECOND + drift
        mono.at += SECOND
        base.reanchor()

    assert base.drift_ns == -900


def test_the_anchor_comes_from_the_tightest_of_three_readings() -> None:
    # (before, after) of the three brackets: 1000 wide, 10 wide, 1000 wide; the wall clock reads 50000 each time.
    readings = iter([0, 1000, 2000, 2010, 3000, 4000, 2005])
    base = Timebase(wall=lambda: 50_000, mono=lambda: next(readings))

    assert base.now_ns() == 50_000  # at the middle of the second bracket, 2005


def test_a_step_of_the_wall_clock_is_kept_with_its_instant_and_size() -> None:
    wall, mono = Clock(1000 * SECOND), Clock(0)
    base = Timebase(wall, mono)
    wall.at += SECOND - 30_000_000
    mono.at += SECOND
    base.reanchor()

    assert base.steps == [ClockStep(1000 * SECOND + SECOND - 30_000_000, -30_000_000)]
    assert base.step_count == 1


def test_a_slew_shows_in_the_drift_and_is_no_step() -> None:
    wall, mono = Clock(1000 * SECOND), Clock(0)
    base = Timebase(wall, mono)
    for seconds in (1, 1, 8):  # 500 ppm; the last time nobody looked for 8 s
        wall.at += seconds * (SECOND + 500_000)
        mono.at += seconds * SECOND
        base.reanchor()

    assert base.steps == []
    assert base.drift_ns == 4_000_000
    assert base.now_ns() == 1000 * SECOND + 10 * SECOND + 10 * 500_000


def test_a_clock_that_is_stepped_for_ever_takes_no_more_room() -> None:
    wall, mono = Clock(1000 * SECOND), Clock(0)
    base = Timebase(wall, mono)
    for _ in range(250):
        wall.at += SECOND + 2_000_000
        mono.at += SECOND
        base.reanchor()

    assert (len(base.steps), base.step_count) == (100, 250)


@given(st.lists(st.integers(0, 10 * SECOND), max_size=20))
def test_without_a_new_anchor_time_never_goes_back(steps: list[int]) -> None:
    mono = Clock(0)
    base = Timebase(Clock(1000 * SECOND), mono)
    seen = []
    for step in steps:
        mono.at += step
        seen.append(base.now_ns())

    assert seen == sorted(seen)


def test_the_real_clocks_agree_with_the_system() -> None:
    before = time.time_ns()
    now = Timebase().now_ns()

    assert before - 50_000_000 < now < time.time_ns() + 50_000_000
