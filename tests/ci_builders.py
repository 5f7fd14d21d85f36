"""Findings of comparisons for the tests of what build servers are told."""

from __future__ import annotations

import dataclasses
from typing import Any

from report_builders import STARTED_NS

from harness.comparison import (
    AbFindings,
    BaselineFindings,
    BaselineMetric,
    Blame,
    CalibrationFindings,
    Change,
    ChangePoint,
    CompareFindings,
    Difference,
    HistoryFindings,
    HistoryRow,
    MetricChange,
    Noise,
    PairFindings,
    RunRef,
    Shift,
    SideRun,
    StageChange,
)
from harness.findings import Estimate, Verdict
from harness.model import RunWarning
from harness.report.cases import Findings

BLAMED = "Inference takes 21.5 ms longer (18.1 ms … 24.9 ms), 96 % of the change of the mean latency."
PLACE = (("python", "3.11.2"), ("cpu", "2 cores"))


def a_metric(metric: str = "p95", change: Change = Change.WORSE, **changes: Any) -> MetricChange:
    ratio = 1.12 if change is Change.WORSE else 1.01
    found = MetricChange(
        metric, "s", True, 0.2, 0.2 * ratio, Estimate(ratio, ratio - 0.03, ratio + 0.03, 5), at_most=ratio + 0.025,
        at_least=ratio - 0.025, detectable=1.07, p_value=0.001, sign_flip_p=0.03125, change=change,
        reason=f"{metric} is {change.value}",
    )  # fmt: skip
    return dataclasses.replace(found, **changes)


def a_side(run_id: str, p95: float) -> SideRun:
    return SideRun(run_id, 600, 1, (("p50", 0.1), ("p95", p95)), (("inference", 0.08),), (("det", 0.03),), False, ())


def a_pair(number: int) -> PairFindings:
    return PairFindings(number, "AB" if number % 2 else "BA", a_side(f"a{number}", 0.2), a_side(f"b{number}", 0.224),
                        True, "")  # fmt: skip


def some_stage_changes() -> tuple[StageChange, ...]:
    return (
        StageChange("inference", 0.08, 0.1015, Estimate(0.0215, 0.0181, 0.0249, 5), 0.96, True),
        StageChange("queue", 0.01, 0.011, Estimate(0.001, -0.001, 0.003, 5), 0.04, False),
        StageChange("postprocess", None, None, Estimate(None, None, None, 0, refusal="not known"), None, True),
    )


def an_ab(**changes: Any) -> AbFindings:
    """Five pairs that show a slow-down of the p95, and none of the p50."""
    found = AbFindings(
        schema_version=1, scenario="read-receipts", a="http://127.0.0.1:8001", b="http://127.0.0.1:8002",
        load="poisson 20/s, 5 s warm-up, 30 s", started_ns=STARTED_NS, duration_s=360.5, interrupted=False,
        allowed=0.05, strict_limit=0.15, strict=False, confidence=0.95, looks=(5, 7, 9), verdict=Verdict.FAILED,
        change=Change.WORSE, reasons=("p95 is 12 % worse (+9 % … +15 %), allowed +5 %",),
        sentences=("B is slower than A.", BLAMED),
        metrics=(a_metric("p50", Change.WITHIN), a_metric("p95"), a_metric("mean", gating=False)),
        stages=some_stage_changes(),
        blame=Blame("inference", "text-recognition", Estimate(0.0215, 0.0181, 0.0249, 5), 0.96, BLAMED),
        pairs=tuple(map(a_pair, range(1, 6))), warnings=(), accepted=(), environment=PLACE,
    )  # fmt: skip
    return dataclasses.replace(found, **changes)


def a_passed_ab(**changes: Any) -> AbFindings:
    usual = {"verdict": Verdict.PASSED, "change": Change.WITHIN, "reasons": (), "blame": None,
             "sentences": ("p95 is at most 3.5 % worse.",),
             "metrics": (a_metric("p50", Change.WITHIN), a_metric("p95", Change.NOT_FOUND))}  # fmt: skip
    return an_ab(**{**usual, **changes})


def a_run_ref(number: int = 1, **changes: Any) -> RunRef:
    return dataclasses.replace(
        RunRef(f"run-{number}", "read-receipts", STARTED_NS + number, "poisson 4/s", 240, Verdict.PASSED), **changes
    )


