"""A comparison in words: what an engineer reads of pairs that were made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pair_builders import JITTER, bench, broken, pairs, run, scenario

from harness.ab import Ask, findings
from harness.analysis.comparing import words
from harness.analysis.comparing.paired import Rule
from harness.comparison import AbFindings, PairFindings, SideRun
from harness.model import Arrivals, Scenario, Step
from harness.pairs import Side, paired
from harness.report import ab_text
from harness.services import Start


def judged(
    tmp_path: Path, several: list[PairFindings], of: Scenario | None = None, *, interrupted: bool = False
) -> AbFindings:
    return findings(bench(tmp_path, of), Ask(Rule()), several, 0, interrupted=interrupted)


def against(sides: Sequence[SideRun], a: SideRun | None = None) -> list[PairFindings]:
    return [paired(number, "AB", a or run(), b) for number, b in enumerate(sides, 1)]


NOISY = against([run(1.04 * (1.3 if number % 2 else 0.8)) for number in range(1, 7)])
DEAD = against([replace(run(), died="the service ended with exit code 1 during the run: MemoryError")])


@pytest.mark.parametrize(
    ("several", "interrupted", "line"),
    [
        (pairs(5), False, "PASSED: a slow-down of 15% is ruled out"),
        (NOISY[:5], False, "PASSED: no slow-down beyond 5% found"),
        (NOISY, True, "PASSED: no slow-down beyond 5% found (interrupted: judged on the first 5 pairs)"),
        (pairs(5, slow_down=1.3), False, "FAILED: B is slower than A"),
        (pairs(5, b_failed=10), False, "FAILED: more requests of B fail"),
        (DEAD, False, "FAILED: the service of B ended under load"),
        (pairs(3), True, "NOT ENOUGH DATA"),
        ([broken(1), broken(2), broken(3)], False, "INVALID MEASUREMENT"),
    ],
)
def test_the_first_line_says_no_more_than_was_found(
    tmp_path: Path, several: list[PairFindings], interrupted: bool, line: str
) -> None:
    text = ab_text.render(judged(tmp_path, several, interrupted=interrupted))

    assert text.splitlines()[0] == line


def test_what_is_slower_within_the_allowed_is_said_all_the_same(tmp_path: Path) -> None:
    found = judged(tmp_path, pairs(5, slow_down=1.045))

    assert found.sentences[1].startswith(
        "B is slower than A, though not surely by more than the 5% allowed: p50 by +4.5% (+1.8% to +7.3%)"
    )


@pytest.mark.parametrize(("several", "word"), [(pairs(4, 2.0), "not judged"), (pairs(5, 2.0), "worse")])
def test_a_metric_is_called_worse_only_when_it_was_judged(
    tmp_path: Path, several: list[PairFindings], word: str
) -> None:
    text = ab_text.render(judged(tmp_path, several))

    assert [line.endswith(word) for line in text.splitlines() if line.startswith("p50 ")] == [True]


def test_less_throughput_is_told_as_what_a_has_more(tmp_path: Path) -> None:
    def answered(per_s: float, scale: float) -> SideRun:
        made = run(scale)
        return replace(made, values=(*made.values[:-1], ("throughput", per_s)))

    slower = [answered(8.0 * jitter, 1.25) for jitter in JITTER[:5]]
    found = judged(tmp_path, against(slower, answered(10.0, 1.0)), scenario(Arrivals.USERS))

    assert "throughput: A has more by +25.0%" in "; ".join(found.reasons)
    assert "of throughput A against B" in " ".join(ab_text.render(found).split())


def test_failures_are_told_in_percentage_points_and_not_as_so_many_times(tmp_path: Path) -> None:
    found = judged(tmp_path, against([run(jitter, failed=n) for n, jitter in enumerate(JITTER[:5])], run(failed=2)))

    assert "times" not in " ".join(found.sentences)
    told = next(sentence for sentence in found.sentences if sentence.startswith("1% of the requests of B failed"))
    assert told.endswith("percentage points more.")


def test_a_stage_that_differs_as_stages_do_by_chance_is_not_said_to_have_changed(tmp_path: Path) -> None:
    def with_upload(seconds: float) -> SideRun:
        return replace(run(), stages=tuple((n, seconds if n == "upload" else s) for n, s in run().stages))

    by_chance = [with_upload(0.001 + each) for each in (2e-4, 5e-4, 4e-4, 1e-4, 6e-4)]  # t = 3.9: 1 in 57 for one stage
    plainly = [with_upload(0.001 + each) for each in (4e-4, 5e-4, 4e-4, 5e-4, 6e-4)]

    assert "upload" not in " ".join(judged(tmp_path, against(by_chance)).sentences)
    assert "What changed in the mean: upload +480 us." in judged(tmp_path, against(plainly)).sentences


def test_the_blamed_stage_is_named_once(tmp_path: Path) -> None:
    found = judged(tmp_path, pairs(5, slow_down=1.3))

    assert sum("inference" in sentence for sentence in found.sentences) == 1


def test_names_from_outside_cannot_move_the_cursor(tmp_path: Path) -> None:
    nasty = replace(broken(1), reason="A: \x1b[2J\u202e")
    of = replace(bench(tmp_path), b=Side("B", start=Start("evil\x1b[2J {port}")))
    found = findings(of, Ask(Rule()), [nasty], 0, interrupted=True)

    for text in (ab_text.pair_line(nasty), ab_text.render(replace(found, load="\x1b]0;"))):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_one_command_in_two_folders_is_two_services() -> None:
    old, new = (
        Side(name, start=Start("./serve {port}", cwd=Path(folder))) for name, folder in (("A", "old"), ("B", "new"))
    )

    assert (old.label, new.label) == ("./serve {port} (in old)", "./serve {port} (in new)")


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(1.123, "+12.3%"), (0.5, "-50.0%"), (1.0001, "0.0%"), (3.2, "3.2 times"), (6e26, "over 1,000 times")],
)
def test_a_ratio_is_told_as_people_read_it(ratio: float, text: str) -> None:
    assert words.change(ratio) == text


# --- doubts ------------------------------------------------------------------------------------------------


def codes(found: AbFindings) -> list[str]:
    return [warning.code for warning in found.warnings]


def test_a_side_against_itself_is_doubted(tmp_path: Path) -> None:
    same = replace(bench(tmp_path), b=Side("B", target="http://a:1"))

    assert "same_sides" in codes(findings(same, Ask(Rule()), pairs(5), 0, interrupted=False))
    assert "same_sides" not in codes(judged(tmp_path, pairs(5)))


def test_a_service_that_is_started_anew_wants_a_warm_up(tmp_path: Path) -> None:
    cold = replace(scenario(), load=replace(scenario().load, warmup_s=0.0))
    started = [Side(name, start=Start(f"./{name} {{port}}")) for name in "AB"]
    for of, expected in ((cold, True), (scenario(), False)):
        made = replace(bench(tmp_path, of), a=started[0], b=started[1])
        assert ("cold_start" in codes(findings(made, Ask(Rule()), pairs(5), 0, interrupted=False))) is expected


def test_a_candidate_that_falls_behind_has_figures_that_depend_on_the_length_of_a_run(tmp_path: Path) -> None:
    found = judged(tmp_path, against([replace(run(20.0 * jitter), unstable=True) for jitter in JITTER[:5]]))

    assert "B answered fewer than came in 5 of 5 runs" in " ".join(warning.message for warning in found.warnings)


def test_steps_that_are_judged_together_are_doubted(tmp_path: Path) -> None:
    steps = (Step(10.0, 20.0), Step(20.0, 20.0))
    found = judged(tmp_path, pairs(5), replace(scenario(), load=replace(scenario().load, steps=steps)))

    assert "several_steps" in codes(found)
    assert "several_steps" not in codes(judged(tmp_path, pairs(5)))


def test_the_plan_says_how_long_it_may_take() -> None:
    line = ab_text.plan_line(scenario(), "http://127.0.0.1:1", "http://127.0.0.1:2", (5, 7, 9)).splitlines()[0]

    assert line == "identify: 5 to 9 pairs, each side 22 s a run: 3.67 min to 6.60 min of load"


def test_a_percentile_that_decides_on_a_handful_of_requests_is_doubted(tmp_path: Path) -> None:
    found = findings(bench(tmp_path), Ask(Rule(), gating=("p50", "p99")), pairs(5), 0, interrupted=False)

    assert [w.message.split()[0] for w in found.warnings if w.code == "few_requests"] == ["p99"]  # 200 of 368
