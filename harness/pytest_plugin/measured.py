"""A finished run as a test sees it: figures that are compared by the rule of the gate, limits, the verdict."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from harness.analysis.statistics.quantiles import estimate_mean, estimate_quantile
from harness.conclude import conclude
from harness.estimates import Estimate
from harness.evidence import Evidence, series, steps_of
from harness.findings import ABORTED, HealthState, SloFindings, Summary, Verdict
from harness.gate import judge_slo
from harness.model import STAGES, Scenario
from harness.pytest_plugin.figure import HIDDEN, Figure, Judged
from harness.pytest_plugin.limits import Known, any_limit, limit_text, name_of, read, read_one
from harness.record import validated
from harness.report import console
from harness.report.figures import in_unit, observed
from harness.report.verdict_text import VERDICT_WORDS, slo_word, unjudged
from harness.run_folder import RunFolder
from harness.slo import Slo, Where
from harness.units import format_duration

__tracebackhide__ = HIDDEN

_WIDTH = 100
_SHOWN = pytest.StashKey[set[Path]]()
_WITH_INTERVAL = ("latency", "service", "transfer", *STAGES)


class Measured:
    """A run: its figures, its verdict, its folder. `item` gives the test that looks at it."""

    def __init__(self, folder: Path, summary: Summary, item: Callable[[], pytest.Item | None]) -> None:
        self.folder = folder
        self.summary = summary
        self._item = item

    def __repr__(self) -> str:
        return f"<{self.line}>"

    @property
    def line(self) -> str:
        """The run in one line."""
        s = self.summary
        half, most = format_duration(s.latency.p50.value), format_duration(s.latency.p95.value)
        word = "measured" if unjudged(s) else VERDICT_WORDS[s.verdict]
        return f"{word}: {s.scenario}, {s.load}; p50 {half}, p95 {most}, n = {s.latency.p95.n:,}; {self.report}"

    @property
    def report(self) -> Path:
        """The page for people; the folder when it could not be written."""
        page = self.folder / "report.html"
        return page if page.exists() else self.folder

    # --- figures -------------------------------------------------------------------------------------------

    def p50(self, subject: str = "latency", **where: object) -> Figure:
        return self.figure("p50", subject, **where)

    def p90(self, subject: str = "latency", **where: object) -> Figure:
        return self.figure("p90", subject, **where)

    def p95(self, subject: str = "latency", **where: object) -> Figure:
        return self.figure("p95", subject, **where)

    def p99(self, subject: str = "latency", **where: object) -> Figure:
        return self.figure("p99", subject, **where)

    def percentile(self, percent: float, subject: str = "latency", **where: object) -> Figure:
        """`percentile(99.9)` is the p99.9."""
        return self.figure(f"p{percent:g}", subject, **where)

    def mean(self, subject: str = "latency", **where: object) -> Figure:
        return self.figure("mean", subject, **where)

    def share(self, stage: str, **where: object) -> Figure:
        """Of the mean latency, 0..1."""
        return self.figure("share", stage, **where)

    @property
    def error_rate(self) -> Figure:
        """Share of the requests that failed, 0..1."""
        return self.figure("error_rate")

    @property
    def completed(self) -> Figure:
        """Share of what was offered that got an answer, 0..1."""
        return self.figure("completed")

    @property
    def throughput(self) -> Figure:
        """Ok answers per second."""
        return self.figure("throughput")

    def figure(self, statistic: str, subject: str | None = None, **where: object) -> Figure:
        """Any statistic of the SLO language; `where` narrows it down: name="receipt", step=2, phase=..., model=...

        Durations are seconds, shares 0..1. What the language does not know fails the test.
        """
        name = name_of(statistic, subject, where)
        slo = any_limit(name, statistic, subject, self._known)
        found, estimate = judge_slo(slo, self._evidence), self._estimate(slo)
        low, high = (estimate.low, estimate.high) if estimate is not None else (None, None)
        return Figure(
            name, found.observed, found.n, low, high, slo.unit, slo.op[0] == ">",
            _value_text(found, low, high), partial(self._compared, name, slo.unit),
        )  # fmt: skip

    # --- limits --------------------------------------------------------------------------------------------

    def judge(self, slo: str) -> Judged:
        """One limit, e.g. "p95(latency) < 200ms": true when it is met; undecided or invalid fails the test."""
        return self._judged(read_one(slo, self._known))

    def assert_slo(self, *slos: str) -> None:
        """Fail the test unless every limit is met; without one, those of the scenario. "a and b" are two."""
        if not slos:
            if not self.passed:
                self._fail()
            return
        judged = [self._judged(slo) for text in slos for slo in read(text, self._known)]
        unmet = [one for one in judged if one.findings.verdict is not Verdict.PASSED]
        if unmet:
            self.show()
            pytest.fail("\n".join([*(line for one in unmet for line in one.lines[:2]), *self._evidence_lines()]))

    @property
    def verdict(self) -> Verdict:
        """Of the scenario's SLOs and those given to `harness_run(slo=...)`. Fails the test when there are none."""
        if unjudged(self.summary):
            pytest.fail(f"the scenario {self.summary.scenario} has no SLO: nothing was judged")
        return self.summary.verdict

    @property
    def passed(self) -> bool:
        """Whether the verdict is passed. Fails the test when nothing was to be judged, or could not be."""
        verdict = self.verdict
        if verdict in (Verdict.NOT_ENOUGH_DATA, Verdict.INVALID):
            self._fail()
        if verdict is Verdict.FAILED:
            self.show()
        return verdict is Verdict.PASSED

    def __bool__(self) -> bool:
        """`assert harness_run(...)` asks for its verdict, as `passed` does."""
        return self.passed

    def unusable(self, *, accept_suspect: bool) -> tuple[str, ...]:
        """Why no figure of this run stands for the service; empty when they do."""
        found = self.summary
        aborted = [warning.message for warning in found.warnings if warning.code == ABORTED]
        if accept_suspect:
            return tuple(aborted)
        doubts = [warning.message for warning in found.warnings if warning.invalidates and warning.code != ABORTED]
        return (*aborted, *doubts, *(found.health.reasons if found.health.state is HealthState.INVALID else ()))

    def show(self) -> None:
        """Add the summary to the report of the test that runs, once."""
        item = self._item()
        if item is None:
            return
        shown_already = item.stash.setdefault(_SHOWN, set())
        if self.folder not in shown_already:
            shown_already.add(self.folder)
            text = console.render(self.summary, width=_WIDTH, colour=False)
            item.add_report_section("call", "harness", f"{text}\n{self.report}\n")

    # --- behind it -----------------------------------------------------------------------------------------

    @cached_property
    def _concluded(self) -> tuple[Scenario, Evidence]:
        folder = RunFolder.open(self.folder)
        record = validated(folder.read_json("run.json"), folder.run_json)
        scenario = TypeAdapter(Scenario).validate_python(record["plan"])
        return scenario, conclude(folder, scenario, record).seen.evidence

    @property
    def _evidence(self) -> Evidence:
        return self._concluded[1]

    @cached_property
    def _known(self) -> Known:
        scenario = self._concluded[0]
        names = [request.name for request in scenario.requests] if scenario.users is None else None
        return Known(names, len(scenario.load.steps))

    def _compared(self, name: str, unit: str, op: str, limit: float | str) -> Judged:
        return self._judged(read_one(f"{name} {op} {limit_text(limit, unit)}", self._known))

    def _judged(self, slo: Slo) -> Judged:
        found = judge_slo(slo, self._evidence)
        seen = f"{observed(found)}; " if found.observed is not None else ""
        lines = (
            f"{found.expression}: {slo_word(found.verdict)}",
            f"  {seen}n = {found.n:,}: {found.reason}",
            *self._evidence_lines(),
        )
        return Judged(found, lines, self.show)

    def _evidence_lines(self) -> tuple[str, ...]:
        """What to look at next. Short: pytest shows eight lines of an explanation."""
        found = self.summary
        said = [found.bottleneck.sentence] if found.bottleneck is not None else []
        if found.accepted:
            said.append(f"accepted: {'; '.join(found.accepted)}")
        elif found.health.state is not HealthState.HEALTHY and found.health.reasons:
            said.append(f"the generator is {found.health.state.value}: {found.health.reasons[0]}")
        return tuple(f"  {line}" for line in (*said, f"report: {self.report}"))

    def _fail(self) -> None:
        self.show()
        verdict = VERDICT_WORDS[self.summary.verdict]
        pytest.fail("\n".join([f"{self.summary.scenario}: {verdict}", *self.summary.reasons, *self._evidence_lines()]))

    def _estimate(self, slo: Slo) -> Estimate | None:
        """The interval, where the statistic has one over all measured requests."""
        if (
            slo.where != Where()
            or slo.subject not in _WITH_INTERVAL
            or (slo.quantile is None) == (slo.statistic != "mean")
        ):
            return None
        if slo.subject not in ("latency", "service") and self._evidence.split_rows.empty:
            return None
        values, steps = series(self._evidence, slo.subject), steps_of(self._evidence, slo.subject)
        if slo.quantile is not None:
            return estimate_quantile(values, slo.quantile, strata=steps)
        known = values < float("inf")
        return estimate_mean(values[known], strata=steps[known])


def _value_text(found: SloFindings, low: float | None, high: float | None) -> str:
    if found.observed is None:
        return f"not known: {found.reason}"
    between = f"95% interval {in_unit(low, found.unit)} to {in_unit(high, found.unit)}, " if low is not None else ""
    return f"{observed(found)} ({between}n = {found.n:,})"
