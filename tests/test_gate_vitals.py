"""SLOs on what the service says of its processes: never passed without readings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from harness.evidence import Evidence
from harness.evidence.stretches import Stretch
from harness.findings import Verdict
from harness.slo import VITALS
from tests.builders import T0
from tests.test_gate_select import SECOND_NS, judged, mixed

MIB = 2**20


def readings(subject: str, *processes: tuple[str, list[float]], from_s: float = 0.0) -> pd.DataFrame:
    """A reading of each process a second, beginning half a second in."""
    return pd.concat(
        pd.DataFrame(
            {
                "at_ns": T0 + ((from_s + 0.5 + np.arange(len(values))) * SECOND_NS).astype(np.int64),
                "process": process,
                "name": VITALS[subject].metric,
                "value": values,
            }
        )
        for process, values in processes
    )


def with_vitals(*vitals: pd.DataFrame) -> Evidence:
    """A run of 100 s."""
    return mixed(100, 0, vitals=pd.concat(vitals) if vitals else None)


def test_a_service_without_vitals_passes_no_limit_on_them() -> None:
    nothing = readings("rss", ("api (pid 7)", [1.0])).iloc[:0]
    for found in (with_vitals(), with_vitals(nothing)):
        for expression in ("peak(rss) < 2GiB", "mean(cpu) < 80%", "max(threads) < 9", "p95(loop_lag) < 10ms"):
            answer = judged(expression, found)
            assert (answer.verdict, answer.reason) == (Verdict.INVALID, "the service sent no vitals"), expression


def test_a_figure_that_the_service_does_not_send_is_named() -> None:
    found = judged("peak(rss) < 2GiB", with_vitals(readings("cpu", ("api (pid 7)", [0.5] * 60))))

    assert (found.verdict, found.reason) == (
        Verdict.INVALID,
        "the service sent no process.memory.usage with its vitals",
    )


def test_the_peak_is_that_of_the_worst_process_and_names_it() -> None:
    two = readings("rss", ("api (pid 7)", [100.0 * MIB] * 60), ("api (pid 8)", [90.0 * MIB] * 59 + [300.0 * MIB]))

    over, under = judged("peak(rss) < 256MiB", with_vitals(two)), judged("peak(rss) < 1GiB", with_vitals(two))

    assert (over.verdict, over.observed) == (Verdict.FAILED, 300.0 * MIB)
    assert over.reason == "api (pid 8), the worst of 2 processes: 300 MiB is the largest of 60 readings"
    assert under.verdict is Verdict.PASSED


def test_a_peak_exactly_at_its_limit_is_beyond_a_strict_one() -> None:
    found = with_vitals(readings("rss", ("api (pid 7)", [256.0 * MIB] * 60)))

    assert judged("peak(rss) < 256MiB", found).verdict is Verdict.FAILED
    assert judged("peak(rss) <= 256MiB", found).verdict is Verdict.PASSED


@pytest.mark.parametrize(("values", "expected"), [([1.0] * 4, Verdict.NOT_ENOUGH_DATA), ([1.0] * 5, Verdict.PASSED)])
def test_a_few_readings_keep_no_limit(values: list[float], expected: Verdict) -> None:
    short = dataclasses.replace(
        with_vitals(readings("threads", ("api (pid 7)", values))), stretches=(Stretch("measure", 0, T0, 6.0),)
    )
    found = judged("peak(threads) < 9", short)

    assert found.verdict is expected
    assert ("needs 1 more" in found.reason) is (expected is Verdict.NOT_ENOUGH_DATA)


def test_one_reading_beyond_the_limit_breaks_it() -> None:
    assert (
        judged("peak(threads) < 9", with_vitals(readings("threads", ("api (pid 7)", [40.0])))).verdict is Verdict.FAILED
    )


@pytest.mark.parametrize(
    ("limit", "expected"), [("70%", Verdict.PASSED), ("30%", Verdict.FAILED), ("50%", Verdict.NOT_ENOUGH_DATA)]
)
def test_a_mean_is_decided_by_its_interval(limit: str, expected: Verdict) -> None:
    noise = np.random.default_rng(2).normal(0.5, 0.1, 60)
    found = with_vitals(readings("cpu", ("api (pid 7)", list(noise - noise.mean() + 0.5))))

    assert judged(f"mean(cpu) < {limit}", found).verdict is expected


def test_every_process_has_to_keep_the_limit_of_a_mean() -> None:
    calm, busy = [0.1, 0.2] * 30, [0.9, 1.0] * 30

    found = judged("mean(cpu) < 80%", with_vitals(readings("cpu", ("api (pid 7)", calm), ("api (pid 8)", busy))))

    assert (found.verdict, found.observed) == (Verdict.FAILED, pytest.approx(0.95))


def test_a_process_that_was_hardly_there_has_a_part_in_peaks_alone() -> None:
    found = with_vitals(readings("cpu", ("api (pid 7)", [0.1, 0.2] * 30), ("api (pid 8)", [3.0, 3.0])))

    assert judged("mean(cpu) < 80%", found).verdict is Verdict.PASSED
    assert judged("peak(cpu) < 80%", found).verdict is Verdict.FAILED


def test_two_readings_make_no_mean() -> None:
    found = judged("mean(cpu) < 80%", with_vitals(readings("cpu", ("api (pid 7)", [0.1, 0.2]))))

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert found.reason == "api (pid 7): an interval needs 6 readings, there are 2: 4 more"


def test_a_limit_is_not_kept_while_nobody_looks() -> None:
    """Of 100 s the first 40 are read: what became of the memory after them is not known."""
    found = with_vitals(readings("rss", ("api (pid 7)", [100.0 * MIB] * 40)))

    answer = judged("peak(rss) < 256MiB", found)

    assert (answer.verdict, answer.observed) == (Verdict.NOT_ENOUGH_DATA, 100.0 * MIB)
    assert answer.reason.endswith("is the largest of 40 readings, and none for 60.5 s of 100 s")
    assert judged("peak(rss) < 64MiB", found).verdict is Verdict.FAILED
    rest = readings("rss", ("api (pid 8)", [90.0 * MIB] * 40), from_s=50.0)
    assert judged("peak(rss) < 256MiB", dataclasses.replace(found, vitals=pd.concat([found.vitals, rest]))).verdict is (
        Verdict.PASSED
    )


def test_requests_inside_are_added_up_over_the_processes() -> None:
    two = readings("in_flight", ("api (pid 7)", [6.0] * 60), ("api (pid 8)", [7.0] * 60))

    found = judged("peak(in_flight) < 10", with_vitals(two))

    assert (found.verdict, found.observed, found.n) == (Verdict.FAILED, 13.0, 60)
    assert found.reason == "all processes: 13 is the largest of 60 readings"


def test_a_percentile_of_readings_needs_as_many_as_one_of_requests() -> None:
    def lag(n: int) -> Verdict:
        return judged("p95(loop_lag) < 10ms", with_vitals(readings("loop_lag", ("api (pid 7)", [0.001] * n)))).verdict

    assert (lag(58), lag(59)) == (Verdict.NOT_ENOUGH_DATA, Verdict.PASSED)


def test_readings_from_before_and_after_the_measured_time_do_not_count() -> None:
    before = readings("cpu", ("api (pid 7)", [3.0] * 10), from_s=-20.0)
    during = readings("cpu", ("api (pid 7)", [0.5] * 60))
    after = readings("cpu", ("api (pid 7)", [3.0] * 10), from_s=110.0)

    assert judged("peak(cpu) < 100%", with_vitals(before, during, after)).n == 60
    assert judged("peak(cpu) < 100%", with_vitals(before, after)).verdict is Verdict.NOT_ENOUGH_DATA


def test_readings_are_judged_where_the_measured_time_is_not_known() -> None:
    found = dataclasses.replace(with_vitals(readings("cpu", ("api (pid 7)", [0.5] * 60))), stretches=())

    assert judged("peak(cpu) < 100%", found).verdict is Verdict.PASSED
    assert judged("peak(cpu) < 100%", dataclasses.replace(found, requests=found.requests.iloc[:0])).n == 0
