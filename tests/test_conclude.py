"""Runs with hardly anything in them still end in a summary, in every format, without NaN and without a crash."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.chunks import schema_of
from harness.conclude import Conclusion, conclude
from harness.described import load_line
from harness.errors import RunFolderError
from harness.findings import Loss, Summary, Verdict
from harness.model import Arrivals, LoadProfile, Replay, Sample, Scenario, Span, SpanSpec, Step, Vital
from harness.report import console
from harness.report.files import FORMATS, render_as
from harness.run_folder import RunFolder
from tests.builders import a_root, a_sample, a_span, at, samples_table, spans_table, trace

SLOS = ("p95(latency) < 1s", "p95(inference) < 1s", "mean(queue) < 1s", "share(transfer) < 50%", "error_rate < 2%")


CPU = {"name": "cpu", "value": 0.1, "unit": "ratio", "suspect": 0.8, "invalid": 0.95, "meaning": "busy"}


def a_scenario(**changes: Any) -> Scenario:
    load = LoadProfile(Arrivals.CONSTANT, (Step(10.0, 1.0),), warmup_s=0.0, drain_s=1.0, seed=1)
    known: dict[str, Any] = {
        "name": "tiny", "target": "http://127.0.0.1:8000", "requests": (), "users": None, "load": load,
        "spans": SpanSpec(), "slo": SLOS,
    }  # fmt: skip
    return Scenario(**{**known, **changes})


def concluded(tmp_path: Path, samples: list[Sample], recorded: list[Span], **changes: Any) -> Conclusion:
    folder = RunFolder(tmp_path)
    folder.write_table("samples", samples_table(*samples))
    folder.write_table("spans", spans_table(*recorded))
    record = {"run_id": "r", "status": "finished", "started_ns": at(0), "loopback": True, "load": {"readings": [CPU]}}
    record |= changes.pop("record", {})
    vitals = [asdict(vital) for vital in changes.pop("vitals", ())]
    folder.write_table("vitals", pa.Table.from_pylist(vitals, schema_of(Vital)))
    return conclude(folder, a_scenario(**changes), record)


def failed(number: int) -> Sample:
    return a_sample(number, send_ns=None, first_byte_ns=None, status=None, error="connection refused")


def split(number: int, **changes: Any) -> tuple[Sample, list[Span]]:
    root = a_root(number=number, span_id=f"a{number:015x}")
    inference = a_span(
        "det",
        20,
        80,
        attributes={"harness.stage": "inference"},
        trace_id=root.trace_id,
        parent_id=root.span_id,
        span_id=f"b{number:015x}",
    )
    return a_sample(number, **changes), [root, inference]


def many(n: int) -> tuple[list[Sample], list[Span]]:
    pairs = [split(i) for i in range(n)]
    return [sample for sample, _ in pairs], [span for _, spans in pairs for span in spans]


def at_once(n: int) -> tuple[list[Sample], list[Span]]:
    """Requests whose every instant is the same, and whose spans end before they begin."""
    instant = {
        f"{name}_ns": at(100) for name in ("scheduled", "start", "send", "sent", "first_byte", "done", "done_user")
    }
    pairs = [split(i, **instant, connected_ns=None) for i in range(n)]
    backwards = [replace(span, start_ns=at(100), end_ns=at(90)) for _, spans in pairs for span in spans]
    return [sample for sample, _ in pairs], backwards


RUNS: dict[str, tuple[list[Sample], list[Span]]] = {
    "empty": ([], []),
    "one request": many(1),
    "one request without server half": ([a_sample()], []),
    "all failed": ([failed(i) for i in range(80)], []),
    "all censored": ([a_sample(i, censored=True) for i in range(80)], []),
    "all equal": many(80),
    "two requests": many(2),
    "all failed but one": ([*many(1)[0], *(failed(i) for i in range(1, 80))], many(1)[1]),
    "all equal, as many as a tail needs": many(400),
    "no time at all": at_once(60),
    "only warm-up": ([a_sample(i, phase="warmup") for i in range(5)], []),
}


@pytest.fixture(params=RUNS)
def summary(request: pytest.FixtureRequest, tmp_path: Path) -> Summary:
    return concluded(tmp_path, *RUNS[request.param]).summary


@pytest.mark.parametrize("wanted", [*FORMATS, "console"])
def test_a_run_with_hardly_anything_in_it_is_reported_without_nan(
    summary: Summary, tmp_path: Path, wanted: str
) -> None:
    text = console.render(summary, width=100, colour=False) if wanted == "console" else render_as(wanted, summary, None)

    assert text
    assert not re.search(r"\b(nan|inf|infinity)\b", text, re.IGNORECASE)
    if wanted == "json":
        json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize("name", RUNS)
def test_the_page_of_such_a_run_can_be_drawn_with_its_ledger(tmp_path: Path, name: str) -> None:
    found = concluded(tmp_path, *RUNS[name])

    assert "<html" in render_as("html", found.summary, found.rows)


@pytest.mark.parametrize("name", ["empty", "one request", "all censored", "only warm-up", "all failed"])
def test_such_a_run_is_never_passed(tmp_path: Path, name: str) -> None:
    assert concluded(tmp_path, *RUNS[name]).summary.verdict is not Verdict.PASSED


def test_without_any_answer_nothing_is_passed_even_without_slos(tmp_path: Path) -> None:
    found = concluded(tmp_path, *RUNS["all failed"], slo=()).summary

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert found.counts.errors == (("connection refused", 80),)


def test_requests_that_are_all_equal_pass_with_exact_figures(tmp_path: Path) -> None:
    found = concluded(tmp_path, *many(200)).summary

    means = {s.stage: s.mean.value for s in found.stages}
    assert means["inference"] == pytest.approx(0.060)
    assert means["other"] == pytest.approx(0.020)
    assert found.verdict is Verdict.PASSED
    assert found.bottleneck is None


def uneven(n: int, slow: int) -> tuple[list[Sample], list[Span]]:
    """Requests 20 ms apart, of which the last ones take 300 ms instead of 100."""
    pairs = [split(i, scheduled_ns=at(20 * i), start_ns=at(20 * i + 1), **late(i, i >= n - slow)) for i in range(n)]
    return [sample for sample, _ in pairs], [span for _, spans in pairs for span in spans]


def late(number: int, slow: bool) -> dict[str, int]:
    done = at(20 * number + (300 if slow else 100))
    return {"send_ns": at(20 * number + 3), "sent_ns": at(20 * number + 4), "first_byte_ns": done, "done_ns": done,
            "done_user_ns": done}  # fmt: skip


def test_server_halves_missing_of_the_slow_requests_invalidate_stage_slos_only(tmp_path: Path) -> None:
    samples, spans = uneven(200, slow=20)

    found = concluded(tmp_path, samples, spans[:-40]).summary

    verdicts = {s.expression: s.verdict for s in found.slo}
    assert verdicts["p95(inference) < 1s"] is Verdict.INVALID
    assert verdicts["p95(latency) < 1s"] is Verdict.PASSED
    assert found.verdict is Verdict.INVALID
    assert found.sentences[-1].text == (
        "Nothing is said about stages: the server half of 20 of 200 requests is missing, and they differ from the "
        "others in kind or latency."
    )
    assert found.bottleneck is None


def test_server_halves_missing_at_random_are_left_out_and_the_others_judged(tmp_path: Path) -> None:
    samples, spans = many(200)

    found = concluded(tmp_path, samples, spans[:-40]).summary

    (slo,) = [s for s in found.slo if s.expression == "p95(inference) < 1s"]
    assert (slo.verdict, slo.n) == (Verdict.PASSED, 180)


def later(sample: Sample, ms: float) -> Sample:
    """The same, with every instant moved."""
    names = [name for name in Sample.__dataclass_fields__ if name.endswith("_ns")]
    return replace(sample, **{name: getattr(sample, name) + round(ms * 1e6) for name in names})


def spread(n: int) -> tuple[list[Sample], list[list[Span]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Requests 50 ms apart of log-normal length, the spans of each, and their lengths in ms."""
    length = 100.0 * np.random.default_rng(6).lognormal(0.0, 0.5, n)
    samples, spans = [], []
    for i, ms in enumerate(length):
        begin, end = 50.0 * i, 50.0 * i + ms + 8
        ended = dict.fromkeys(("first_byte_ns", "done_ns", "done_user_ns"), at(end))
        samples.append(replace(later(a_sample(i), begin), **ended))
        root = a_root(begin + 5, begin + 5 + ms, number=i, span_id=f"a{i:015x}")
        work = {"trace_id": root.trace_id, "parent_id": root.span_id, "span_id": f"b{i:015x}"}
        attributes = {"harness.stage": "inference"}
        spans.append([root, a_span("det", begin + 6, begin + 4 + ms, attributes=attributes, **work)])
    return samples, spans, length


