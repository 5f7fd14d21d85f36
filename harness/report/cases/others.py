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
from harness.report import figures
from harness.report.cases.words import (
    Case,
    Told,
    change_text,
    closed,
    hints_of,
    property_rows,
    with_hint,
)
from harness.report.verdict_text import VERDICT_WORDS, noted, tone

CALIBRATED = "calibrated"
EARLIER = "against earlier runs"


def of_baseline(found: BaselineFindings, run: Told | None = None) -> Told:
    """`run` is what is held against the earlier ones, where that is known."""
    cases = [_of_baseline_metric(metric, found.sentences) for metric in found.metrics]
    newest = max((ref.started_ns for ref in found.runs), default=0)
    scenario = run.scenario if run is not None else found.runs[0].scenario if found.runs else "baseline"
    word = VERDICT_WORDS[found.verdict]
    properties = (
        ("n", str(len(found.runs))), ("allowed", change_text(1 + found.allowed)),
        ("runs", " ".join(ref.run_id for ref in found.runs)),
    )  # fmt: skip
    return Told(
        scenario=scenario,
        kind="baseline",
        verdict=found.verdict,
        tone=found.verdict,
        headline=f"{EARLIER}: {word}",
        reasons=found.reasons,
        cases=closed(found.verdict, cases, found.reasons, ()),
        properties=property_rows(scenario, properties, word, ()),
        at_most="",
        sentences=found.sentences,
        accepted=(),
        notes=tuple(f"baseline {name} is left out: {why}" for name, why in found.left_out),
        started_ns=newest if run is None else run.started_ns,
        duration_s=0.0,
    )


def _of_baseline_metric(metric: BaselineMetric, sentences: Sequence[str]) -> Case:
    verdicts = {Change.WORSE: Verdict.FAILED, Change.UNKNOWN: Verdict.NOT_ENOUGH_DATA}
    verdict = verdicts.get(metric.change, Verdict.PASSED)
    typical, value, limit = (figures.in_unit(v, metric.unit) for v in (metric.typical, metric.value, metric.limit))
    said = f"{metric.metric}: {value}, typically {typical}, limit {limit} (n = {metric.n:,} baseline runs)"
    because = {Verdict.FAILED: tuple(sentences[:2]), Verdict.NOT_ENOUGH_DATA: ("hint: store more baseline runs",)}
    said = f"{said}; {metric.reason}" if metric.reason else said
    return Case(f"{metric.metric}: as earlier runs predict", verdict, said, because.get(verdict, ()))


def of_calibration(found: CalibrationFindings) -> Told:
    """A calibration judges nothing: where it has enough pairs it is `calibrated`."""
    judged = found.verdict is not Verdict.INVALID
    word = CALIBRATED if found.verdict is Verdict.PASSED else VERDICT_WORDS[found.verdict]
    headline = noted(word, [], accepted=False, interrupted=found.interrupted, judged=judged)
    properties = (("target", found.target), ("pairs", str(len(found.pairs))), ("load", found.load))
    return Told(
        scenario=found.scenario,
        kind="calibration",
        verdict=found.verdict,
        tone=tone(found.verdict, found.interrupted),
        headline=headline,
        reasons=found.reasons,
        cases=closed(found.verdict, [], found.reasons, hints_of(found.warnings), (), found.interrupted),
        properties=property_rows(found.scenario, properties, headline, ()),
        at_most="",
        sentences=found.sentences if judged else (),
        accepted=(),
        notes=tuple(map(with_hint, found.warnings)),
        started_ns=found.started_ns,
        duration_s=found.duration_s,
    )