def a_baseline(**changes: Any) -> BaselineFindings:
    found = BaselineFindings(
        verdict=Verdict.FAILED, reasons=("p95 is above what 9 runs predict",), runs=tuple(map(a_run_ref, range(9))),
        left_out=(("run-x", "invalid"),),
        metrics=(
            BaselineMetric("p50", "s", 9, 0.1, 0.02, 0.101, 0.106, Change.NOT_FOUND, "within what the runs predict"),
            BaselineMetric("p95", "s", 9, 0.2, 0.03, 0.251, 0.218, Change.WORSE, "251 ms is above 218 ms"),
        ),
        allowed=0.05, sentences=("The p95 is higher than 9 earlier runs predict.",),
    )  # fmt: skip
    return dataclasses.replace(found, **changes)


def a_calibration(**changes: Any) -> CalibrationFindings:
    found = CalibrationFindings(
        schema_version=1, scenario="read-receipts", target="http://127.0.0.1:8000", load="poisson 20/s",
        started_ns=STARTED_NS, duration_s=700.0, interrupted=False, verdict=Verdict.PASSED, reasons=(), allowed=0.05,
        looks=(5, 7, 9),
        noise=(Noise("p95", "s", 0.2, Estimate(0.03, 0.02, 0.05, 10), ((5, 1.09), (9, 1.06))),),
        false_alarms=Estimate(0.0, 0.0, 0.01, 252), sentences=("Five pairs find +9 % here.",),
        pairs=tuple(map(a_pair, range(1, 11))), warnings=(), environment=PLACE,
    )  # fmt: skip
    return dataclasses.replace(found, **changes)


def a_comparison(**changes: Any) -> CompareFindings:
    found = CompareFindings(
        schema_version=1, a=a_run_ref(1), b=a_run_ref(2),
        differences=(Difference("commit", "a1b2", "c3d4", False, "They are of different commits: a1b2 and c3d4."),),
        metrics=(a_metric("p95", Change.NOT_FOUND, gating=False),), stages=some_stage_changes(), models=(),
        shifts=(Shift(0.5, 0.1, 0.11, Estimate(0.01, 0.005, 0.015, 480)),
                Shift(0.99, None, None, Estimate(None, None, None, 480), "needs 368 requests, has 240")),
        tail=(("inference", 0.02), ("queue", 0.004)), sentences=("The p95 is 24 ms higher in B.",),
    )  # fmt: skip
    return dataclasses.replace(found, **changes)


def a_history(**changes: Any) -> HistoryFindings:
    rows = tuple(HistoryRow(a_run_ref(i), "a1b2c3", 0.1, 0.2, 0.0, 4.0, "inference", True) for i in range(3))
    change = ChangePoint("p95", "run-1", "run-2", 0.2, 0.25, 0.002, "The p95 rose by 25 % after run-1.")
    return dataclasses.replace(HistoryFindings(1, "read-receipts", rows, (change,), ("3 runs.",)), **changes)


def every_judged() -> list[Findings]:
    """One of each kind that has a verdict, and what came to nothing."""
    warning = RunWarning("noise", "the machine was busy", "close the browser", True)
    nothing = an_ab(verdict=Verdict.NOT_ENOUGH_DATA, reasons=("no pair counts",), metrics=(), stages=(), blame=None,
                    pairs=(), sentences=(), duration_s=0.0)  # fmt: skip
    return [
        an_ab(), a_passed_ab(), an_ab(verdict=Verdict.INVALID, warnings=(warning,)), nothing, a_baseline(),
        a_baseline(verdict=Verdict.NOT_ENOUGH_DATA, reasons=("needs 8 runs, has 0",), runs=(), metrics=()),
        a_calibration(), a_calibration(verdict=Verdict.INVALID, warnings=(warning,), noise=(), pairs=()),
    ]  # fmt: skip


def a_hostile_ab(text: str) -> AbFindings:
    """Pairs that say `text` wherever a text from outside can stand."""
    usual = an_ab()
    assert usual.blame is not None
    return dataclasses.replace(
        usual, scenario=text, a=text, b=text, load=text, reasons=(text,), sentences=(text, text),
        metrics=tuple(dataclasses.replace(m, metric=text, reason=text) for m in usual.metrics),
        stages=tuple(dataclasses.replace(s, stage=text) for s in usual.stages),
        blame=dataclasses.replace(usual.blame, stage=text, model=text, sentence=text),
        warnings=(RunWarning(text, text, text, True),), accepted=(text,), environment=((text, text),),
    )  # fmt: skip