@pytest.mark.parametrize("slowest", [False, True])
def test_a_fifth_of_the_spans_lost_is_printed_and_only_that_of_the_slowest_is_a_bias(
    tmp_path: Path, slowest: bool
) -> None:
    samples, spans, length = spread(400)
    kept = length < np.quantile(length, 0.8) if slowest else np.random.default_rng(7).random(400) >= 0.2

    found = concluded(tmp_path, samples, [span for i in np.flatnonzero(kept) for span in spans[i]]).summary

    verdicts = {s.expression: s.verdict for s in found.slo}
    assert found.coverage is not None
    assert found.coverage.loss is (Loss.BIASED if slowest else Loss.UNIFORM)
    assert (found.coverage.expected, found.coverage.matched) == (400, int(kept.sum()))
    assert found.coverage.sentence.split(";")[0].split(":")[0] in console.render(found, width=500, colour=False)
    assert ("biased_loss" in [w.code for w in found.warnings]) is slowest
    assert verdicts["p95(inference) < 1s"] is (Verdict.INVALID if slowest else Verdict.PASSED)
    assert verdicts["p95(latency) < 1s"] is Verdict.PASSED
    assert any(sentence.text.startswith("Nothing is said about stages") for sentence in found.sentences) is slowest


def test_a_single_missing_server_half_counts_as_the_slowest(tmp_path: Path) -> None:
    samples, spans = many(200)
    slos = ("p95(inference) < 1s", "mean(inference) < 1s", "p99(inference) < 1s")

    found = concluded(tmp_path, samples, spans[:-2], slo=slos).summary

    # 0.95: one of 200 beyond is enough to pass (needs 93); 0.99: one beyond needs 473 requests.
    assert [(s.verdict, s.n) for s in found.slo] == [
        (Verdict.PASSED, 200), (Verdict.PASSED, 199), (Verdict.NOT_ENOUGH_DATA, 200),
    ]  # fmt: skip


