"""Whatever a run holds, each SLO has an answer that its own figures do not contradict."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.evidence import Evidence
from harness.evidence.stretches import Stretch
from harness.findings import Coverage, Loss, Verdict
from harness.gate import judge_slo
from harness.gate.answers import holds
from harness.slo import VITALS, Slo, parse_slos
from tests.builders import T0
from tests.test_analysis import ledger_rows
from tests.test_gate_select import SECOND_NS, calls_of
from tests.test_gate_stored import EVERY_KIND

SOME_SLOS = st.lists(
    st.sampled_from([slo for line in EVERY_KIND for slo in parse_slos(line)]), min_size=6, max_size=6, unique=True
)
SECONDS = (0.0, 1e-9, 0.1, 0.9, 1.0, 30.0, 1e12, math.nan, math.inf)


@st.composite
def runs(draw: st.DrawFn) -> Evidence:
    """Few or many requests, any of them failed, in flight or without a server half; stages that nobody knows."""
    n = draw(st.sampled_from((0, 1, 2, 5, 6, 20, 130, 320)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))

    def some(share: float) -> np.ndarray:
        return random.random(n) < share

    pool = draw(st.lists(st.sampled_from(SECONDS[:7]), min_size=1, max_size=3))
    rows = ledger_rows(inference=list(random.choice(pool, n))).astype({"latency_s": float})
    rows = rows.assign(
        ok=~some(draw(st.sampled_from((0.0, 0.05, 1.0)))), ended=True, service_s=rows["latency_s"], failed_checks=None,
        name=np.where(some(0.5), "read", "write"), step=np.sort(random.integers(0, 3, n)), phase="measure",
        scheduled_ns=T0 + np.sort(random.integers(0, 60 * SECOND_NS, n)),
    )  # fmt: skip
    rows["answered"] = rows["ok"] | some(0.5)
    rows.loc[some(draw(st.sampled_from((0.0, 0.0, 0.1)))), "queue_s"] = math.nan
    rows.loc[~rows["ok"] & some(0.5), ["latency_s", "service_s"]] = math.nan
    halves = rows[rows["ok"] & ~some(draw(st.sampled_from((0.0, 0.02, 1.0))))]
    expected = int(rows["ok"].sum())
    coverage = Coverage(expected, len(halves), draw(st.sampled_from(Loss)), None, None, None, "") if expected else None
    found = Evidence(rows, halves, coverage, measured_s=draw(st.sampled_from((None, 60.0))), calls=calls_of(rows))
    return dataclasses.replace(
        found,
        asked=draw(st.booleans()), planned=draw(st.booleans()), vitals=_vitals(random, draw(st.integers(0, 70))),
        stretches=tuple(Stretch("measure", i, T0 + 20 * i * SECOND_NS, 20.0) for i in range(draw(st.integers(0, 3)))),
    )  # fmt: skip


def _vitals(random: np.random.Generator, n: int) -> pd.DataFrame:
    metrics = [vital.metric for vital in VITALS.values()]
    return pd.DataFrame(
        {
            "at_ns": T0 + random.integers(-SECOND_NS, 70 * SECOND_NS, n),
            "process": random.choice(["api (pid 7)", "api (pid 8)"], n),
            "name": random.choice(metrics, n),
            "value": random.choice(SECONDS, n),
        }
    )


@settings(max_examples=80, deadline=None)
@given(runs(), SOME_SLOS, st.sampled_from((0.9, 0.95, 0.999)))
def test_every_answer_has_a_reason_and_its_own_figure_does_not_contradict_it(
    run: Evidence, slos: list[Slo], confidence: float
) -> None:
    for slo in slos:
        found = judge_slo(slo, run, confidence)

        assert found.reason
        assert found.observed is None or math.isfinite(found.observed)
        all_offered = slo.unit == "1/s" and slo.op == ">="
        if found.observed is not None and found.verdict is Verdict.PASSED and not all_offered:
            assert holds(slo, found.observed), (slo, found)
        if found.observed is not None and found.verdict is Verdict.FAILED:
            assert not holds(slo, found.observed), (slo, found)


@settings(max_examples=40, deadline=None)
@given(runs(), SOME_SLOS)
def test_what_is_decided_at_a_high_confidence_is_decided_alike_at_a_lower_one(run: Evidence, slos: list[Slo]) -> None:
    for slo in slos:
        sure = judge_slo(slo, run, 0.999).verdict
        if sure in (Verdict.PASSED, Verdict.FAILED):
            assert judge_slo(slo, run, 0.95).verdict is sure, slo


@settings(max_examples=40, deadline=None)
@given(runs(), SOME_SLOS)
def test_nothing_is_passed_on_no_request(run: Evidence, slos: list[Slo]) -> None:
    empty = dataclasses.replace(run, requests=run.requests.iloc[:0], split_rows=run.split_rows.iloc[:0], coverage=None)
    for slo in slos:
        if slo.subject not in VITALS:
            assert judge_slo(slo, empty).verdict in (Verdict.NOT_ENOUGH_DATA, Verdict.INVALID), slo
