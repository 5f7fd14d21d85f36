"""How much load the service holds: a stepped run against its SLOs, or against those that are asked for."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from harness.dashboard.drawing_runs import LONGEST_SLO
from harness.dashboard.holding import Stepped, stepped_runs
from harness.dashboard.library import open_run
from harness.dashboard.listing import Listing
from harness.dashboard.rendering import page
from harness.errors import UsageError, nearest
from harness.findings import Verdict
from harness.report import steps_text, work_text
from harness.report.drawings import KEYS
from harness.report.verdict_text import VERDICT_WORDS
from harness.slo import GRAMMAR, Slo, SloError, parse_slos
from harness.units import MISSING, format_rate

router = APIRouter()


@dataclass(frozen=True, slots=True)
class LevelLine:
    """A load step in the table."""

    level: str
    verdict: Verdict
    word: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunLine:
    """What another run of the scenario holds."""

    run_id: str
    load: str
    confirmed: str
    broken: str


@router.get("/capacity")
def show(request: Request, run: str = "", scenario: str = "", slo: str = "") -> HTMLResponse:
    """The load curve of one run, each step against the SLOs, and what other runs of the scenario hold."""
    runs = request.app.state.settings.runs
    found = stepped_runs(runs)
    if run:
        chosen: Stepped | None = Stepped.of(open_run(runs, run))
    else:
        among = stepped_runs(runs, _known_runs_of(request, scenario)) if scenario else found
        chosen = next(iter(among), None)
    if chosen is None:
        return page(request, "capacity.html.j2", chosen=None, scenario=scenario)
    slos, wrong = _asked(slo)
    holds = chosen.holds(slos)
    summary = chosen.summary
    same = stepped_runs(runs, _runs_of(request, summary.scenario))
    return page(
        request,
        "capacity.html.j2",
        chosen=chosen,
        choices=found,
        slo=slo,
        wrong=wrong,
        asked=slo[:LONGEST_SLO] if slos else "",  # what the chart has to be held against, too
        grammar=GRAMMAR,
        holds=holds,
        levels=[_level_line(chosen, each.level, each.verdict, each.reason) for each in holds.levels],
        steps=steps_text.step_lines(summary),
        steps_columns=steps_text.columns(summary),
        steps_note=steps_text.steps_note(steps_text.columns(summary)),
        growth=work_text.growth_lines(summary),
        growth_levels=work_text.growth_levels(summary),
        others=[_run_line(each, slos) for each in same],
        drawings=dict.fromkeys(KEYS),  # the load curve is drawn in the browser
    )


def _runs_of(request: Request, scenario: str) -> list[str]:
    """The names of the runs of a scenario, newest first."""
    listing: Listing = request.app.state.listing
    return [each.run_id for each in listing.glances() if each.scenario == scenario]


def _known_runs_of(request: Request, scenario: str) -> list[str]:
    """The same. Raises UsageError for a scenario that nobody ran."""
    found = _runs_of(request, scenario)
    if not found:
        listing: Listing = request.app.state.listing
        names = sorted({each.scenario for each in listing.glances()} - {""})
        raise UsageError(f"no run of the scenario '{scenario[:80]}' is here", nearest(scenario[:80], names))
    return found


def _asked(slo: str) -> tuple[tuple[Slo, ...], SloError | None]:
    """The SLOs of the query; why they cannot be read, which the page says beside the field."""
    if not slo.strip():
        return (), None
    try:
        return tuple(parse_slos(slo[:LONGEST_SLO])), None
    except SloError as error:
        return (), error


def _level_line(run: Stepped, level: float, verdict: Verdict, reason: str) -> LevelLine:
    return LevelLine(_level(run, level), verdict, VERDICT_WORDS[verdict], reason)


def _level(run: Stepped, level: float | None) -> str:
    if level is None:
        return MISSING
    return f"{level:g} user{'' if level == 1 else 's'}" if run.closed_loop else format_rate(level)


def _run_line(run: Stepped, slos: tuple[Slo, ...]) -> RunLine:
    holds = run.holds(slos)
    return RunLine(run.run_id, run.summary.load, _level(run, holds.confirmed), _level(run, holds.broken))
