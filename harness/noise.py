"""`harness calibrate`: pairs of the same thing twice show how much this machine's runs vary, and what they can find."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from harness import described
from harness.ab import gating_of, too_many_invalid
from harness.analysis.comparing import words
from harness.analysis.comparing.calibrated import false_alarms, noise
from harness.analysis.comparing.judged import failures_of, values_of
from harness.analysis.comparing.paired import Rule
from harness.comparison import SCHEMA_VERSION, CalibrationFindings, Noise, PairFindings
from harness.environment import fingerprint
from harness.errors import HarnessError, Interrupted
from harness.estimates import Estimate
from harness.findings import Verdict
from harness.model import RunWarning, Scenario
from harness.pairs import Bench, measure, paired, say_what_is_kept, store
from harness.report import ab_text
from harness.report.json_findings import parse_findings, render_findings

CALIBRATION_FILE = "calibration.json"
LEAST_PAIRS = 5
_OF_MACHINE = ("machine", "cpu", "cores", "memory", "governor")
"""Parts of the fingerprint that a calibration holds for; the versions of the software move its noise little."""


def calibrate(bench: Bench, pairs: int, rule: Rule) -> CalibrationFindings:
    """Measure A/A pairs; after each the findings so far are in the folder's calibration.json. Raises as `run_ab`."""
    started_ns = time.time_ns()
    measured: list[PairFindings] = []
    interrupted = False
    try:
        for pair in map(of_equals, measure(bench)):
            measured.append(pair)
            bench.say(ab_text.pair_line(pair))
            if sum(each.counted for each in measured) >= pairs or too_many_invalid(measured, pairs):
                break
            _store(bench, findings(bench, measured, rule, started_ns, interrupted=True, planned=pairs))
    except Interrupted:
        interrupted = True
        if not measured:
            raise
    except HarnessError as error:
        say_what_is_kept(error, bench.folder.path / CALIBRATION_FILE, len(measured))
        raise
    return _store(bench, findings(bench, measured, rule, started_ns, interrupted=interrupted, planned=pairs))


def of_equals(pair: PairFindings) -> PairFindings:
    """Here B is no candidate: what spoils a run of A spoils one of B, too."""
    turned = paired(pair.number, pair.order, pair.b, pair.a)
    if not pair.counted or turned.counted:
        return pair
    return replace(pair, counted=False, reason=turned.reason.replace("A: ", "B: ", 1))


def findings(
    bench: Bench,
    pairs: list[PairFindings],
    rule: Rule,
    started_ns: int,
    *,
    interrupted: bool,
    planned: int | None = None,
) -> CalibrationFindings:
    """What the pairs so far show; `planned`: how many were to count, if not just these."""
    counted = [pair for pair in pairs if pair.counted]
    verdict, reasons = _verdict(pairs, planned or len(pairs), len(counted), interrupted)
    noises = noise(values_of(counted), rule)
    gating = gating_of(bench)
    alarms = false_alarms(values_of(counted), failures_of(counted), rule, gating, bench.scenario.load.seed)
    return CalibrationFindings(
        schema_version=SCHEMA_VERSION,
        scenario=bench.scenario.name,
        target=bench.a.label,
        load=described.load_line(bench.scenario),
        started_ns=started_ns,
        duration_s=(time.time_ns() - started_ns) / 1e9,
        interrupted=interrupted,
        verdict=verdict,
        reasons=reasons,
        allowed=rule.allowed,
        looks=rule.looks,
        noise=noises,
        false_alarms=alarms,
        sentences=_sentences(noises, gating, alarms, rule, len(counted)),
        pairs=tuple(pairs),
        warnings=_warnings(bench),
        environment=bench.environment,
    )


def _verdict(
    pairs: list[PairFindings], planned: int, counted: int, interrupted: bool
) -> tuple[Verdict, tuple[str, ...]]:
    if too_many_invalid(pairs, planned):
        return Verdict.INVALID, tuple(f"pair {pair.number}, {pair.reason}" for pair in pairs if not pair.counted)
    why = "it was interrupted: " if interrupted else ""
    if counted < LEAST_PAIRS:
        return Verdict.NOT_ENOUGH_DATA, (f"{why}{counted} pairs were measured, {LEAST_PAIRS} are the least",)
    return Verdict.PASSED, (f"{why}{counted} of {planned} pairs were measured",) if interrupted else ()


def _sentences(
    noises: tuple[Noise, ...], gating: tuple[str, ...], alarms: Estimate, rule: Rule, pairs: int
) -> tuple[str, ...]:
    said = []
    for each in noises:
        if each.metric in gating and each.deviation.value is not None and each.detectable:
            sizes = ", ".join(f"{words.change(ratio)} with {n} pairs" for n, ratio in each.detectable)
            said.append(
                f"{each.metric} varies by {100 * each.deviation.value:.1f}% between two runs of the same thing; "
                f"a comparison finds (in 4 of 5): {sizes}."
            )
    if alarms.value is not None:
        said.append(
            f"With the sides of these {pairs} pairs dealt anew at random, a comparison with "
            f"{words.percent(rule.allowed)} allowed fails in {100 * alarms.value:.1f}% of the replays, though nothing "
            "changed; noise that these pairs did not meet is not in that."
        )
    return tuple(said)


def _warnings(bench: Bench) -> tuple[RunWarning, ...]:
    if bench.a.start is not None:
        return ()
    message = "one process served all runs: how much processes of it differ among each other is not in these figures"
    return (RunWarning("one_process", message, "give --cmd, which is started anew for each run"),)


def _store(bench: Bench, found: CalibrationFindings) -> CalibrationFindings:
    return replace(found, warnings=(*found.warnings, *store(bench, CALIBRATION_FILE, render_findings(found))))


def latest(parent: Path, scenario: Scenario) -> CalibrationFindings | None:
    """The newest calibration below `parent` of this scenario and load, made on a machine like this one; else None."""
    load, machine = described.load_line(scenario), _machine(fingerprint())
    for path in sorted(parent.glob(f"*/{CALIBRATION_FILE}"), reverse=True):
        try:
            found = parse_findings(CalibrationFindings, path.read_text(encoding="utf-8"))
        except (HarnessError, OSError, ValueError):
            continue
        same = found.scenario == scenario.name and found.load == load and _machine(found.environment) == machine
        if same and found.verdict is Verdict.PASSED and found.schema_version == SCHEMA_VERSION:
            return found
    return None


def _machine(environment: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name: text for name, text in environment if name in _OF_MACHINE}