def test_a_run_that_asked_for_no_server_half_judges_no_stage(tmp_path: Path) -> None:
    samples, spans = many(100)

    found = concluded(tmp_path, samples, spans, spans=SpanSpec(source="none")).summary

    (slo,) = [s for s in found.slo if s.expression == "p95(inference) < 1s"]
    assert slo.verdict is Verdict.INVALID
    assert slo.reason.startswith("no server half was asked for")
    assert not any("halves" in warning.code for warning in found.warnings)


def test_a_service_that_says_nothing_still_gives_latency_and_a_hint(tmp_path: Path) -> None:
    samples = [a_sample(i) for i in range(100)]

    found = concluded(tmp_path, samples, [], slo=("p95(latency) < 1s",)).summary

    assert found.verdict is Verdict.PASSED
    assert found.stages == ()
    assert [w.code for w in found.warnings] == ["no_server_halves"]


def test_a_service_that_mixes_requests_into_one_trace_is_told_the_remedy(tmp_path: Path) -> None:
    samples, spans = many(20)
    stray = a_span("POST /v1/read", 220, 280, trace_id=spans[0].trace_id, parent_id=spans[0].span_id)

    found = concluded(tmp_path, [*samples, later(a_sample(20), 200)], [*spans, stray]).summary

    (warning,) = [w for w in found.warnings if w.code == "leaked_contexts"]
    assert "--reset-contextvars" in warning.hint


