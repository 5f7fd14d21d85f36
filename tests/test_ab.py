"""Pairs judged: which verdict, with which reason, and whom it blames."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pair_builders import bench, broken, pairs, run, scenario

from harness.ab import Ask, findings, gating_of
from harness.analysis.comparing.paired import Rule
from harness.comparison import AbFindings, Change, PairFindings
from harness.findings import Verdict
from harness.model import Arrivals
from harness.pairs import paired


def judged(
    tmp_path: Path, several: list[PairFindings], *, strict: bool = False, interrupted: bool = False
) -> AbFindings:
    return findings(bench(tmp_path), Ask(Rule(), strict), several, 0, interrupted=interrupted)


def test_a_candidate_that_is_clearly_slower_fails_and_the_stage_that_took_longer_is_blamed(tmp_path: Path) -> None:
    found = judged(tmp_path, pairs(5, slow_down=1.3))

    assert (found.verdict, found.change) == (Verdict.FAILED, Change.WORSE)
    assert found.blame is not None
    assert (found.blame.stage, found.blame.model) == ("inference", "det")
    assert any("inference" in sentence for sentence in found.sentences)


def test_the_same_thing_twice_passes_with_what_it_could_be_slower_at_most(tmp_path: Path) -> None:
    found = judged(tmp_path, pairs(5))

    assert (found.verdict, found.change, found.reasons) == (Verdict.PASSED, Change.WITHIN, ())
    assert "at most" in found.sentences[0]
    assert "4 of 5" in found.sentences[-1]
    assert found.blame is None


def test_a_slow_down_between_allowed_and_ruled_out_passes_only_when_nobody_is_strict(tmp_path: Path) -> None:
    between = pairs(9, slow_down=1.14)[:9]
    noisy = [dataclasses.replace(p, b=run(1.04 * (1.3 if p.number % 2 else 0.8))) for p in between]

    assert judged(tmp_path, noisy).verdict is Verdict.PASSED
    assert judged(tmp_path, noisy).change is Change.NOT_FOUND
    strict = judged(tmp_path, noisy, strict=True)
    assert strict.verdict is Verdict.NOT_ENOUGH_DATA
    assert "is not ruled out" in strict.reasons[0]


def test_an_improvement_is_no_failure(tmp_path: Path) -> None:
    assert judged(tmp_path, pairs(5, slow_down=0.7)).verdict is Verdict.PASSED


def test_a_candidate_that_fails_requests_fails_though_it_is_as_fast(tmp_path: Path) -> None:
    found = judged(tmp_path, pairs(5, b_failed=4))

    assert found.verdict is Verdict.FAILED
    assert found.reasons[0].startswith("error_rate")


def test_fewer_pairs_than_the_first_look_are_not_enough(tmp_path: Path) -> None:
    found = judged(tmp_path, pairs(4, slow_down=2.0), interrupted=True)

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert found.reasons == ("it was interrupted: 4 of 5 pairs were measured",)


def test_no_pair_at_all_is_not_enough_either(tmp_path: Path) -> None:
    assert judged(tmp_path, []).verdict is Verdict.NOT_ENOUGH_DATA


def test_pairs_after_a_look_do_not_count_before_the_next_one(tmp_path: Path) -> None:
    five, six = pairs(5), pairs(6)
    six[5] = dataclasses.replace(six[5], b=run(50.0))

    assert judged(tmp_path, six).metrics == judged(tmp_path, five).metrics


def test_an_invalid_run_does_not_count_and_too_many_of_them_make_the_comparison_invalid(tmp_path: Path) -> None:
    two = [*pairs(5, slow_down=2.0), broken(6), broken(7)]
    three = [*two, broken(8)]

    assert judged(tmp_path, two).verdict is Verdict.FAILED
    found = judged(tmp_path, three)
    assert found.verdict is Verdict.INVALID
    assert found.reasons[0] == "pair 6, A: the generator was late"


def test_a_baseline_that_does_not_hold_the_load_is_no_baseline() -> None:
    pair = paired(1, "AB", dataclasses.replace(run(), unstable=True), run())

    assert not pair.counted
    assert "lower rate" in pair.reason


def test_a_candidate_that_does_not_hold_the_load_counts() -> None:
    assert paired(1, "AB", run(), dataclasses.replace(run(9.0), unstable=True)).counted


def test_a_candidate_whose_service_ends_under_load_has_failed(tmp_path: Path) -> None:
    one = paired(1, "AB", run(), dataclasses.replace(run(), died="the service ended with exit code 1 during the run"))
    found = judged(tmp_path, [one])

    assert found.verdict is Verdict.FAILED
    assert found.reasons == ("pair 1, B: the service ended with exit code 1 during the run",)


def test_accepted_doubts_are_said_once(tmp_path: Path) -> None:
    doubted = [dataclasses.replace(pair, b=dataclasses.replace(pair.b, accepted=("late",))) for pair in pairs(5)]

    assert judged(tmp_path, doubted).accepted == ("late",)


@pytest.mark.parametrize(
    ("arrivals", "gating"),
    [(Arrivals.POISSON, ("p50", "p95", "error_rate")), (Arrivals.USERS, ("p50", "p95", "throughput", "error_rate"))],
)
def test_throughput_decides_only_where_it_is_not_that_of_the_schedule(
    tmp_path: Path, arrivals: Arrivals, gating: tuple[str, ...]
) -> None:
    assert gating_of(bench(tmp_path, scenario(arrivals))) == gating


def test_waiting_for_most_of_the_time_is_warned_of(tmp_path: Path) -> None:
    waiting = dataclasses.replace(run(), stages=(("queue", 0.030), ("inference", 0.010)))
    found = judged(tmp_path, [paired(number, "AB", waiting, waiting) for number in range(1, 6)])

    assert "near_saturation" in [warning.code for warning in found.warnings]
