"""The verdict in words: at most six sentences, the most important ones kept, each with the figures it stands on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.analysis.bottleneck import bottleneck
from harness.analysis.slow.tail import attribute_tail
from harness.analysis.statistics.quantiles import latency_findings
from harness.analysis.verdict import Around, write
from harness.diagnosis import Cause, Contrast, Level, Sentence, Steadiness, WhatIfFindings
from harness.findings import Counts, LatencyFindings
from tests import simulated_queues as queues
from tests.facts_builders import a_step, calls_of, facts_of, rows_of, vitals_of, waits_of, worked

NOBODY = pd.DataFrame({"at_ns": [], "process": [], "name": [], "value": []})
LOCK = Cause("lock", "queue", "model_lock", None, "Requests wait for the lock.", "hold it shorter", ("n = 20",), 0.03)


def texts(sentences: tuple[Sentence, ...]) -> list[str]:
    return [sentence.text for sentence in sentences]


def said_of(latency: LatencyFindings, ok: int, scheduled: int) -> list[str]:
    counts = Counts(scheduled, scheduled, ok, scheduled - ok, 0, 0, (), (), None, None)
    return texts(write(facts_of(rows_of(0), counts=counts, latency=latency), (), (), Around()))


def test_where_requests_failed_the_headline_says_what_the_mean_and_what_the_percentiles_stand_on() -> None:
    clean = said_of(latency_findings(np.array([0.1] * 180)), 180, 180)
    mixed = said_of(latency_findings(np.array(([0.1] * 9 + [math.inf]) * 20)), 180, 200)

    assert clean[1] == (
        "The mean request took 100 ms, half took at most 100 ms, p95 is 100 ms (95% interval 100 ms to 100 ms)."
    )
    assert mixed[1] == (
        "The mean request answered as expected took 100 ms; counting the 20 others as slowest, half of all took at "
        "most 100 ms, no p95: lies among the requests that failed."
    )


def test_a_run_without_any_success_begins_with_that() -> None:
    assert said_of(latency_findings(np.full(80, math.inf)), 0, 80) == ["No request succeeded, of 80."]


def test_a_run_that_ended_in_its_warm_up_says_so() -> None:
    assert said_of(latency_findings(np.zeros(0)), 0, 0) == [
        "Nothing was measured: the run ended after 0 warm-up requests."
    ]


def test_the_resource_that_most_of_the_queue_was_for_is_named() -> None:
    rows = rows_of(20, queue=300.0, inference=100.0)
    waits = pd.concat([waits_of(rows, "threadpool", 200.0), waits_of(rows, "model_lock", 100.0)])

    said = texts(write(facts_of(rows, waits=waits), (), (), Around()))

    assert said[2].startswith(
        "Largest part of the mean request: waiting in the service's queues (mostly for threadpool) 75% (300 ms)"
    )


def test_upload_that_is_a_wait_for_the_service_is_not_called_a_transfer() -> None:
    facts = facts_of(rows_of(20, upload=300.0, inference=100.0))

    late, usual = (texts(write(facts, (), (), Around(taken_late=late))) for late in (True, False))

    words = "waiting before the service takes the request (shown as upload)"
    assert late[2].startswith(f"Largest part of the mean request: {words} 75% (300 ms)")
    assert usual[2].startswith("Largest part of the mean request: transfer (connect, upload, download) 75%")


def test_whether_the_largest_stage_works_or_waits_is_said_where_its_cpu_time_is_known() -> None:
    rows = rows_of(20, inference=100.0)

    said = texts(write(facts_of(rows, work=(worked("inference", 100.0, 0.97),)), (), (), Around()))

    assert "(100 ms, 97% of it at work on a processor)" in said[2]


def test_a_cause_comes_before_the_stages_with_what_to_try_first_and_its_evidence() -> None:
    said = write(facts_of(rows_of(20, inference=100.0)), (LOCK,), (), Around())

    assert said[2] == Sentence("Requests wait for the lock. Try first: hold it shorter.", ("n = 20",))
    assert not any("No known cause" in text for text in texts(said))


def test_without_a_cause_that_is_said_and_so_is_what_nobody_could_look_at() -> None:
    facts = facts_of(rows_of(20, inference=100.0))
    blind = replace(facts, vitals=NOBODY)

    seen, unseen = texts(write(facts, (), (), Around())), texts(write(blind, (), (), Around()))

    assert "No known cause of slowness shows in the 20 requests that could be split." in seen
    assert unseen[-1].startswith("Not known: how late the service's event loop")
    assert "it takes" not in unseen[-1]


def test_where_stages_carry_no_judgement_nothing_else_is_said_about_them() -> None:
    facts = facts_of(rows_of(20, inference=100.0))

    said = texts(write(facts, (), (), Around(silence="half of the spans are missing")))

    assert said[-1] == "Nothing is said about stages: half of the spans are missing."
    assert len(said) == 3


def test_at_most_six_sentences_and_the_least_important_are_left_out() -> None:
    rows = queues.ledger_rows(queues.simulate(4_000, 0.7, 1))
    models = calls_of(rows.head(50), det=20.0, rec=30.0)
    worse = Sentence("Answers get worse beyond 10/s.")
    drifting = a_step(Steadiness.DRIFTING)
    facts = facts_of(rows, calls=models, tail=attribute_tail(rows), vitals=NOBODY, steps=(drifting,))
    second = replace(LOCK, code="upload", sentence="The way is long.")

    said = texts(write(facts, (LOCK, second), (), Around(users="4 users", worse=worse)))

    assert len(said) == 6
    assert any("Requests wait for the lock" in text for text in said)
    assert "Answers get worse beyond 10/s." in said
    assert not any("In the chain" in text or "The way is long" in text for text in said)


def test_a_run_that_was_overloaded_has_no_latency_and_one_with_several_steps_names_the_step() -> None:
    unstable = a_step(Steadiness.UNSTABLE)
    facts = facts_of(rows_of(20, inference=100.0))

    alone = write(replace(facts, steps=(unstable,)), (), (), Around())
    second = write(replace(facts, steps=(a_step(), replace(unstable, step=1))), (), (), Around())

    assert alone[1] == Sentence("No latency is given: more requests came than were answered.", (unstable.sentence,))
    assert any(text.startswith("Load step 2 (10/s) was overloaded") for text in texts(second))


# --- the bottleneck ----------------------------------------------------------------------------------------


def test_the_bottleneck_is_the_stage_of_the_first_cause_and_none_where_that_has_no_stage() -> None:
    rows = queues.ledger_rows(queues.simulate(4_000, 0.7, 1))
    facts = facts_of(rows, tail=attribute_tail(rows))
    generator = replace(LOCK, code="generator", stage=None)

    found = bottleneck(facts, (LOCK, generator), taken_late=False)

    assert bottleneck(facts, (generator, LOCK), taken_late=False) is None
    assert found is not None
    assert (found.stage, found.resource, found.cause, found.n) == ("queue", "model_lock", "lock", 4_000)
    assert found.share_of_tail is not None
    assert found.share_of_tail > 0.8


def test_without_a_cause_a_queue_is_no_bottleneck_and_a_stage_is_one_if_it_makes_slow_requests_much_slower() -> None:
    queueing = queues.ledger_rows(queues.simulate(4_000, 0.6, 1))
    large = queues.ledger_rows(queues.simulate(4_000, 0.05, 1, large=0.1, large_factor=8.0))
    alike = queues.ledger_rows(queues.simulate(4_000, 0.05, 1, cv=0.1))

    found = [
        bottleneck(facts_of(rows, tail=attribute_tail(rows)), (), taken_late=False) for rows in (queueing, large, alike)
    ]

    assert [None if each is None else each.stage for each in found] == [None, "inference", None]


@pytest.mark.parametrize("stage", ["upload", "download"])
def test_a_bottleneck_on_the_way_has_the_share_of_the_whole_transfer(stage: str) -> None:
    rows = rows_of(400, upload=np.linspace(10, 100, 400), inference=20.0)
    cause = replace(LOCK, code=stage, stage=stage, resource=None)

    found = bottleneck(facts_of(rows, tail=attribute_tail(rows)), (cause,), taken_late=False)

    assert found is not None
    assert found.share_of_tail == pytest.approx(1.0)


def test_with_too_few_requests_for_a_tail_the_bottleneck_has_no_share() -> None:
    found = bottleneck(facts_of(rows_of(30, queue=50.0), vitals=vitals_of()), (LOCK,), taken_late=False)

    assert found is not None
    assert (found.share_of_tail, found.interval, found.n) == (None, None, 30)


def test_what_a_fix_would_give_is_said_of_the_change_that_gives_most() -> None:
    def gained(change: str, then_s: float | None) -> WhatIfFindings:
        now, then = Level(0.1, 0.08, 0.4), None if then_s is None else Level(0.08, 0.06, then_s)
        waits = (0.01, 0.3)
        return WhatIfFindings(change, "threadpool", 1, 1, 400, waits, waits, now, then, 9.0, None)

    facts = facts_of(rows_of(20, inference=100.0))
    answers = (
        gained("inference x 0.8", 0.21),
        gained("one more worker than the 1 that fits this run", 0.3),
        gained("upload x 9", None),
    )

    said = write(facts, (), answers, Around())[-1]

    assert said.text == "What a fix would give, by a replay of this run: inference x 0.8: p99 400 ms to 210 ms."
    assert said.evidence[0] == "one more worker than the 1 that fits this run: p99 400 ms to 300 ms"
    assert "n = 400" in said.evidence[-1]


def test_a_run_that_cannot_be_replayed_promises_nothing() -> None:
    nothing = (0.0, 0.0)
    refused = WhatIfFindings("a replay", None, None, 0, 0, nothing, nothing, None, None, None, "a closed loop")

    said = texts(write(facts_of(rows_of(20, inference=100.0)), (), (refused,), Around()))

    assert not any("What a fix" in text for text in said)


def test_what_slow_requests_have_in_common_is_said_but_not_what_is_only_a_sign_of_waiting() -> None:
    def contrast(attribute: str) -> Contrast:
        return Contrast(attribute, "x", 20, 21, 1, 200, 0.9, 1e-9, 0.5, 0.1, f"They have the same {attribute}.")

    several = (contrast("in_flight"), contrast("process"), contrast("models"))

    said = write(facts_of(rows_of(20, inference=100.0), contrasts=several), (), (), Around())

    assert Sentence("They have the same process.", ("They have the same models.",)) in said
    assert not any("in_flight" in text for text in texts(said))


def test_a_mean_that_is_worth_too_few_independent_requests_for_an_interval_says_so() -> None:
    series = np.repeat([0.1, 0.9], 40)

    said = write(facts_of(rows_of(20, inference=100.0), latency=latency_findings(series)), (), (), Around())

    assert said[1].evidence[0] == "mean 500 ms, n = 80 (worth too few independent ones for an interval)"
