"""A run as metrics: what is counted, how it is named, how large it may become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from harness.findings import HealthState
from harness.following import Seen
from harness.following.settling import COLUMNS
from harness.metrics import prometheus
from harness.metrics.tally import BOUNDS_S, Distribution, Tally, label
from harness.views import LiveFrame
from tests.builders import T0, trace
from tests.export_support import HOSTILE
from tests.metrics_support import checked, needs_prometheus

SECOND = 1_000_000_000


def a_frame(**changes: Any) -> LiveFrame:
    known: dict[str, Any] = {
        "run_id": "r", "at_ns": T0 + 5 * SECOND, "phase": "measure", "elapsed_s": 5.0, "total_s": 60.0,
        "offered_per_s": 20.0, "rate_per_s": 19.5, "in_flight": 3, "backlog": 1, "users": None, "ok": 0, "failed": 0,
        "censored": 0, "errors": (), "window_s": 5.0, "n": 0, "p50_s": None, "p95_s": None, "p99_s": None,
        "n_split": 0, "stages": (), "health": HealthState.SUSPECT,
    }  # fmt: skip
    return LiveFrame(**{**known, **changes})


def rows(*given: dict[str, Any]) -> pd.DataFrame:
    plain = {
        "name": "read", "phase": "measure", "step": 0, "ok": True, "split": "marks", "latency_s": 0.1, "what": None,
        "scheduled_ns": T0, "done_ns": T0 + SECOND,
    }  # fmt: skip
    made = [
        {**plain, "request_id": n, "trace_id": trace(n), "span_id": f"{n + 1:016x}", **one}
        for n, one in enumerate(given)
    ]
    frame = pd.DataFrame(made, columns=list(COLUMNS))
    stages = [name for name in COLUMNS if name.endswith("_s")]
    return frame.astype({**dict.fromkeys(stages, np.float64), "ok": bool})


def tally(*given: dict[str, Any], **changes: Any) -> Tally:
    found = Tally("run-1", "read-receipts", T0)
    found.take(Seen(a_frame(**changes), rows(*given), False))
    return found


def told(*tallies: Tally) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Sample and its labels, those of the run left out -> value."""
    families = text_string_to_metric_families(prometheus.exposition(tallies).decode())
    return {(sample.name, _own(sample.labels)): sample.value for family in families for sample in family.samples}


def _own(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in labels.items() if item[0] not in ("run_id", "scenario")))


READ = (("name", "read"), ("outcome", "ok"), ("phase", "measure"))


def test_requests_are_counted_with_their_outcome() -> None:
    found = told(tally({}, {}, {"ok": False, "what": "timeout"}, {"name": "ocr", "phase": "warmup"}))

    assert found["harness_requests_total", READ] == 2
    assert found["harness_requests_total", (("name", "read"), ("outcome", "failed"), ("phase", "measure"))] == 1
    assert found["harness_requests_total", (("name", "ocr"), ("outcome", "ok"), ("phase", "warmup"))] == 1
    assert found["harness_request_errors_total", (("error", "timeout"),)] == 1


def test_a_duration_is_in_the_bucket_it_is_the_end_of() -> None:
    found = told(tally({"latency_s": 0.1}, {"latency_s": 0.1000001}, {"latency_s": 500.0}))

    def up_to(end: str) -> float:
        return found["harness_request_duration_seconds_bucket", tuple(sorted([*READ, ("le", end)]))]

    assert [up_to(end) for end in ("0.08", "0.1", "0.125", "100.0", "+Inf")] == [0, 1, 2, 2, 3]
    assert found["harness_request_duration_seconds_sum", READ] == pytest.approx(500.2000001)
    assert found["harness_request_duration_seconds_count", READ] == 3


def test_stages_are_of_answered_requests_with_a_server_half() -> None:
    found = told(
        tally(
            {"inference_s": 0.05, "queue_s": 0.0},
            {"inference_s": 0.07},
            {"split": "none", "inference_s": 9.0},
            {"ok": False, "inference_s": 9.0, "what": "x"},
        )
    )

    assert found["harness_stage_duration_seconds_count", (("stage", "inference"),)] == 2
    assert found["harness_stage_duration_seconds_sum", (("stage", "inference"),)] == pytest.approx(0.12)
    assert found["harness_stage_duration_seconds_count", (("stage", "queue"),)] == 1
    assert ("harness_stage_duration_seconds_count", (("stage", "postprocess"),)) not in found


def test_the_state_of_the_run_is_told_and_what_is_not_known_is_not() -> None:
    found = told(tally({}))

    assert found["harness_requests_in_flight", ()] == 3
    assert found["harness_offered_requests_per_second", ()] == 20
    assert found["harness_achieved_requests_per_second", ()] == 19.5
    assert found["harness_generator_health", ()] == 1
    assert found["harness_run_phase", (("phase", "measure"),)] == 1
    assert ("harness_users", ()) not in found


def test_a_run_of_which_nothing_is_known_has_no_metrics() -> None:
    assert prometheus.exposition([]) == b""
    assert prometheus.exposition([Tally("run-1", "x", T0)]) == b""
    assert prometheus.exposition([], openmetrics=True) == b"# EOF\n"