def test_small_requests_that_the_service_takes_late_are_named(tmp_path: Path) -> None:
    late = [a_root(60, 90, number=i, span_id=f"a{i:015x}") for i in range(30)]
    prompt = [a_root(4, 90, number=i, span_id=f"a{i:015x}") for i in range(30)]
    samples = [a_sample(i) for i in range(30)]

    assert "taken_late" in [w.code for w in concluded(tmp_path, samples, late).summary.warnings]
    assert "taken_late" not in [w.code for w in concluded(tmp_path, samples, prompt).summary.warnings]


def test_large_uploads_may_take_their_time(tmp_path: Path) -> None:
    late = [a_root(60, 90, number=i, span_id=f"a{i:015x}") for i in range(30)]
    samples = [a_sample(i, bytes_sent=5_000_000) for i in range(30)]

    assert "taken_late" not in [w.code for w in concluded(tmp_path, samples, late).summary.warnings]


def test_failed_requests_take_their_rank_in_the_percentiles_and_have_no_part_in_the_mean(tmp_path: Path) -> None:
    samples = [a_sample(i) for i in range(60)] + [failed(i) for i in range(60, 200)]

    latency = concluded(tmp_path, samples, []).summary.latency

    assert latency.mean.value == pytest.approx(0.1)
    assert latency.p50.value is None
    assert latency.p50.refusal == "lies among the requests that failed"


def test_server_halves_that_are_missing_for_the_slow_requests_only_are_noticed_though_few_were_asked_for(
    tmp_path: Path,
) -> None:
    samples, spans = many(200)
    slow = [a_sample(i, done_ns=at(300 + i), done_user_ns=at(300 + i)) for i in range(200, 300)]

    found = concluded(tmp_path, [*samples, *slow], spans, spans=SpanSpec(sampled=0.6)).summary

    assert {s.expression: s.verdict for s in found.slo}["p95(inference) < 1s"] is Verdict.INVALID


def test_server_halves_that_were_not_asked_for_are_not_missing(tmp_path: Path) -> None:
    samples, spans = many(200)

    found = concluded(tmp_path, samples, spans[:240], spans=SpanSpec(sampled=0.6)).summary

    assert {s.expression: s.verdict for s in found.slo}["p95(inference) < 1s"] is Verdict.PASSED


def test_requests_that_were_sent_twice_are_said(tmp_path: Path) -> None:
    samples, spans = many(30)

    found = concluded(tmp_path, [*samples, a_sample(99, attempts=2)], spans).summary

    (warning,) = [w for w in found.warnings if w.code == "resent"]
    assert warning.message.startswith("1 requests were sent twice")


def test_a_streamed_answer_is_not_split_by_a_header_that_left_before_the_work(tmp_path: Path) -> None:
    head = 'mlharness;desc="1 {} b000000000000000 {} - streamed", total;dur=5'
    samples = [a_sample(i, server_timing=head.format(trace(i), at(10))) for i in range(30)]

    found = concluded(tmp_path, samples, []).summary

    assert found.stages == ()
    assert "streamed" in [w.code for w in found.warnings]


