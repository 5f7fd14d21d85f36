"""A comparison by pairs on the console: the verdict first, then the figures."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial

from rich.console import Console
from rich.table import Table

from harness.analysis.comparing import words
from harness.comparison import AbFindings, Change, MetricChange, PairFindings, SideRun, StageChange
from harness.findings import Verdict
from harness.model import Scenario
from harness.report.text import visible
from harness.scenario.target import host_of, is_loopback
from harness.units import format_duration, format_rate, format_share

_COLOURS = {Verdict.PASSED: "green", Verdict.FAILED: "red"}
_WORDS = {Change.WORSE: "worse", Change.WITHIN: "within", Change.NOT_FOUND: "not found", Change.UNKNOWN: "unknown"}


def plan_line(scenario: Scenario, a: str, b: str, looks: Sequence[int]) -> str:
    """What is about to be sent, before the first pair."""
    run_s = scenario.load.end_s
    pairs = f"{looks[0]} to {looks[-1]} pairs" if len(looks) > 1 else f"{looks[0]} pairs"
    took = dict.fromkeys(format_duration(2 * look * run_s) for look in (looks[0], looks[-1]))
    what = f"{visible(scenario.name)}: {pairs}, each side {format_duration(run_s, trim=True)} a run"
    lines = [f"{what}: {' to '.join(took)} of load", f"A  {visible(a, 300)}", f"B  {visible(b, 300)}"]
    hosts = dict.fromkeys(host_of(side) for side in (a, b) if side.startswith(("http://", "https://")))
    away = [host for host in hosts if not is_loopback(host)]
    if away:
        lines.append(f"another host ({visible(', '.join(away))}): every request says who sends it; Ctrl-C stops")
    return "\n".join(lines)


def pair_line(pair: PairFindings) -> str:
    """One finished pair, while others are measured."""
    sides = "   ".join(f"{name} {_side(run)}" for name, run in (("A", pair.a), ("B", pair.b)))
    why = "" if pair.counted else f"  not counted: {visible(pair.reason, 500)}"
    return f"pair {pair.number} ({pair.order})  {sides}{why}"


def _side(run: SideRun) -> str:
    values = dict(run.values)
    shown = [f"{name} {value_text('s', values.get(name))}" for name in ("p50", "p95")]
    failed = f", {run.failed} failed" if run.failed else ""
    return f"{' '.join(shown)} (n = {run.n}{failed})"


def undecided_line(metrics: Sequence[MetricChange], pairs: int, next_look: int) -> str:
    """Between two looks: why it goes on."""
    known = [metric for metric in metrics if metric.gating and metric.ratio.low is not None]
    shown = ", ".join(f"{metric.metric} {words.changed(metric.ratio)}" for metric in known)
    return f"after {pairs} pairs: {f'{shown}; ' if shown else ''}not decided, {next_look - pairs} more"


def as_text(found: AbFindings) -> Callable[..., str]:
    """The comparison as text, as wide and coloured as it will be asked for."""
    return partial(render, found)


def headline(found: AbFindings) -> str:
    """The verdict in one line."""
    if found.verdict is Verdict.PASSED:
        allowed, strict = words.percent(found.allowed), words.percent(found.strict_limit)
        none = f"no slow-down beyond {allowed} found"
        words_of = f"PASSED: {none if found.change is Change.NOT_FOUND else f'a slow-down of {strict} is ruled out'}"
    else:
        words_of = {
            Verdict.FAILED: f"FAILED: {_failed(found)}",
            Verdict.NOT_ENOUGH_DATA: "NOT ENOUGH DATA",
            Verdict.INVALID: "INVALID MEASUREMENT",
        }[found.verdict]
    judged = [size for size in found.looks if size <= sum(pair.counted for pair in found.pairs)]
    notes = []
    if found.accepted:
        notes.append("an invalid measurement, accepted as it is")
    if found.interrupted and judged and found.verdict in (Verdict.PASSED, Verdict.FAILED):
        notes.append(f"interrupted: judged on the first {judged[-1]} pairs")
    return f"{words_of} ({'; '.join(notes)})" if notes else words_of


def _failed(found: AbFindings) -> str:
    worse = [metric.metric for metric in found.metrics if metric.gating and metric.change is Change.WORSE]
    if not worse:
        return "the service of B ended under load"
    return "more requests of B fail" if worse == ["error_rate"] else "B is slower than A"


def render(found: AbFindings, width: int = 100, colour: bool = False) -> str:
    """The whole comparison, as wide as asked for."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False, markup=False)
    _opening(console, found)
    if found.pairs:
        console.print(_metrics(found))
        console.print(_legend(found), style="dim")
    if found.stages:
        console.print()
        console.print(_stages(found))
    if found.warnings:
        console.print()
    for warning in found.warnings:
        console.print(f"warning: {visible(warning.message, 500)}")
        console.print(f"  hint: {visible(warning.hint, 500)}")
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _opening(console: Console, found: AbFindings) -> None:
    counted = sum(pair.counted for pair in found.pairs)
    console.print(headline(found), style=f"bold {_COLOURS.get(found.verdict, 'yellow')}")
    for reason in found.reasons:
        console.print(f"  {visible(reason, 500)}")
    for doubt in found.accepted:
        console.print(f"  accepted as it is: {visible(doubt, 500)}")
    console.print(f"A  {visible(found.a, 300)}")
    console.print(f"B  {visible(found.b, 300)}")
    left = len(found.pairs) - counted
    also = f", {left} not counted" if left else ""
    console.print(
        f"{visible(found.scenario)}: {visible(found.load, 300)}; {counted} pair{'' if counted == 1 else 's'}{also}; "
        f"a slow-down of {words.percent(found.allowed)} is allowed"
    )
    console.print()
    for sentence in found.sentences:
        console.print(f"- {visible(sentence, 1000)}")
    if found.sentences:
        console.print()