def test_durations_that_are_infinite_or_unknown_are_counted_nowhere() -> None:
    found = told(tally({"latency_s": float("inf")}, {"latency_s": float("nan")}, {}))

    assert found["harness_request_duration_seconds_count", READ] == 1


def test_two_runs_stand_side_by_side() -> None:
    other = tally({}, {})
    other.run_id = "run-2"

    text = prometheus.exposition([tally({}), other]).decode()

    assert text.count("# TYPE harness_requests_total counter") == 1
    assert 'run_id="run-1",scenario="read-receipts"} 1.0' in text
    assert 'run_id="run-2",scenario="read-receipts"} 2.0' in text


def test_a_bucket_has_a_request_as_example_in_openmetrics_alone() -> None:
    found = tally({"latency_s": 0.1}, {"latency_s": 0.09}, {"latency_s": 3.0})

    examples = [
        (sample.exemplar.labels, sample.exemplar.value, float(sample.exemplar.timestamp or 0))
        for family in parse_openmetrics(prometheus.exposition([found], openmetrics=True).decode())
        for sample in family.samples
        if sample.exemplar is not None
    ]

    assert examples == [
        ({"trace_id": trace(1), "span_id": f"{2:016x}"}, 0.09, T0 / 1e9 + 1),
        ({"trace_id": trace(2), "span_id": f"{3:016x}"}, 3.0, T0 / 1e9 + 1),
    ]  # fmt: skip
    assert b"trace_id" not in prometheus.exposition([found])


def test_ids_that_are_none_are_no_example() -> None:
    found = tally(
        {"trace_id": "x" * 200}, {"latency_s": 2.0, "span_id": None}, {"latency_s": 9.0, "trace_id": "é" * 32}
    )

    assert found.requests["read", "measure", "ok"].examples == {}
    assert b"# {" not in prometheus.exposition([found], openmetrics=True)


def test_where_the_parts_of_transfer_are_not_known_the_whole_of_it_is_a_stage() -> None:
    found = told(tally({"split": "durations", "connect_s": 0.01, "transfer_s": 0.04, "inference_s": 0.06}))

    sums = {own[0][1]: value for (name, own), value in found.items() if name == "harness_stage_duration_seconds_sum"}
    assert sums == {"transfer": 0.04, "inference": 0.06}


def test_after_fifty_names_requests_are_counted_as_other() -> None:
    found = tally(*({"name": f"n{number}"} for number in range(60)))

    names = {name for name, _, _ in found.requests}
    assert len(names) == 51
    assert found.requests["other", "measure", "ok"].n == 10


def test_after_twenty_errors_they_are_counted_as_other_and_none_is_lost() -> None:
    found = tally(*({"ok": False, "what": f"error {number}"} for number in range(33)))

    assert len(found.errors) == 21
    assert found.errors["other"] == 13
    assert sum(found.errors.values()) == 33


def test_hostile_texts_become_labels_of_one_line() -> None:
    text = prometheus.exposition([tally({"name": HOSTILE}, {"ok": False, "what": "x" * 1_000_000})]).decode()

    assert max(map(len, text.splitlines())) < 500
    assert "\x00" not in text
    assert HOSTILE.replace("\x00", "\ufffd").replace("\n", "\ufffd") in {
        sample.labels.get("name") for family in text_string_to_metric_families(text) for sample in family.samples
    }


@needs_prometheus
def test_promtool_finds_nothing_wrong_with_anything_a_run_may_tell() -> None:
    odd = ("", 'a"b\\c\nd', "\u202eevil", '{le="1"} 5', "# HELP x")
    names = [{"name": f"{text}{number}", "inference_s": 0.1} for number in range(200) for text in odd]
    errors = [{"ok": False, "what": text} for text in odd]

    checked(prometheus.exposition([tally(*names, *errors, users=4)]).decode())


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_a_label_is_short_and_has_no_controls(text: str) -> None:
    found = label(text)

    assert len(found) <= 120
    assert found.isprintable() or not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in found)


def test_buckets_are_a_quarter_apart() -> None:
    ratios = np.diff(np.log(BOUNDS_S))

    assert BOUNDS_S[0] == 0.0001
    assert BOUNDS_S[-1] == 100
    assert (np.exp(ratios) <= 1.2801).all()
    assert (np.exp(ratios) >= 1.249).all()


@settings(max_examples=40)
@given(st.lists(st.floats(0, 200), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_of_the_buckets_is_in_the_bucket_of_the_exact_one(seconds: list[float], q: float) -> None:
    found = Distribution()
    found.add(np.array(seconds), np.array([["", ""]] * len(seconds), object), np.full(len(seconds), T0))

    rank = int(np.ceil(q * len(seconds)))
    exact = sorted(seconds)[rank - 1]

    bucket = int(np.searchsorted(found.counts.cumsum(), rank))
    assert (0.0 if bucket == 0 else BOUNDS_S[bucket - 1]) <= exact
    assert bucket == len(BOUNDS_S) or exact <= BOUNDS_S[bucket]


def test_the_runs_of_a_folder_without_one_are_no_metrics(tmp_path: Path) -> None:
    body, content_type = prometheus.exposition_of(tmp_path, "application/openmetrics-text; version=1.0.0")

    assert body == b"# EOF\n"
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert prometheus.exposition_of(tmp_path)[1].startswith("text/plain; version=0.0.4")
