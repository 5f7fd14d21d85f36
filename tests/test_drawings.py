"""Every chart with its words and figures: of any run, however little it measured; under names meant to break pages."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ci_builders import a_comparison, a_history
from report_builders import a_ledger, a_summary, an_empty_summary, some_counts
from report_diagnosed import NO_PERCENTILES, a_diagnosed_summary, a_step
from report_hostile import ALL, LONG, SCRIPT, hostile_diagnosis

from harness.analysis.comparing.shift import POINTS
from harness.comparison import Shift
from harness.diagnosis import Steadiness
from harness.findings import Estimate, Summary
from harness.report import charts, drawings
from harness.report.charts import LoadPoint
from harness.report.drawings import KEYS, Drawing, draw, needs
from harness.report.figures import interval, ms, share
from harness.report.palette import DARK, LIGHT
from harness.views import BaselineCurve, Views, VitalSeries

VIEWS = Views(
    vitals=(
        VitalSeries("process.cpu.utilization", "1", "api 7", (0.0, 1.0, 2.0), (0.2, 0.9, 0.4)),
        VitalSeries("harness.event_loop.lag", "s", "api 7", (0.0, 1.0), (0.001, 0.004)),
    ),
    baseline=BaselineCurve("earlier", (0.5, 0.1), (0.16, 0.25)),
)


def drawn(key: str, summary: Summary | None = None, ledger: pd.DataFrame | None = None, **changes: Any) -> Drawing:
    found = draw(key, summary or a_diagnosed_summary(), a_ledger(400) if ledger is None else ledger, VIEWS, **changes)
    assert found is not None
    return found


@pytest.mark.parametrize("key", KEYS)
def test_every_drawing_has_words_figures_and_a_valid_specification(key: str) -> None:
    found = drawn(key)

    assert found.key == key
    assert len(found.label) > 20
    assert found.table.rows
    assert {len(row) for row in found.table.rows} == {len(found.table.columns)}
    found.chart.to_dict()  # Altair checks it against Vega-Lite's schema
    spec = charts.spec(found)
    assert spec["width"] == "container"
    assert "csv" not in json.dumps(spec)  # its reader is made with eval, which the pages forbid


@pytest.mark.parametrize("key", KEYS)
def test_a_drawing_is_made_of_the_columns_it_names(key: str) -> None:
    ledger = a_ledger(400)
    for name in ("phase", "split"):
        ledger[name] = ledger[name].astype("category")

    found = draw(key, a_diagnosed_summary(), ledger[list(needs(key))], VIEWS)

    assert found is not None
    assert found.table == drawn(key).table


LEDGERS = {
    "none": None, "no row": a_ledger(1).head(0), "one": a_ledger(1, failed=0.0, warmup=0.0),
    "all failed": a_ledger(60, failed=1.0), "without end": a_ledger(60, failed=1.0).assign(latency_s=np.inf),
    "all equal": a_ledger(60, failed=0.0).assign(latency_s=0.1, service_s=0.1),
    "at once": a_ledger(60).assign(scheduled_ns=1_767_323_045_000_000_000),
    "warm-up only": a_ledger(60).assign(phase="warmup"),
    "nothing known of stages": a_ledger(60).assign(**{f"{s}_s": np.nan for s in ("queue", "inference", "upload")}),
    "zero": a_ledger(60, failed=0.0).assign(latency_s=0.0, service_s=0.0),
}  # fmt: skip


@pytest.mark.parametrize("ledger", LEDGERS.values(), ids=LEDGERS.keys())
def test_next_to_nothing_is_drawn_or_left_out(ledger: pd.DataFrame | None) -> None:
    for key in KEYS:
        found = draw(key, an_empty_summary(), ledger, Views())
        if found is not None:
            text = charts.inline_svg(found.chart, key)
            assert not re.search(r"NaN|Infinity|undefined", text), key
            json.dumps(charts.spec(found), allow_nan=False)


@pytest.mark.parametrize("text", ALL, ids=lambda t: ascii(t[:12]))
def test_no_name_breaks_out_of_a_chart(text: str) -> None:
    summary = a_diagnosed_summary(**hostile_diagnosis(a_diagnosed_summary(), text))
    models = tuple(dataclasses.replace(m, model=text) for m in summary.models)
    slowest = tuple(dataclasses.replace(r, name=text) for r in summary.slowest)
    views = Views(vitals=(VitalSeries(text, text, text, (0.0, 1.0), (1.0, 2.0)),),
                  baseline=BaselineCurve(text, (0.5,), (0.1,)))  # fmt: skip
    for key in KEYS:
        found = draw(key, dataclasses.replace(summary, models=models, slowest=slowest), a_ledger(100), views)
        if found is not None:
            assert text != SCRIPT or "<script" not in charts.inline_svg(found.chart, key)
            assert len(json.dumps(charts.spec(found))) < 60_000
            assert max(len(cell) for row in found.table.rows for cell in row) < 400


def test_lines_with_names_alike_once_shortened_stay_apart() -> None:
    models = tuple(dataclasses.replace(m, model=LONG) for m in a_diagnosed_summary().models)
    found = drawn("models", a_summary(models=models))

    assert len({*re.findall(r'"label": "([^"]*)"', json.dumps(charts.spec(found)))}) == len(models)


def test_the_figures_are_those_of_the_findings() -> None:
    summary = a_diagnosed_summary()
    assert summary.tail is not None

    tail = dict((row[0], row[1]) for row in drawn("tail", summary).table.rows)
    curve = {row[0]: row[1:3] for row in drawn("curve", summary).table.rows}

    assert tail == {s.stage: share(s.share) for s in summary.tail.shares}
    assert curve["p95"] == (ms(summary.latency.p95.value, 1), interval(summary.latency.p95, 1))
    assert curve["p99"][1] == summary.latency.p99.refusal


@pytest.mark.parametrize(
    ("scenario", "load", "said"),
    [
        (None, None, "Baseline: earlier."),
        ("read", "10/s", "Baseline: earlier."),
        ("chat", "10/s", "Baseline: earlier (another scenario: chat)."),
        ("read", "90/s", "Baseline: earlier (another load: 90/s)."),
        ("chat", "90/s", "Baseline: earlier (another scenario: chat; another load: 90/s)."),
    ],
)
def test_a_baseline_of_another_plan_is_called_so(scenario: str | None, load: str | None, said: str) -> None:
    views = Views(baseline=BaselineCurve("earlier", (0.5, 0.1), (0.16, 0.25), scenario, load))

    found = draw("curve", a_summary(scenario="read", load="10/s"), a_ledger(100), views)

    assert found is not None
    assert found.note.endswith(said)


def test_a_line_of_the_load_curve_ends_where_a_step_has_no_figure() -> None:
    p50s = [(10.0, None, None), None, (40.0, None, None)]
    points = [
        LoadPoint(rate, rate, False, (p50, None, None), "") for rate, p50 in zip((1.0, 2.0, 3.0), p50s, strict=True)
    ]

    drawn = charts.svg(charts.load_curve(points, LIGHT))

    (line,) = re.findall(rf'd="([^"]*)" stroke="{LIGHT.good}"', drawn)
    assert [line.count(c) for c in "ML"] == [2, 0]  # two beginnings, and nothing drawn from one to the other


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (Steadiness.UNSTABLE, "No latency: every step is unstable, "),
        (Steadiness.STEADY, "No latency: no step has a perc"),
    ],
)
def test_steps_without_any_percentile_show_what_came_of_the_rates_and_say_why(state: Steadiness, why: str) -> None:
    steps = tuple(a_step(step=i, level=40.0 * (i + 1), offered_per_s=40.0 * (i + 1), completed_per_s=9.0, state=state,
                         latency=NO_PERCENTILES) for i in range(3))  # fmt: skip

    found = drawn("load", a_diagnosed_summary(steps=steps))

    assert why in found.note
    assert "intervals" not in found.note
    assert "ms" not in {*re.findall(r'"field": "(\w+)"', json.dumps(charts.spec(found)))}


def test_slices_without_a_request_are_drawn_as_nothing() -> None:
    at, share = [1.0, 2.0, 3.0, 7.0, 8.0], [1.0] * 5
    shares = pd.DataFrame({"t_s": at, "stage": "queue", "share": share, "requests": 9})

    rows = json.dumps(charts.stages_over_time(shares, LIGHT, end_s=9.0).to_dict(validate=False))

    assert all(f'"{row}"' in rows for row in ("3.499,1,9,0", "3.5,0,0,0", "6.5,0,0,0", "6.501,1,9,0", "8.499,1,9,0"))
    assert '"domain": [0, 9.0]' in rows


def test_the_table_of_vitals_has_every_point() -> None:
    at = tuple(float(i) for i in range(1000))
    series = VitalSeries("lag", "s", "api", at, tuple(0.1 if i == 500 else 0.2 for i in range(1000)))

    found = draw("vitals", a_summary(), None, Views(vitals=(series,)))

    assert found is not None
    assert found.table.rows[0][2:] == ("100 ms", "200 ms", "200 ms")  # the only low point, which no picture shows
    assert "the highest of each stretch" in found.note


def test_a_failed_request_has_a_row_of_its_own_and_takes_no_scale() -> None:
    ledger = a_ledger(100, failed=0.0, warmup=0.0)
    ledger.loc[:4, ["ok", "latency_s"]] = [False, 30.0]
    spec = json.dumps(charts.spec(drawn("latency", ledger=ledger)))

    assert "failed" in spec
    assert '"0,30000"' not in spec
    assert "30000" not in spec


@pytest.mark.parametrize(("censored", "said"), [(0, ""), (1, "1 request had not"), (1_200, "1,200 requests had not")])
def test_requests_that_never_ended_are_said_not_to_be_drawn(censored: int, said: str) -> None:
    summary = a_diagnosed_summary(counts=some_counts(censored=censored))

    notes = [drawn(key, summary).note for key in ("latency", "stages")]

    assert all((f"{said} ended when the run did: " if said else "") in note for note in notes)
    assert all(("had not ended" in note) == bool(censored) for note in notes)


def test_a_long_run_makes_a_small_specification_and_a_small_picture() -> None:
    ledger = a_ledger(60_000)
    for key in KEYS:
        found = drawn(key, ledger=ledger)
        assert len(json.dumps(charts.spec(found))) < 150_000
        assert len(charts.inline_svg(found.chart, key)) < 400_000
    assert len(json.dumps(charts.heatmap_spec(ledger))) < 150_000


def test_the_fullest_heatmap_to_draw_a_selection_on_is_still_small() -> None:
    rng = np.random.default_rng(2)
    ledger = a_ledger(300_000, failed=0.0).assign(latency_s=10 ** rng.uniform(-3, 1, 300_000))

    assert len(json.dumps(charts.heatmap_spec(ledger))) < 150_000


def test_the_selection_is_named_and_there_is_none_without_an_answer() -> None:
    spec = charts.heatmap_spec(a_ledger(100))

    (params,) = [part["params"] for part in (spec, *spec["layer"]) if "params" in part]
    assert params[0]["name"] == "brush"
    assert params[0]["select"]["encodings"] == ["x", "y"]
    assert charts.heatmap_spec(a_ledger(10, failed=1.0)) == {}


def test_live_charts_are_fed_one_named_empty_data_set() -> None:
    specs = charts.live_specs()

    assert set(specs) == {"rate", "in_flight", "latency", "stages", "errors"}
    for spec in specs.values():
        assert '"name": "live"' in json.dumps(spec)
        assert "datasets" not in spec


def test_pictures_have_the_colours_of_their_theme() -> None:
    found = drawn("tail")

    assert charts.png(found, DARK, scale=1).startswith(b"\x89PNG")
    text = charts.svg_document(found, LIGHT)
    assert LIGHT.stages["queue"] in text
    assert "var(" not in text


def test_comparisons_and_histories_are_drawn() -> None:
    made = [drawings.shift_chart(a_comparison()), drawings.delta_chart(a_comparison()), drawings.trend(a_history())]

    assert [d.key for d in made if d is not None] == ["shift", "delta", "trend"]
    for found in made:
        assert found is not None
        found.chart.to_dict()
    assert made[0] is not None
    assert made[0].table.rows[1][-1] == "needs 368 requests, has 240"


def test_nothing_to_compare_is_no_drawing() -> None:
    nothing = a_comparison(shifts=(), stages=(), tail=())

    assert drawings.shift_chart(nothing) is None
    assert drawings.delta_chart(nothing) is None
    assert drawings.trend(a_history(rows=())) is None


NEEDS = "both: needs 368 requests, has 12 worth 4 independent ones"
FEW = "too few independent requests (the table says how many)."


@pytest.mark.parametrize(
    ("known", "why", "said"),
    [
        ({0.5}, NEEDS, f" p10 to p40, p60 to p99.9 are refused: {FEW}"),
        (set(POINTS) - {0.999}, NEEDS, f" p99.9 is refused: {FEW}"),
        ({0.5, 0.9}, "lies among the requests that failed",
         " p10 to p40, p60 to p80, p95 to p99.9 are refused: the table says why."),
        (set(POINTS), "", " of these two runs alone."),
    ],
)  # fmt: skip
def test_percentiles_that_are_refused_are_one_short_sentence(known: set[float], why: str, said: str) -> None:
    none = Estimate(None, None, None, 12)
    shifts = tuple(
        Shift(p, 0.1, 0.11, Estimate(0.01, 0.0, 0.02, 480), None) if p in known else Shift(p, None, None, none, why)
        for p in POINTS
    )

    found = drawings.shift_chart(a_comparison(shifts=shifts))

    assert found is not None
    assert found.note.endswith(said)
