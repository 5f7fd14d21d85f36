"""`harness calibrate`: pairs of the same thing twice show how much this machine's runs vary, and what they can find."""

from __future__ import annotations

import time
from pathlib import Path

from harness import described
from harness.ab import gating_of
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
from harness.pairs import SPARE, Bench, measure
from harness.report import ab_text
from harness.report.json_findings import parse_findings, render_findings

CALIBRATION_FILE = "calibration.json"
LEAST_PAIRS = 5
_OF_MACHINE = ("machine", "cpu", "cores", "memory", "governor")
"""Parts of the fingerprint that a calibration holds for; the versions of the software move its noise little."""


def calibrate(bench: Bench, pairs: int, rule: Rule) -> CalibrationFindings:
    """Measure A/A pairs; the findings so far are in the folder's calibration.json after each. Raises as `run_ab`."""
    started_ns = time.time_ns()
    measured: list[PairFindings] = []
    interrupted = False
    try:
        for pair in measure(bench):
            measured.append(pair)
            bench.say(ab_text.pair_line(pair))
            counted = sum(each.counted for each in measured)
            if counted >= pairs or len(measured) - counted > SPARE:
                break
            _store(bench, findings(bench, measured, rule, started_ns, interrupted=False))
    except Interrupted:
        interrupted = True
        if not measured:
            raise
    found = findings(bench, measured, rule, started_ns, interrupted=interrupted)
    _store(bench, found)
    return found


def findings(
    bench: Bench, pairs: list[PairFindings], rule: Rule, started_ns: int, *, interrupted: bool
) -> CalibrationFindings:
    """What the pairs so far show."""
    counted = [pair for pair in pairs if pair.counted]
    verdict, reasons = _verdict(pairs, counted, interrupted)
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
        verdict=verdict,
        reasons=reasons,
        allowed=rule.allowed,
        looks=rule.looks,
        noise=noises,
        false_alarms=alarms,
        sentences=_sentences(noises, gating, alarms, rule, len(counted)),
        pairs=tuple(pairs),
        warnings=_warnings(bench),
        environment=fingerprint(),
    )


def _verdict(
    pairs: list[PairFindings], counted: list[PairFindings], interrupted: bool
) -> tuple[Verdict, tuple[str, ...]]:
    if len(pairs) - len(counted) > SPARE:
        return Verdict.INVALID, tuple(f"pair {pair.number}, {pair.reason}" for pair in pairs if not pair.counted)
    if len(counted) < LEAST_PAIRS:
        why = "it was interrupted: " if interrupted else ""
        return Verdict.NOT_ENOUGH_DATA, (f"{why}{len(counted)} pairs were measured, {LEAST_PAIRS} are the least",)
    return Verdict.PASSED, ()


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
    if alarms.value is not None and alarms.high is not None:
        said.append(
            f"Replayed on these {pairs} pairs, a comparison with {words.percent(rule.allowed)} allowed fails in "
            f"{100 * alarms.value:.1f}% of the replays (at most {100 * alarms.high:.1f}%), though nothing changed."
        )
    return tuple(said)


def _warnings(bench: Bench) -> tuple[RunWarning, ...]:
    if bench.a.start is not None:
        return ()
    message = "one process served all runs: how much processes of it differ among each other is not in these figures"
    return (RunWarning("one_process", message, "give --cmd, which is started anew for each run"),)


def _store(bench: Bench, found: CalibrationFindings) -> None:
    bench.folder.write_text(CALIBRATION_FILE, render_findings(found))


def latest(parent: Path, scenario: Scenario) -> CalibrationFindings | None:
    """The newest calibration below `parent` of this scenario and load, made on a machine like this one; else None."""
    load, machine = described.load_line(scenario), _machine(fingerprint())
    for path in sorted(parent.glob(f"*/{CALIBRATION_FILE}"), reverse=True):
        try:
            found = parse_findings(CalibrationFindings, path.read_text(encoding="utf-8"))
        except (HarnessError, OSError, ValueError):
            continue
        same = found.scenario == scenario.name and found.load == load and _machine(found.environment) == machine
        if same and found.verdict is Verdict.PASSED:
            return found
    return None


def _machine(environment: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name: text for name, text in environment if name in _OF_MACHINE}
