from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.instrument.partition import partition

STAGES = ("queue", "preprocess", "inference", None)


@dataclass(frozen=True)
class Piece:
    start: int
    end: int | None
    stage: str | None
    parent: Piece | None = None


@st.composite
def trees(draw: st.DrawFn) -> list[Piece]:
    pieces: list[Piece] = []
    for _ in range(draw(st.integers(0, 12))):
        start = draw(st.integers(-50, 150))
        end = draw(st.none() | st.integers(start, 200))
        parent = draw(st.sampled_from([None, *pieces]))
        pieces.append(Piece(start, end, draw(st.sampled_from(STAGES)), parent))
    return pieces


@given(trees())
def test_the_stages_never_exceed_the_window(pieces: list[Piece]) -> None:
    assert sum(partition(0, 100, pieces).values()) <= 100


@given(trees(), st.randoms(use_true_random=False))
def test_the_order_of_the_marks_does_not_matter(pieces: list[Piece], random: object) -> None:
    shuffled = list(pieces)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert partition(0, 100, shuffled) == partition(0, 100, pieces)


@given(trees())
def test_every_instant_with_an_open_stage_is_charged(pieces: list[Piece]) -> None:
    instants = {t for p in pieces if p.stage for t in range(max(0, p.start), min(100, 100 if p.end is None else p.end))}

    charged = sum(partition(0, 100, pieces).values())

    assert len(instants) - len(STAGES) * len(pieces) <= charged <= len(instants)  # shares are rounded down


def test_stages_one_after_the_other_keep_their_lengths() -> None:
    pieces = [Piece(0, 20, "preprocess"), Piece(20, 80, "inference"), Piece(85, 95, "inference")]

    assert partition(0, 100, pieces) == {"preprocess": 20, "inference": 70}


def test_a_nested_stage_takes_its_time_from_the_outer_one() -> None:
    outer = Piece(10, 90, "inference")

    assert partition(0, 100, [outer, Piece(30, 50, "queue", outer)]) == {"inference": 60, "queue": 20}


def test_two_parallel_stages_share_the_time_they_overlap() -> None:
    outer = Piece(0, 100, "preprocess")
    pieces = [outer, Piece(10, 50, "inference", outer), Piece(30, 70, "queue", outer)]

    # 10-30 inference alone, 30-50 half each, 50-70 queue alone; the outer one has the rest.
    assert partition(0, 100, pieces) == {"preprocess": 40, "inference": 30, "queue": 30}


def test_a_branch_with_deeper_marks_still_counts_as_one_branch() -> None:
    left, right = Piece(0, 60, "preprocess"), Piece(0, 60, "inference")

    assert partition(0, 60, [left, right, Piece(0, 60, "queue", left)]) == {"queue": 30, "inference": 30}


def test_a_mark_without_a_stage_is_transparent() -> None:
    outer = Piece(0, 100, "inference")
    middle = Piece(20, 80, None, outer)

    assert partition(0, 100, [outer, middle, Piece(40, 60, "queue", middle)]) == {"inference": 80, "queue": 20}


def test_marks_are_cut_to_the_window_and_open_ones_reach_its_end() -> None:
    pieces = [Piece(-10, 10, "upload"), Piece(60, None, "inference"), Piece(120, 130, "queue")]

    assert partition(0, 100, pieces) == {"upload": 10, "inference": 40}


def test_nothing_marked_is_nothing_charged() -> None:
    assert partition(0, 100, []) == {}


def ancestors(piece: Piece) -> Iterator[Piece]:
    while piece.parent is not None:
        piece = piece.parent
        yield piece


def counted_instant_by_instant(pieces: list[Piece]) -> Counter[tuple[str, int]]:
    """Time by (stage, sharers): at each instant of [0, 100), who is open and covered by nobody."""
    spent: Counter[tuple[str, int]] = Counter()
    for instant in range(100):
        open_now = [p for p in pieces if p.stage and p.start <= instant < (100 if p.end is None else p.end)]
        covered = {id(outer) for inner in open_now for outer in ancestors(inner)}
        deepest = [p.stage or "" for p in open_now if id(p) not in covered]
        spent.update((stage, len(deepest)) for stage in deepest)
    return spent


@given(trees())
def test_every_instant_goes_to_the_deepest_open_stages_in_equal_shares(pieces: list[Piece]) -> None:
    expected: Counter[str] = Counter()
    for (stage, sharers), length in counted_instant_by_instant(pieces).items():
        expected[stage] += length // sharers

    assert Counter(partition(0, 100, pieces)) == expected


@given(trees())
def test_ancestors_that_are_not_given_pass_on_what_is_below_them(pieces: list[Piece]) -> None:
    given_ones = pieces[::2]

    assert partition(0, 100, given_ones) == partition(
        0, 100, [*given_ones, *(Piece(200, 300, "queue", p) for p in pieces)]
    )


def test_a_mark_that_is_given_twice_counts_once() -> None:
    outer = Piece(0, 100, "preprocess")
    inner = Piece(20, 60, "inference", outer)

    assert partition(0, 100, [outer, inner, inner]) == {"preprocess": 60, "inference": 40}


MANY = 100_000


def nested() -> list[Piece]:
    pieces = [Piece(0, 4 * MANY, "queue")]
    for depth in range(1, MANY):
        pieces.append(Piece(depth, 4 * MANY - depth, "inference", pieces[-1]))
    return pieces


def parallel() -> list[Piece]:
    root = Piece(0, 4 * MANY, "queue")
    return [root, *(Piece(place, 4 * MANY - place, "inference", root) for place in range(1, MANY))]


def below_a_deep_dead_end() -> list[Piece]:
    """The ancestors of all that happens have ended, are no stage, or lie behind the window."""
    top = last = Piece(0, 4 * MANY, "queue")
    dead = []
    for depth in range(MANY // 2):
        last = (Piece(0, 1, "queue", last), Piece(0, None, None, last), Piece(5 * MANY, None, "queue", last))[depth % 3]
        dead.append(last)
    return [top, *dead, *(Piece(2 * at + 1, 2 * at + 2, "inference", last) for at in range(MANY // 2))]


@pytest.mark.parametrize(
    ("pieces", "inference"),
    [(nested, 4 * MANY - 2), (parallel, 4 * MANY - 2), (below_a_deep_dead_end, MANY // 2)],
)
def test_a_hundred_thousand_marks_are_split_in_seconds(pieces: Callable[[], list[Piece]], inference: int) -> None:
    made = pieces()
    began = time.monotonic()

    spent = partition(0, 4 * MANY, made)

    assert time.monotonic() - began < 10
    assert 0 <= inference - spent["inference"] <= MANY  # shares are rounded down
    assert spent["queue"] == 4 * MANY - inference