def _metrics(found: AbFindings) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left")
    for name in ("metric", "A", "B", "worse by", "interval", "at most", "finds", ""):
        table.add_column(name, justify="left" if name in ("metric", "") else "right")
    for metric in found.metrics:
        table.add_row(
            visible(metric.metric),
            value_text(metric.unit, metric.a),
            value_text(metric.unit, metric.b),
            ratio_text(metric.ratio.value),
            _interval(metric),
            ratio_text(metric.at_most),
            ratio_text(metric.detectable),
            _word(metric) if metric.gating else "",
        )
    return table


def _word(metric: MetricChange) -> str:
    return "not judged" if metric.reason.startswith("not judged") else _WORDS[metric.change]


def _legend(found: AbFindings) -> str:
    """What the columns are."""
    confidence = words.percent(found.metrics[0].ratio.confidence) if found.metrics else ""
    deciding = ", ".join(metric.metric for metric in found.metrics if metric.gating)
    return (
        f"worse by: B against A, of throughput A against B; interval and upper limit at {confidence}, n = pairs; "
        f"finds: what 4 of 5 such comparisons would call worse; {deciding} decide"
    )


def _stages(found: AbFindings) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("stage (mean)", "A", "B", "change", "interval", "of the change", ""):
        table.add_column(name, justify="left" if name in ("stage (mean)", "") else "right")
    for stage in found.stages:
        if not stage.a_s and not stage.b_s:
            continue
        named = found.blame is not None and found.blame.stage == stage.stage
        table.add_row(
            visible(stage.stage),
            format_duration(stage.a_s),
            format_duration(stage.b_s),
            _signed(stage.change.value),
            _between(stage),
            "-" if stage.share is None else format_share(stage.share),
            "<- changed" if named else "waits" if not stage.works else "",
        )
    return table


def value_text(unit: str, value: float | None) -> str:
    """A value of a metric, or that it lies among the failed requests."""
    if value is None:
        return "-"
    if value == float("inf"):
        return "failed"
    if unit == "s":
        return format_duration(value)
    return format_rate(value) if unit == "1/s" else format_share(value)


def ratio_text(ratio: float | None) -> str:
    """1.05 -> +5.0%, for columns."""
    return "-" if ratio is None else words.change(ratio)


def _interval(metric: MetricChange) -> str:
    if metric.ratio.low is None or metric.ratio.high is None:
        return "-"
    return f"{ratio_text(metric.ratio.low)} .. {ratio_text(metric.ratio.high)}"


def _between(stage: StageChange) -> str:
    if stage.change.low is None or stage.change.high is None:
        return "-"
    return f"{_signed(stage.change.low)} .. {_signed(stage.change.high)}"


def _signed(seconds: float | None) -> str:
    return "-" if seconds is None else words.more(seconds)
