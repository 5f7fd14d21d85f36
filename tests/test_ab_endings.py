"""Comparisons that do not go as planned: what was measured is kept, said, and judged no further than it reaches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from pair_builders import bench, broken, pairs, run

import harness.ab
import harness.noise
from harness.ab import AB_FILE, Ask, findings, run_ab
from harness.analysis.comparing.calibrated import false_alarms
from harness.analysis.comparing.paired import Rule
from harness.comparison import AbFindings, Change, PairFindings
from harness.errors import HarnessError, Interrupted, NothingMeasured, RunFolderError
from harness.findings import Verdict
from harness.noise import calibrate, of_equals
from harness.pairs import Bench, Side, measure, paired, spare
from harness.report.json_findings import parse_findings, render_findings
from harness.run_folder import RunFolder

DIED = "the service ended with exit code 1 during the run: MemoryError"


def judged(tmp_path: Path, several: list[PairFindings], *, interrupted: bool = False) -> AbFindings:
    return findings(bench(tmp_path), Ask(Rule()), several, 0, interrupted=interrupted)


def measuring(monkeypatch: pytest.MonkeyPatch, several: list[PairFindings], error: HarnessError | None = None) -> None:
    """Pairs come out of a list; then the error."""

    def listed(of: Bench) -> Iterator[PairFindings]:
        yield from several
        raise error or AssertionError("nobody should have asked for more pairs")

    for module in (harness.ab, harness.noise):
        monkeypatch.setattr(module, "measure", listed)
    monkeypatch.setattr(harness.noise, "false_alarms", partial(false_alarms, replays=2))


def test_an_error_in_the_middle_says_where_the_pairs_before_it_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring(monkeypatch, pairs(2), NothingMeasured("pair 3, B: nothing answers", "start it"))

    with pytest.raises(NothingMeasured) as told:
        run_ab(bench(tmp_path), Ask(Rule()))

    assert told.value.hint == f"start it; the pairs before it (2) are in {tmp_path / AB_FILE}"
    stored = json.loads((tmp_path / AB_FILE).read_text())
    assert (len(stored["pairs"]), stored["interrupted"], stored["verdict"]) == (2, True, "not_enough_data")


def test_an_error_names_the_pair_and_the_side(tmp_path: Path) -> None:
    nobody = replace(bench(tmp_path), a=Side("A", target="http://127.0.0.1:1"))

    with pytest.raises(NothingMeasured) as told:
        next(measure(nobody))

    assert told.value.message.startswith("pair 1, A: ")


def test_an_error_before_the_first_pair_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring(monkeypatch, [], NothingMeasured("nothing answers", "start it"))

    with pytest.raises(NothingMeasured) as told:
        run_ab(bench(tmp_path), Ask(Rule()))

    assert told.value.hint == "start it"


def test_ctrl_c_after_an_undecided_look_is_judged_on_that_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = [replace(pair, b=run(1.3 if pair.number % 2 else 0.8)) for pair in pairs(6)]
    measuring(monkeypatch, noisy, Interrupted("interrupted"))

    found = run_ab(bench(tmp_path), Ask(Rule()))

    assert (found.verdict, found.change, found.interrupted) == (Verdict.PASSED, Change.NOT_FOUND, True)
    assert {metric.ratio.n for metric in found.metrics} == {5}


def test_a_full_disk_costs_the_file_and_not_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: RunFolder, name: str, text: str) -> Path:
        raise RunFolderError(f"{name} cannot be written: no space left on device", "free some disk space")

    measuring(monkeypatch, pairs(5, slow_down=1.3))
    monkeypatch.setattr(RunFolder, "write_text", full)

    found = run_ab(bench(tmp_path), Ask(Rule()))

    assert found.verdict is Verdict.FAILED
    assert ("not_stored", "free some disk space") in [(each.code, each.hint) for each in found.warnings]


def test_the_machine_is_described_as_it_was_before_the_load(tmp_path: Path) -> None:
    of = replace(bench(tmp_path), environment=(("load average", "0.10 when the run began"),))

    assert findings(of, Ask(Rule()), pairs(5), 0, interrupted=False).environment == of.environment


def test_what_is_stored_in_between_does_not_pass_for_a_whole_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(of: Bench) -> Iterator[PairFindings]:
        yield from pairs(3, slow_down=2.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(harness.ab, "measure", killed)
    with pytest.raises(KeyboardInterrupt):
        run_ab(bench(tmp_path), Ask(Rule()))

    found = parse_findings(AbFindings, (tmp_path / AB_FILE).read_text())
    assert (found.interrupted, found.verdict, found.change) == (True, Verdict.NOT_ENOUGH_DATA, Change.UNKNOWN)


def test_before_the_first_look_nothing_is_judged_and_nobody_blamed(tmp_path: Path) -> None:
    found = judged(tmp_path, pairs(4, slow_down=2.0), interrupted=True)

    assert {metric.change for metric in found.metrics} == {Change.UNKNOWN}
    assert (found.change, found.blame, found.sentences) == (Change.UNKNOWN, None, ())
    assert found.metrics[0].reason == "not judged: 4 of 5 pairs"


def test_an_invalid_comparison_does_not_say_who_is_slower(tmp_path: Path) -> None:
    found = judged(tmp_path, [*pairs(5, slow_down=2.0), broken(6), broken(7), broken(8)])

    assert found.verdict is Verdict.INVALID
    assert (found.change, found.blame, found.sentences) == (Change.UNKNOWN, None, ())


def test_a_candidate_that_dies_in_a_run_that_cannot_be_judged_is_told_and_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [paired(number, "AB", replace(run(), died=DIED), replace(run(), died=DIED)) for number in (1, 2, 3)]
    measuring(monkeypatch, both)

    found = run_ab(bench(tmp_path), Ask(Rule()))

    assert found.verdict is Verdict.INVALID
    assert found.reasons[0] == f"pair 1, A: {DIED}; B: {DIED}"


def test_of_few_pairs_those_that_do_not_count_are_told(tmp_path: Path) -> None:
    found = judged(tmp_path, [*pairs(2), broken(3)], interrupted=True)

    assert found.reasons == (
        "it was interrupted: 2 of 5 pairs were measured",
        "pair 3 does not count, A: the generator was late",
    )


def test_requests_that_fail_are_blamed_on_no_stage(tmp_path: Path) -> None:
    longer = dict(run().stages)["inference"] * 1.01
    several = [
        paired(pair.number, pair.order, pair.a, replace(run(failed=20), stages=run(inference=longer).stages))
        for pair in pairs(5)
    ]

    found = judged(tmp_path, several)

    assert found.verdict is Verdict.FAILED
    assert [metric.metric for metric in found.metrics if metric.change is Change.WORSE] == ["error_rate"]
    assert found.blame is None


def test_a_quantile_among_the_failures_is_judged_the_same_when_it_was_stored(tmp_path: Path) -> None:
    endless = tuple((name, float("inf") if name in ("p95", "p99") else value) for name, value in run().values)
    several = [paired(n, "AB", run(), replace(run(failed=20), values=endless)) for n in range(1, 10)]
    found = judged(tmp_path, several)

    again = judged(tmp_path, list(parse_findings(AbFindings, render_findings(found)).pairs))

    assert "p95" in [metric.metric for metric in found.metrics if metric.change is Change.WORSE]
    assert again.metrics == found.metrics
    assert (again.verdict, again.reasons) == (found.verdict, found.reasons)


# --- calibrations ------------------------------------------------------------------------------------------


def test_a_long_calibration_outlives_a_few_invalid_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several = [broken(1), broken(2), broken(3), *pairs(9), *pairs(9)]
    measuring(monkeypatch, several[:19])

    assert calibrate(bench(tmp_path), 16, Rule()).verdict is Verdict.PASSED
    assert (spare(9), spare(16), spare(100)) == (2, 4, 25)


def test_an_interrupted_calibration_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring(monkeypatch, pairs(6), Interrupted("interrupted"))

    found = calibrate(bench(tmp_path), 10, Rule())

    assert (found.verdict, found.reasons) == (
        Verdict.PASSED,
        ("it was interrupted: 6 of 10 pairs were measured",),
    )


@pytest.mark.parametrize("wrong", [{"died": DIED}, {"unstable": True}])
def test_of_the_same_thing_twice_neither_may_die_or_fall_behind(wrong: dict[str, object]) -> None:
    pair = paired(1, "AB", run(), replace(run(), **wrong))  # type: ignore[arg-type]

    assert pair.counted
    assert not of_equals(pair).counted
    assert of_equals(pair).reason.startswith("B: ")
    assert of_equals(pairs(1)[0]) == pairs(1)[0]
