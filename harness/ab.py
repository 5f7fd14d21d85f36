"""`harness ab`: is B slower than A by more than is allowed? Pairs are measured until they decide, or are enough."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from harness import described
from harness.analysis.comparing import ab_words, words
from harness.analysis.comparing.judged import QUANTILES, Judged, judged, unjudged
from harness.analysis.comparing.paired import ERROR_RATE, Rule
from harness.analysis.statistics.quantiles import needed
from harness.comparison import SCHEMA_VERSION, AbFindings, Change, PairFindings
from harness.errors import HarnessError, Interrupted, RunFolderError
from harness.findings import Verdict
from harness.model import Arrivals, RunWarning
from harness.pairs import Bench, measure, say_what_is_kept, spare, store
from harness.report import ab_text, job_summary, junit
from harness.report.json_findings import render_findings
from harness.run_folder import RunFolder

AB_FILE = "ab.json"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a comparison. `strict`: what is not decided has not passed."""

    rule: Rule
    strict: bool = False
    gating: tuple[str, ...] = ()  # metrics that decide; empty: the usual ones


def run_ab(bench: Bench, ask: Ask) -> AbFindings:
    """Measure and judge; after each pair the findings so far are in the folder's ab.json, as if it ended there.

    Ctrl-C ends it with what the pairs so far allow to say. Raises what a side's start, or a target that is not there,
    raises, with the place of the pairs before.
    """
    started_ns = time.time_ns()
    pairs: list[PairFindings] = []
    interrupted = False
    try:
        for _ in _until_decided(bench, ask, pairs):
            _store(bench, findings(bench, ask, pairs, started_ns, interrupted=True))
    except Interrupted:
        interrupted = True
        if not pairs:
            raise
    except HarnessError as error:
        say_what_is_kept(error, bench.folder.path / AB_FILE, len(pairs))
        raise
    return _store(bench, findings(bench, ask, pairs, started_ns, interrupted=interrupted))


def _until_decided(bench: Bench, ask: Ask, pairs: list[PairFindings]) -> Iterator[None]:
    """Adds pairs; yields after each one."""
    rule = ask.rule
    for pair in measure(bench):
        pairs.append(pair)
        bench.say(ab_text.pair_line(pair))
        yield
        counted = [each for each in pairs if each.counted]
        if too_many_invalid(pairs, rule.looks[-1]) or (pair.counted and pair.b.died is not None):
            return
        if pair.counted and len(counted) in rule.looks:
            look = rule.looks.index(len(counted))
            found = judged(counted, rule, look, gating_of(bench, ask.gating))
            if found.decided or look == len(rule.looks) - 1:
                return
            bench.say(ab_text.undecided_line(found.metrics, len(counted), rule.looks[look + 1]))


def too_many_invalid(pairs: list[PairFindings], planned: int) -> bool:
    """Whether so many pairs do not count that what spoils them is no chance."""
    return sum(not pair.counted for pair in pairs) > spare(planned)


