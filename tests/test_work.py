"""Wall clock against CPU of stages."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_queues import intervals, simulate

from harness.analysis.load_steps.work import per_request, work_findings
from harness.join import Intervals
from harness.model import CLAIMS

MS = 1_000_000
COLUMN = {stage: CLAIMS.index(stage) for stage in CLAIMS}


def spans(*rows: tuple[int, str, int, int, int, int]) -> Intervals:
    """Rows of (request, stage, start ms, end ms, parent row, CPU ms or -1)."""
    n = len(rows)
    none = np.full(n, -1, np.int32)
    return Intervals(
        request=np.array([r[0] for r in rows], np.int32),
        stage=np.array([COLUMN[r[1]] for r in rows], np.int8),
        start_ns=np.array([r[2] * MS for r in rows], np.int64),
        end_ns=np.array([r[3] * MS for r in rows], np.int64),
        parent=np.array([r[4] for r in rows], np.int64),
        cpu_ns=np.array([r[5] * MS if r[5] >= 0 else -1 for r in rows], np.int64),
        model_of=none, resource_of=none, batch_of=none, batch_size=none, wait_of=none,
        models=(), resources=(), batches=(), waits=(),
    )  # fmt: skip


def seconds(found: np.ndarray, request: int, stage: str) -> float:
    return float(found[request, COLUMN[stage]])


def test_spans_of_one_stage_add_up_within_their_request() -> None:
    wall, cpu = per_request(
        spans((0, "inference", 0, 10, -1, 4), (0, "inference", 20, 25, -1, 5), (1, "inference", 0, 3, -1, 1)), 2
    )

    assert seconds(wall, 0, "inference") == pytest.approx(0.015)
    assert seconds(cpu, 0, "inference") == pytest.approx(0.009)
    assert seconds(wall, 1, "inference") == pytest.approx(0.003)


def test_what_spans_inside_take_is_off_the_outer_one() -> None:
    wall, cpu = per_request(
        spans((0, "inference", 0, 100, -1, 50), (0, "preprocess", 10, 30, 0, 20), (0, "queue", 40, 80, 0, -1)), 1
    )

    assert seconds(wall, 0, "inference") == pytest.approx(0.040)
    assert seconds(cpu, 0, "inference") == pytest.approx(0.030)
    assert seconds(wall, 0, "preprocess") == pytest.approx(0.020)


def test_spans_side_by_side_inside_one_are_taken_off_once() -> None:
    wall, _ = per_request(
        spans(
            (0, "inference", 0, 100, -1, 0), (0, "preprocess", 10, 50, 0, 0), (0, "preprocess", 20, 30, 0, 0),
            (0, "preprocess", 40, 120, 0, 0), (1, "inference", 0, 10, -1, 0), (1, "preprocess", 2, 4, 4, 0),
        ), 2,
    )  # fmt: skip

    assert seconds(wall, 0, "inference") == pytest.approx(0.010)
    assert seconds(wall, 1, "inference") == pytest.approx(0.008)


def test_cpu_of_a_stage_is_not_known_when_one_of_its_spans_lacks_it() -> None:
    _, cpu = per_request(
        spans((0, "inference", 0, 10, -1, 4), (0, "inference", 20, 25, -1, -1), (1, "inference", 0, 10, -1, 4)), 2
    )

    assert np.isnan(seconds(cpu, 0, "inference"))
    assert seconds(cpu, 1, "inference") == pytest.approx(0.004)


def test_cpu_of_a_stage_is_not_known_when_work_inside_it_lacks_it() -> None:
    _, cpu = per_request(spans((0, "inference", 0, 100, -1, 50), (0, "preprocess", 10, 30, 0, -1)), 1)

    assert np.isnan(seconds(cpu, 0, "inference"))


def test_an_inner_span_of_another_thread_makes_no_negative_cpu() -> None:
    _, cpu = per_request(spans((0, "inference", 0, 100, -1, 1), (0, "preprocess", 10, 90, 0, 80)), 1)

    assert seconds(cpu, 0, "inference") == 0.0


def test_findings_are_means_over_the_counted_requests_that_tell() -> None:
    wall, cpu = per_request(
        spans(
            (0, "inference", 0, 10, -1, 2), (1, "inference", 0, 30, -1, 8), (2, "inference", 0, 99, -1, 99),
            (3, "inference", 0, 99, -1, -1), (3, "queue", 0, 50, -1, -1),
        ), 5,
    )  # fmt: skip

    (found,) = work_findings(wall, cpu, np.array([True, True, False, True, True]))

    assert (found.stage, found.n) == ("inference", 2)
    assert found.wall_s == pytest.approx(0.020)
    assert found.busy == pytest.approx(0.25)
    assert found.waits_s == pytest.approx(0.015)


def test_without_spans_there_is_nothing_to_find() -> None:
    wall, cpu = per_request(spans(), 3)

    assert wall.shape == cpu.shape == (3, len(CLAIMS))
    assert work_findings(wall, cpu, np.ones(3, np.bool_)) == ()
    assert work_findings(*per_request(spans(), 0), np.zeros(0, np.bool_)) == ()


def test_spans_without_length_find_no_busy_share() -> None:
    wall, cpu = per_request(spans((0, "inference", 5, 5, -1, 0)), 1)

    assert work_findings(wall, cpu, np.ones(1, np.bool_)) == ()


def test_the_stages_of_a_simulated_service_come_out_as_they_went_in() -> None:
    queue = simulate(500, 0.5, seed=1)
    recorded = intervals(queue)

    wall, cpu = per_request(replace(recorded, cpu_ns=(recorded.end_ns - recorded.start_ns) // 2), 500)

    assert wall[:, 1:5] == pytest.approx(np.column_stack((queue.wait_s, queue.stages_s)), abs=1e-8)
    assert {f.stage: round(f.busy, 3) for f in work_findings(wall, cpu, np.ones(500, np.bool_))} == {
        "preprocess": 0.5, "inference": 0.5, "postprocess": 0.5,
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-20, 120), st.integers(0, 60)), max_size=6))
def test_self_time_is_what_no_inner_span_covers(inner: list[tuple[int, int]]) -> None:
    inner = sorted(inner)
    rows = [(0, "inference", 0, 100, -1, 0), *((0, "preprocess", b, b + length, 0, 0) for b, length in inner)]

    wall, _ = per_request(spans(*rows), 1)

    free = [ms for ms in range(100) if not any(b <= ms < b + length for b, length in inner)]
    assert seconds(wall, 0, "inference") == pytest.approx(len(free) / 1e3)


def test_half_a_million_spans_take_less_than_two_seconds_of_cpu() -> None:
    queue = simulate(20_000, 0.5, seed=2)
    recorded = intervals(queue)
    copies = 6
    columns = {
        name: np.tile(getattr(recorded, name), copies) for name in ("stage", "start_ns", "end_ns", "parent", "cpu_ns")
    }
    request = np.concatenate([recorded.request + 20_000 * copy for copy in range(copies)])
    began = time.process_time()

    per_request(replace(recorded, request=request, **columns), 20_000 * copies)

    assert time.process_time() - began < 2.0
