from __future__ import annotations

from dataclasses import dataclass

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