def test_a_killed_run_says_so_and_is_not_judged(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    samples, spans = many(200)
    folder.write_table("samples", samples_table(*samples))
    folder.write_table("spans", spans_table(*spans))

    found = conclude(folder, a_scenario(), {"run_id": "r", "status": "running", "loopback": True}).summary

    assert found.verdict is Verdict.INVALID
    assert "cut_short" in [w.code for w in found.warnings]


# --- load profiles -----------------------------------------------------------------------------------------


def a_load(*steps: Step, **changes: Any) -> LoadProfile:
    return replace(LoadProfile(Arrivals.POISSON, steps, warmup_s=5.0, drain_s=1.0, seed=7), **changes)


@pytest.mark.parametrize(
    ("load", "line"),
    [
        (a_load(Step(4.0, 60.0)), "poisson 4/s, 5 s warm-up, 60 s, seed 7"),
        (a_load(Step(2.0, 9.0), Step(4.0, 9.0)), "poisson 2/s -> 4/s, 5 s warm-up, 9 s each, seed 7"),
        (a_load(Step(1.0, 60.0, 8.0)), "poisson 1/s -> 8/s in 60 s (ramp), 5 s warm-up, seed 7"),
        (a_load(Step(5.0, 9.0), Step(50.0, 3.0), Step(5.0, 9.0), arrivals=Arrivals.CONSTANT),
         "constant 5/s for 9 s -> 50/s for 3 s -> 5/s for 9 s, 5 s warm-up, seed 7"),
        (a_load(Step(16.0, 60.0), arrivals=Arrivals.USERS, think_s=(0.2, 2.0)),
         "16 users, think 200 ms to 2 s, 5 s warm-up, 60 s, seed 7"),
        (a_load(Step(1.0, 60.0), arrivals=Arrivals.USERS, think_s=(0.2, 0.2)),
         "1 user, think 200 ms, 5 s warm-up, 60 s, seed 7"),
        (a_load(Step(1.0, 60.0, 32.0), arrivals=Arrivals.USERS), "1 -> 32 users in 60 s (ramp), 5 s warm-up, seed 7"),
        (a_load(*(Step(float(n), 9.0) for n in range(1, 9)), arrivals=Arrivals.USERS),
         "1 -> 2 -> 3 -> 4 -> ... -> 8 users (8 steps), 5 s warm-up, 9 s each, seed 7"),
        (a_load(Step(20.0, 60.0), arrivals=Arrivals.REPLAY, replay=Replay("/x/arrivals.csv", 2.0)),
         "replay of arrivals.csv at 2x: 1,200 arrivals in 60 s, 5 s warm-up, seed 7"),
    ],
)  # fmt: skip
def test_every_load_profile_fits_on_one_line(load: LoadProfile, line: str) -> None:
    assert load_line(a_scenario(load=load)) == line


def test_a_closed_loop_makes_no_claim_about_a_rate_and_says_what_it_hides(tmp_path: Path) -> None:
    load = a_load(Step(4.0, 1.0), Step(8.0, 1.0), arrivals=Arrivals.USERS)

    found = concluded(tmp_path, *many(100), load=load).summary

    assert (found.counts.offered_per_s, found.counts.completed_per_s) == (None, 50.0)
    assert found.sentences[2].text == (
        "A closed loop: 4 to 8 users waited for each answer, so a slow service lowered the load and its latency is "
        "understated against an open loop."
    )
    assert len(found.sentences) <= 6


@pytest.mark.parametrize(
    ("record", "measured_s"),
    [
        ({}, 10.0),  # finished: as planned, however early the last arrival was
        ({"status": "interrupted", "load": {"measured_from_ns": at(0), "measured_until_ns": at(4000)}}, 4.0),
        ({"load": {"measured_from_ns": at(0), "measured_until_ns": at(5000)}}, 5.0),  # stopped by itself
        ({"status": "running"}, 2.0),  # killed: the last answer came 2 s after the first arrival
        ({"status": "broken", "load": {}}, 2.0),
    ],
)
def test_rates_stand_on_the_time_that_was_really_measured(
    tmp_path: Path, record: dict[str, object], measured_s: float
) -> None:
    samples = [a_sample(i, scheduled_ns=at(100 * i), done_ns=at(2000)) for i in range(20)]

    found = concluded(tmp_path, samples, [], load=a_load(Step(2.0, 10.0, 4.0)), record=record).summary

    assert found.counts.offered_per_s == pytest.approx(20 / measured_s)


def waiting(ms: float) -> list[Sample]:
    """100 requests of 99 ms, of which ten wait for a session first."""
    late = {"start_ns": at(1 + ms), "send_ns": at(3 + ms), "sent_ns": at(4 + ms), "connected_ns": at(2 + ms),
            "first_byte_ns": at(98 + ms), "done_ns": at(100 + ms), "done_user_ns": at(100 + ms)}  # fmt: skip
    return [a_sample(i, **(late if i % 10 == 0 else {})) for i in range(100)]


@pytest.mark.parametrize(
    ("lateness_s", "why"),
    [(0.002, "no session was free"), (0.35, "the generator was late by itself (lateness_p99 350 ms)")],
)
def test_waits_that_service_time_leaves_out_are_told_with_their_cause(
    tmp_path: Path, lateness_s: float, why: str
) -> None:
    reading = {
        "name": "lateness_p99",
        "value": lateness_s,
        "unit": "s",
        "suspect": 0.005,
        "invalid": 0.05,
        "meaning": "",
    }

    found = concluded(tmp_path, waiting(400), [], record={"load": {"readings": [CPU, reading]}}).summary

    (warning,) = [w for w in found.warnings if w.code == "omission"]
    assert warning.message == (
        "p99 is 500 ms from the scheduled instant and 99.0 ms from the real start: 10% of the requests waited for the "
        "generator, 401 ms on average"
    )
    assert warning.hint.startswith(why)


def test_waits_that_change_little_are_not_worth_a_warning(tmp_path: Path) -> None:
    assert "omission" not in [w.code for w in concluded(tmp_path, waiting(8), []).summary.warnings]


def test_two_requests_with_one_id_are_a_damaged_folder(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="several requests with one request_id"):
        concluded(tmp_path, [a_sample(0), a_sample(0)], [])


def test_a_model_without_a_name_is_no_model_and_absurd_vitals_are_left_out(tmp_path: Path) -> None:
    samples, spans = many(60)
    unnamed = [
        replace(span, attributes='{"harness.stage":"inference","harness.model":""}') if span.name == "det" else span
        for span in spans
    ]
    absurd = [Vital(at(1000 + i), "api", 1, "harness.requests.in_flight", 1e300, "1", None) for i in range(20)]

    found = concluded(tmp_path, samples, unnamed, vitals=absurd).summary

    assert found.models == ()
    assert found.steps[0].gauge is None


def test_waits_of_spans_that_end_before_they_begin_are_none(tmp_path: Path) -> None:
    samples, spans = many(60)
    waits = [
        a_span("wait", 30, 10, stage="queue", attributes={"harness.resource": "gpu"}, trace_id=s.trace_id,
               parent_id=s.span_id, span_id=f"c{i:015x}")
        for i, s in enumerate(span for span in spans if span.kind == "server")
    ]  # fmt: skip

    found = concluded(tmp_path, samples, [*spans, *waits]).summary

    assert all(wait.mean_wait_s >= 0.0 for wait in found.waits)


def test_an_ended_run_without_its_samples_is_damaged_and_not_empty(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    with pytest.raises(RunFolderError, match="has no table 'samples'"):
        conclude(folder, a_scenario(), {"run_id": "r", "status": "finished"})


def test_a_run_that_was_looked_at_four_times_is_judged_at_the_confidence_of_each(tmp_path: Path) -> None:
    """80 requests within a p95 are enough at 95 % (59), and too few at 98.75 % (86)."""
    decided = {"looks": 4, "look": 2, "at_s": 12.0, "confidence": 0.9875}
    usual = concluded(tmp_path, *many(80), slo=("p95(latency) < 1s",)).summary
    looked = concluded(tmp_path, *many(80), slo=("p95(latency) < 1s",), record={"decided": decided}).summary

    assert (usual.verdict, usual.decided) == (Verdict.PASSED, None)
    assert looked.verdict is Verdict.NOT_ENOUGH_DATA
    assert looked.decided == (
        "ended at look 2 of 4, after 12 s; each SLO is judged at 98.75% confidence, as one of 4 looks"
    )