def gating_of(bench: Bench, asked: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The metrics that decide. An open loop's throughput is that of its schedule: it says nothing of its own."""
    closed = bench.scenario.load.arrivals is Arrivals.USERS
    usual = ("p50", "p95", "throughput") if closed else ("p50", "p95")
    return (*(asked or usual), ERROR_RATE)


def findings(bench: Bench, ask: Ask, pairs: list[PairFindings], started_ns: int, *, interrupted: bool) -> AbFindings:
    """What the pairs so far come to."""
    rule = ask.rule
    counted = [pair for pair in pairs if pair.counted]
    look = max((i for i, size in enumerate(rule.looks) if size <= len(counted)), default=0)
    # Pairs beyond a look are not judged before the next one: each glance more would be a chance more of a false alarm.
    used = counted[: rule.looks[look]]
    gating = gating_of(bench, ask.gating)
    found = judged(used, rule, look, gating)
    silence = _silence(rule, pairs, len(counted))
    if silence is not None:
        found = unjudged(found, silence)
    verdict, reasons = _verdict(ask, pairs, found, interrupted)
    return AbFindings(
        schema_version=SCHEMA_VERSION,
        scenario=bench.scenario.name,
        a=bench.a.label,
        b=bench.b.label,
        load=described.load_line(bench.scenario),
        started_ns=started_ns,
        duration_s=(time.time_ns() - started_ns) / 1e9,
        interrupted=interrupted,
        allowed=rule.allowed,
        strict_limit=rule.strict_limit,
        strict=ask.strict,
        confidence=rule.confidence,
        looks=rule.looks,
        verdict=verdict,
        change=found.change,
        reasons=reasons,
        sentences=ab_words.sentences(found, rule, len(used)) if silence is None else (),
        metrics=found.metrics,
        stages=found.stages,
        blame=found.blame,
        pairs=tuple(pairs),
        warnings=_warnings(bench, counted, gating),
        accepted=tuple(dict.fromkeys(each for pair in pairs for run in (pair.a, pair.b) for each in run.accepted)),
        environment=bench.environment,
    )


def _verdict(ask: Ask, pairs: list[PairFindings], found: Judged, interrupted: bool) -> tuple[Verdict, tuple[str, ...]]:
    counted = sum(pair.counted for pair in pairs)
    died = tuple(f"pair {pair.number}, B: {pair.b.died}" for pair in pairs if pair.counted and pair.b.died is not None)
    if died:
        return Verdict.FAILED, died
    if too_many_invalid(pairs, ask.rule.looks[-1]):
        wrong = dict.fromkeys(f"pair {pair.number}, {pair.reason}" for pair in pairs if not pair.counted)
        return Verdict.INVALID, tuple(wrong)
    if counted < ask.rule.looks[0]:
        why = "it was interrupted: " if interrupted else ""
        left_out = tuple(f"pair {pair.number} does not count, {pair.reason}" for pair in pairs if not pair.counted)
        return Verdict.NOT_ENOUGH_DATA, (f"{why}{counted} of {ask.rule.looks[0]} pairs were measured", *left_out)
    if worse := _reasons(found, Change.WORSE):
        return Verdict.FAILED, worse
    if unknown := _reasons(found, Change.UNKNOWN):
        return Verdict.NOT_ENOUGH_DATA, unknown
    if found.change is Change.NOT_FOUND and ask.strict:
        limit = f"a slow-down of {words.percent(ask.rule.strict_limit)} is not ruled out"
        judged_on = max(size for size in ask.rule.looks if size <= counted)
        return Verdict.NOT_ENOUGH_DATA, (f"{limit} after {judged_on} pairs, which --strict asks for",)
    return Verdict.PASSED, ()


def _silence(rule: Rule, pairs: list[PairFindings], counted: int) -> str | None:
    """Why the pairs are not judged. A glance before the first look would be a chance more of a false alarm."""
    if too_many_invalid(pairs, rule.looks[-1]):
        return "not judged: too many pairs do not count"
    if counted < rule.looks[0]:
        return f"not judged: {counted} of {rule.looks[0]} pairs"
    return None


def _reasons(found: Judged, change: Change) -> tuple[str, ...]:
    return tuple(f"{each.metric}: {each.reason}" for each in found.metrics if each.gating and each.change is change)


def _warnings(bench: Bench, counted: list[PairFindings], gating: tuple[str, ...]) -> tuple[RunWarning, ...]:
    warnings = []
    if (bench.a.target, bench.a.start) == (bench.b.target, bench.b.start):
        message = "A and B are the same: what this finds is the noise of the machine, or a false alarm"
        warnings.append(RunWarning("same_sides", message, "`harness calibrate` measures that on purpose"))
    if bench.a.start is None or bench.b.start is None:
        message = "a side given as a URL is one process for all pairs: what it happens to be like counts as a change"
        hint = "give --a-cmd and --b-cmd, which are started anew for each run"
        warnings.append(RunWarning("one_process", message, hint))
    elif bench.scenario.load.warmup_s == 0.0:
        message = "without a warm-up the first requests of each run meet a service that has just started"
        warnings.append(RunWarning("cold_start", message, "give --warmup, e.g. --warmup 5s"))
    if len(bench.scenario.load.steps) > 1:
        message = "the steps of the load are judged together: a change at one rate alone shows in part"
        warnings.append(RunWarning("several_steps", message, "give one rate, e.g. --rate 20/s"))
    if behind := sum(pair.b.unstable for pair in counted):
        message = f"B answered fewer than came in {behind} of {len(counted)} runs: its figures grow with their length"
        warnings.append(
            RunWarning("candidate_unstable", message, "compare at a lower rate to see how much slower it is")
        )
    warnings += _thin(counted, gating)
    waits = ab_words.waiting_share(counted)
    if waits is not None and waits > 0.5:
        message = (
            f"{words.percent(round(waits, 2))} of A's latency is waiting: near saturation every figure varies much more"
        )
        warnings.append(RunWarning("near_saturation", message, "compare at about half of what A holds"))
    return tuple(warnings)


def _thin(counted: list[PairFindings], gating: tuple[str, ...]) -> list[RunWarning]:
    """Quantiles that decide and stand on a handful of requests: pairs carry them, and little beyond these pairs."""
    n = min((run.n for pair in counted for run in (pair.a, pair.b)), default=0)
    least = {metric: needed(float(metric[1:]) / 100.0) for metric in gating if metric in QUANTILES}
    return [
        RunWarning(
            "few_requests",
            f"{metric} of a run of {n:,} requests is one of its few slowest and differs much from run to run",
            f"give a --duration of {requests:,} requests and more, or decide on p50",
        )
        for metric, requests in least.items()
        if 0 < n < requests
    ]


def write_reports(folder: RunFolder, found: AbFindings) -> tuple[str, ...]:
    """report.md and junit.xml beside ab.json; their names. A full disk costs the files, not the answer."""
    written = []
    for name, render in (("report.md", job_summary.render), ("junit.xml", junit.render)):
        with suppress(RunFolderError):
            folder.write_text(name, render(found))
            written.append(name)
    return tuple(written)


def _store(bench: Bench, found: AbFindings) -> AbFindings:
    return replace(found, warnings=(*found.warnings, *store(bench, AB_FILE, render_findings(found))))
