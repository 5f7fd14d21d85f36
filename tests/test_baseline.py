"""A new run against the runs of other days: what counts, what is left out, and when it has failed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.baseline import judge, ruled_out
from harness.baseline.stored import Stored, stored
from harness.comparison import BaselineMetric, Change
from harness.findings import Verdict
from harness.report import baseline_text
from harness.run_folder import RunFolder
from tests.stored_runs import BAD, NOISE, copied, some_runs, some_samples, store


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """200 requests of 50 to 99 ms, each duration four times: p50 74 ms, p95 97 ms."""
    return store(tmp_path_factory.mktemp("original") / "original", some_samples())


def the_runs(folders: list[RunFolder]) -> list[Stored]:
    return [stored(folder) for folder in folders]


def reason_for(found: Any, run: str) -> str:
    return dict(found.left_out)[run]


# --- judged ---------------------------------------------------------------------------------------------------


def test_a_run_like_the_others_is_passed(original: RunFolder, tmp_path: Path) -> None:
    found = judge(stored(original), the_runs(some_runs(original, tmp_path, 10)))

    assert (found.verdict, found.reasons, len(found.runs)) == (Verdict.PASSED, (), 10)
    assert [(metric.metric, metric.n) for metric in found.metrics] == [("p50", 10), ("p95", 10), ("error_rate", 10)]


def test_the_limit_is_that_of_a_prediction_interval(original: RunFolder, tmp_path: Path) -> None:
    found = judge(stored(original), the_runs(some_runs(original, tmp_path, 10)), allowed=0.05)
    p50 = found.metrics[0]

    logs = [math.log(0.074 * factor) for factor in NOISE[1:11]]
    mean = sum(logs) / 10
    deviation = math.sqrt(sum((each - mean) ** 2 for each in logs) / 9)
    t = 2.3266  # Student's, 9 degrees of freedom: p50 has half of nine tenths of 5 %, which is 2.25 %
    assert p50.typical == pytest.approx(math.exp(mean))
    assert p50.limit == pytest.approx(math.exp(mean + t * deviation * math.sqrt(1.1)) * 1.05, rel=1e-5)


def test_a_run_beyond_what_the_others_predict_has_failed(original: RunFolder, tmp_path: Path) -> None:
    earlier = the_runs(some_runs(original, tmp_path / "runs", 10))
    slow = stored(copied(original, tmp_path / "slow", 50, p95=1.3))

    found = judge(slow, earlier)

    assert found.verdict is Verdict.FAILED
    assert len(found.reasons) == 1
    assert found.reasons[0].startswith("p95 +29.8% against the baseline runs")
    assert [metric.change for metric in found.metrics] == [Change.NOT_FOUND, Change.WORSE, Change.NOT_FOUND]


def test_what_is_allowed_is_added_to_the_limit(original: RunFolder, tmp_path: Path) -> None:
    earlier = the_runs(some_runs(original, tmp_path / "runs", 10))
    slow = stored(copied(original, tmp_path / "slow", 50, p95=1.3))

    assert judge(slow, earlier, allowed=0.4).verdict is Verdict.PASSED


def test_many_failed_requests_fail_the_run(original: RunFolder, tmp_path: Path) -> None:
    earlier = the_runs(some_runs(original, tmp_path / "runs", 9))
    failing = stored(copied(original, tmp_path / "failing", 50, counts={"ok": 194, "failed": 6}))

    found = judge(failing, earlier)

    assert found.verdict is Verdict.FAILED  # 3 %, where one percentage point more than none is the limit
    assert "3% of the requests failed" in found.reasons[0]


def test_a_run_whose_p95_lies_among_failures_has_failed(original: RunFolder, tmp_path: Path) -> None:
    failing = stored(store(tmp_path / "failing", some_samples(failed=20), started_ns=1))

    found = judge(failing, the_runs(some_runs(original, tmp_path / "runs", 9)))

    assert {metric.metric: metric.change for metric in found.metrics}["p95"] is Change.WORSE


@pytest.mark.parametrize(("count", "needed"), [(0, "8 more runs"), (1, "7 more runs"), (7, "1 more run")])
def test_fewer_than_eight_runs_are_not_enough(original: RunFolder, tmp_path: Path, count: int, needed: str) -> None:
    found = judge(stored(original), the_runs(some_runs(original, tmp_path, count)))

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert found.reasons == (f"needs 8 comparable baseline runs, has {count}: needs {needed}",)
    assert "`harness ab`" in found.sentences[0]


def test_one_baseline_run_is_told_that_it_knows_nothing_of_noise(original: RunFolder, tmp_path: Path) -> None:
    found = judge(stored(original), the_runs(some_runs(original, tmp_path, 1)))

    assert found.sentences[0].startswith("One baseline run cannot tell a change of the service from the noise")


def test_an_invalid_run_is_held_against_nothing(original: RunFolder, tmp_path: Path) -> None:
    invalid = stored(copied(original, tmp_path / "invalid", 50, **BAD))

    found = judge(invalid, the_runs(some_runs(original, tmp_path / "runs", 9)))

    assert (found.verdict, found.metrics) == (Verdict.INVALID, ())


def test_an_unknown_figure_is_not_enough_data(original: RunFolder, tmp_path: Path) -> None:
    new = stored(original)

    found = judge(replace(new, values={**new.values, "error_rate": None}), the_runs(some_runs(original, tmp_path, 9)))

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert found.reasons == ("error_rate not known of the new run",)


def test_equal_runs_without_any_noise_are_judged(original: RunFolder, tmp_path: Path) -> None:
    same = [copied(original, tmp_path / f"same-{number}", number) for number in range(1, 10)]

    found = judge(stored(original), the_runs(same))

    assert found.verdict is Verdict.PASSED
    assert found.metrics[0].limit == pytest.approx(0.074 * 1.05)


def test_the_throughput_counts_in_a_closed_loop_only(original: RunFolder, tmp_path: Path) -> None:
    closed = {"scheduled": 200, "ok": 200, "offered_per_s": None}
    runs = [
        copied(original, tmp_path / f"run-{n}", n, counts=closed | {"completed_per_s": 20.0 * NOISE[n]})
        for n in range(1, 10)
    ]
    slow = copied(original, tmp_path / "slow", 50, counts=closed | {"completed_per_s": 14.0})

    found = judge(stored(slow), the_runs(runs))

    assert [metric.metric for metric in found.metrics] == ["p50", "p95", "throughput", "error_rate"]
    assert found.verdict is Verdict.FAILED
    assert found.reasons[0].startswith("throughput ")


# --- strict ---------------------------------------------------------------------------------------------------


def a_metric(value: float, typical: float, limit: float, metric: str = "p95") -> BaselineMetric:
    return BaselineMetric(metric, "s", 10, typical, 0.02, value, limit, Change.NOT_FOUND, "")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (a_metric(0.100, 0.100, 0.110), True),  # 1.10 / 1.05 = 1.048: at most +4.8 %
        (a_metric(0.110, 0.100, 0.110), False),  # 1.10 * 1.048 = 1.152: beyond +15 %
        (a_metric(0.109, 0.100, 0.110), True),  # 1.09 * 1.048 = 1.142
        (a_metric(20.0, 20.0, 18.0, "throughput"), True),  # 20 / 18 / 1.05 = 1.058
        (a_metric(18.0, 20.0, 18.0, "throughput"), False),  # 1.111 * 1.058 = 1.175
        (a_metric(0.00, 0.00, 0.01, "error_rate"), True),
        (a_metric(0.02, 0.00, 0.04, "error_rate"), False),  # up to 3 points more, where one is small
        (a_metric(0.0, 0.100, 0.110), False),
        (replace(a_metric(0.1, 0.1, 0.11), limit=None), False),
        (replace(a_metric(0.1, 0.1, 0.11), value=None), False),
    ],
)
def test_a_slow_down_below_the_strict_limit_has_to_be_shown(found: BaselineMetric, expected: bool) -> None:
    assert ruled_out(found, allowed=0.05) is expected


def test_strict_wants_a_large_slow_down_ruled_out(original: RunFolder, tmp_path: Path) -> None:
    earlier = the_runs(some_runs(original, tmp_path / "runs", 10))
    slower = stored(copied(original, tmp_path / "slower", 50, p95=1.1))

    assert judge(slower, earlier).verdict is Verdict.PASSED
    assert judge(slower, earlier, strict=True).verdict is Verdict.NOT_ENOUGH_DATA
    assert "is not ruled out" in judge(slower, earlier, strict=True).reasons[0]
    assert judge(stored(original), earlier, strict=True).verdict is Verdict.PASSED


# --- what is left out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"scenario": "write"}, "it is of another scenario (write)"),
        ({"interrupted": True}, "it was interrupted"),
        (BAD, "its measurement is invalid"),
        ({"accepted": ["the clock stepped"]}, "its measurement is invalid, and was accepted"),
        ({"environment": {"cpu": "another one"}}, "another cpu: another one, here "),
    ],
)
def test_a_run_that_is_not_like_the_new_one_is_left_out(
    original: RunFolder, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    runs = the_runs([*some_runs(original, tmp_path, 8), copied(original, tmp_path / "odd", 30, **changes)])

    found = judge(stored(original), runs)

    assert (found.verdict, len(found.runs)) == (Verdict.PASSED, 8)
    assert reason_for(found, "odd").startswith(why)


def test_a_run_of_another_load_is_left_out(original: RunFolder, tmp_path: Path) -> None:
    plan = original.read_json("run.json")["plan"]
    plan["load"]["steps"][0]["level"] = 40.0
    odd = copied(original, tmp_path / "odd", 30, record={"plan": plan})

    assert reason_for(judge(stored(original), the_runs([odd])), "odd") == "another rate: 40/s, here 20/s"


def test_a_run_with_other_payloads_is_left_out(original: RunFolder, tmp_path: Path) -> None:
    odd = store(tmp_path / "odd", some_samples(bytes_sent=90_000), started_ns=1)

    assert "payloads" in reason_for(judge(stored(original), [stored(odd)]), "odd")


def test_a_run_with_another_mix_is_left_out(original: RunFolder, tmp_path: Path) -> None:
    samples = [replace(each, name="write" if each.request_id % 2 else "read") for each in some_samples()]
    odd = store(tmp_path / "odd", samples, started_ns=1)

    assert "mix" in reason_for(judge(stored(original), [stored(odd)]), "odd")


def test_a_run_whose_record_is_broken_is_left_out(original: RunFolder, tmp_path: Path) -> None:
    odd = copied(original, tmp_path / "odd", 30, record={"plan": {}})

    assert "does not describe a run" in reason_for(judge(stored(original), [stored(odd)]), "odd")


def test_a_run_whose_samples_are_damaged_is_left_out(original: RunFolder, tmp_path: Path) -> None:
    odd = copied(original, tmp_path / "odd", 30)
    odd.samples.write_bytes(b"PAR1 no more")

    assert "cannot be read" in reason_for(judge(stored(original), [stored(odd)]), "odd")


def test_the_judged_run_and_its_copies_are_left_out(original: RunFolder, tmp_path: Path) -> None:
    copy = copied(original, tmp_path / "copy", 0)

    assert reason_for(judge(stored(original), [stored(copy)]), "copy") == "it is the judged run"


def test_a_run_that_is_named_twice_counts_once(original: RunFolder, tmp_path: Path) -> None:
    runs = the_runs(some_runs(original, tmp_path, 5))

    assert len(judge(stored(original), [*runs, *runs]).runs) == 5


def test_a_failed_slo_does_not_keep_a_run_from_being_a_baseline(original: RunFolder, tmp_path: Path) -> None:
    runs = the_runs(some_runs(original, tmp_path, 8, verdict="failed"))

    assert len(judge(stored(original), runs).runs) == 8


def test_of_many_runs_the_newest_count(original: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.baseline.MOST_RUNS", 9)

    found = judge(stored(original), the_runs(some_runs(original, tmp_path, 12)))

    assert (found.runs[0].run_id, found.runs[-1].run_id, len(found.runs)) == ("run-004", "run-012", 9)


def test_a_baseline_that_changed_says_so(original: RunFolder, tmp_path: Path) -> None:
    slow = some_runs(original, tmp_path / "after", 10, first=11, p50=1.3, p95=1.3)

    found = judge(stored(original), the_runs([*some_runs(original, tmp_path / "before", 10), *slow]))

    assert any("became another one at run run-011" in sentence for sentence in found.sentences)


# --- shown -----------------------------------------------------------------------------------------------------


def test_the_text_names_the_verdict_the_figures_and_who_was_left_out(original: RunFolder, tmp_path: Path) -> None:
    odd = copied(original, tmp_path / "odd\x1b[31m", 30, scenario="evil")
    found = judge(stored(original), the_runs([*some_runs(original, tmp_path, 8), odd]))

    text = baseline_text.render(found, width=100, colour=False)

    assert "Against earlier runs: passed" in text
    assert "8 comparable runs, 2026-09-21 15:13 to 2026-09-21 22:13 UTC; allowed: +5 %" in text
    assert "74.0 ms" in text
    assert "left out: odd⟨ESC⟩[31m: it is of another scenario" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_runs_left_out_for_one_reason_share_a_line(original: RunFolder, tmp_path: Path) -> None:
    found = judge(stored(original), the_runs(some_runs(original, tmp_path, 5, **BAD)))

    text = baseline_text.render(found, width=200, colour=False)

    assert "left out: run-005, run-004, run-003 and 2 more: its measurement is invalid" in text
