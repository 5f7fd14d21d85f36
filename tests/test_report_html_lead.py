"""The top of the page: first figures, the margin of each SLO, and the lights."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re

import pytest
from report_builders import (
    NO_LATENCY,
    a_health,
    a_latency,
    a_summary,
    an_empty_summary,
    an_estimate,
    some_counts,
    some_slos,
)
from report_diagnosed import a_diagnosed_summary

from harness.diagnosis import Steadiness
from harness.findings import Reading, SloFindings, Verdict
from harness.model import RunWarning
from harness.report import html
from harness.report.lights import LightState, lights
from harness.report.page_lead import margin, slo_lines, tiles


def an_slo(observed: float | None, limit: float, unit: str = "s") -> SloFindings:
    return SloFindings("p95(latency) < 1s", Verdict.PASSED, observed, limit, unit, 240, "why")


def shining(**changes: object) -> dict[str, tuple[LightState, str]]:
    return {light.name: (light.state, light.phrase) for light in lights(a_summary(**changes))}


def test_the_first_figures_are_percentiles_rate_and_failures() -> None:
    found = [(tile.name, tile.value, tile.unit, tile.below) for tile in tiles(a_summary())]

    assert found == [
        ("p50 latency", "170.2", "ms", "95%: 163.4 … 177.0"),
        ("p95 latency", "310.4", "ms", "95%: 282.5 … 338.3"),
        ("p99 latency", "–", "", "needs 368 requests, has 240"),
        ("completed", "4", "/s", "of 4.07/s offered"),
        ("failed", "1.6", "%", "4 of 244 requests"),  # 4 / 244 = 1.64 %
    ]


def test_a_closed_loop_offers_no_rate_and_nothing_measured_has_no_figures() -> None:
    closed = tiles(a_summary(counts=some_counts(offered_per_s=None, completed_per_s=None), latency=NO_LATENCY))

    assert [(t.value, t.below) for t in closed][3] == ("–", "")
    assert [t.value for t in closed][:3] == ["–", "–", "–"]
    assert tiles(an_empty_summary()) == ()


def test_an_interval_that_is_not_known_gives_way_to_n() -> None:
    bare = dataclasses.replace(an_estimate(0.1702), low=None, high=None)

    assert tiles(a_summary(latency=a_latency(p50=bare)))[0].below == "n = 240"


@pytest.mark.parametrize(
    ("observed", "limit", "unit", "width", "mark", "words"),
    [
        (0.5, 1.0, "s", 0.4, 0.8, "50.0% below"),  # the axis ends at 1.25 times the longer one
        (1.25, 1.0, "s", 0.8, 0.64, "25.0% above"),
        (4.0, 1.0, "s", 0.8, 0.2, "4 times the limit"),
        (1.0, 1.0, "s", 0.8, 0.8, "at the limit"),
        (0.0, 0.02, "ratio", 0.0, 0.8, "2 points below"),
        (0.995, 0.98, "ratio", 0.995, 0.98, "1.5 points above"),  # no share is more than everything
        (math.inf, 1.0, "s", 1.0, 0.8, "beyond any limit"),
        (3.0, 0.0, "count", 0.8, 0.0, "3 above"),
        (0.0, 0.0, "count", 0.0, 0.0, "at the limit"),
    ],
)
def test_the_margin_is_drawn_and_said(
    observed: float, limit: float, unit: str, width: float, mark: float, words: str
) -> None:
    found = margin(an_slo(observed, limit, unit))

    assert found is not None
    assert found.width == pytest.approx(width)
    assert found.limit == pytest.approx(mark)
    assert found.words == words


@pytest.mark.parametrize("slo", [an_slo(None, 1.0), an_slo(math.nan, 1.0), an_slo(1.0, math.inf), an_slo(-1.0, 1.0)])
def test_what_cannot_be_drawn_has_no_margin(slo: SloFindings) -> None:
    assert margin(slo) is None


def test_an_invalid_run_paints_no_margin_green_or_red() -> None:
    lines = slo_lines(a_summary(verdict=Verdict.INVALID))

    assert {line.tone for line in lines} == {"unjudged"}
    assert {line.tone for line in slo_lines(a_summary())} == {slo.verdict.value for slo in some_slos()}


def test_verdict_figures_and_the_mean_request_stand_before_everything_else() -> None:
    page = html.render(a_diagnosed_summary(), None).partition("<main>")[2]
    parts = (
        'id="verdict"',
        '"tiles"',
        '"split"',
        '"lights"',
        '"card sentences"',
        'id="slo"',
        'id="tail"',
        'id="words"',
    )
    order = [page.index(part) for part in parts]

    assert order == sorted(order)
    heads = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert heads[0] == 2
    assert all(after - before <= 1 for before, after in itertools.pairwise(heads))


# --- lights ----------------------------------------------------------------------------------------------------


def test_lost_spans_and_mixed_up_traces_have_lights_of_their_own() -> None:
    lost = RunWarning("rejected_spans", "the receiver refused 3 spans", "raise the limit")
    mixed = RunWarning("leaked_contexts", "5 requests are in traces of others", "close the context")

    found = shining(warnings=(lost, mixed))

    assert found["Lost spans"] == (LightState.ATTENTION, lost.message)
    assert found["Mixed-up traces"] == (LightState.ATTENTION, mixed.message)
    assert shining()["Lost spans"] == (LightState.GOOD, "none seen")


def test_without_server_halves_nothing_is_said_about_their_spans() -> None:
    found = shining(counts=some_counts(split=(("none", 240),)))

    assert found["Server halves"][0] is LightState.UNKNOWN
    assert not {"Lost spans", "Mixed-up traces"} & found.keys()


@pytest.mark.parametrize(
    ("states", "light"),
    [
        ("steady", (LightState.GOOD, "steady")),
        ("untested", (LightState.UNKNOWN, "too short to tell")),
        ("steady unstable steady", (LightState.BAD, "of 3 load steps 1 unstable, 2 steady")),
        ("warming steady", (LightState.ATTENTION, "of 2 load steps 1 warming, 1 steady")),
    ],
)
def test_the_worst_load_step_lights_the_steady_state(states: str, light: tuple[LightState, str]) -> None:
    step = a_diagnosed_summary().steps[0]
    steps = tuple(dataclasses.replace(step, state=Steadiness(state)) for state in states.split())

    assert shining(steps=steps)["Steady state"] == light


def test_the_cost_of_the_harness_is_said_where_it_was_measured() -> None:
    own = tuple(
        Reading(name, value, "ratio", suspect, None, "share of one core")
        for name, value, suspect in (("cpu", 0.31, 0.8), ("receiver_cpu", 0.95, 0.9), ("cli_cpu", 0.01, None))
    )

    found = shining(health=a_health(readings=own))["Cost of the harness"]

    assert found == (LightState.ATTENTION, "load process 31%, span receiver 95%, command line 1% of a core")
    assert "Cost of the harness" not in shining()
