"""A new run against earlier ones, and a calibration."""

from __future__ import annotations

from collections.abc import Sequence

from harness.comparison import (
    BaselineFindings,
    BaselineMetric,
    CalibrationFindings,
    Change,
)
from harness.findings import Verdict
from harness.report.cases.words import (
    Case,
    Told,
    change_text,
    closed,
    hints_of,
    property_rows,
    value_text,
    with_hint,
)
from harness.report.lines import VERDICT_WORDS


def of_baseline(found: BaselineFindings) -> Told:
    cases = [_of_baseline_metric(metric, found.sentences) for metric in found.metrics]
    newest = max((run.started_ns for run in found.runs), default=0)
    scenario = found.runs[0].scenario if found.runs else "baseline"
    properties = (
        ("n", str(len(found.runs))), ("allowed", change_text(1 + found.allowed)),
        ("runs", " ".join(run.run_id for run in found.runs)),
    )  # fmt: skip
    return Told(
        scenario=scenario,
        kind="baseline",
        verdict=found.verdict,
        headline=VERDICT_WORDS[found.verdict],
        reasons=found.reasons,
        cases=closed(found.verdict, cases, found.reasons, ()),
        properties=property_rows(scenario, properties, VERDICT_WORDS[found.verdict], ()),
        at_most="",
        sentences=found.sentences,
        notes=tuple(f"baseline {run} is left out: {why}" for run, why in found.left_out),
        started_ns=newest,
        duration_s=0.0,
    )


def _of_baseline_metric(metric: BaselineMetric, sentences: Sequence[str]) -> Case:
    verdicts = {Change.WORSE: Verdict.FAILED, Change.UNKNOWN: Verdict.NOT_ENOUGH_DATA}
    verdict = verdicts.get(metric.change, Verdict.PASSED)
    typical, value, limit = (value_text(v, metric.unit) for v in (metric.typical, metric.value, metric.limit))
    said = f"{metric.metric}: {value}, typically {typical}, limit {limit} (n = {metric.n:,} baseline runs)"
    because = {Verdict.FAILED: tuple(sentences[:2]), Verdict.NOT_ENOUGH_DATA: ("hint: store more baseline runs",)}
    said = f"{said}; {metric.reason}" if metric.reason else said
    return Case(f"{metric.metric}: as earlier runs predict", verdict, said, because.get(verdict, ()))


def of_calibration(found: CalibrationFindings) -> Told:
    hints = hints_of(found.warnings)
    return Told(
        scenario=found.scenario,
        kind="calibration",
        verdict=found.verdict,
        headline=VERDICT_WORDS[found.verdict],
        reasons=found.reasons,
        cases=closed(found.verdict, [], found.reasons, hints),
        properties=property_rows(
            found.scenario,
            (("target", found.target), ("pairs", str(len(found.pairs))), ("load", found.load)),
            VERDICT_WORDS[found.verdict],
            (),
        ),
        at_most="",
        sentences=found.sentences,
        notes=tuple(map(with_hint, found.warnings)),
        started_ns=found.started_ns,
        duration_s=found.duration_s,
    )
