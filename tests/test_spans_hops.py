"""A request that goes on from one service to another, whose clock differs."""

from __future__ import annotations

import pytest

from harness.join import join
from harness.ledger import Ledger, build
from harness.model import Span
from tests.builders import a_root, a_sample, a_span, samples_table, spans_table

CALL, SERVED = "c000000000000000", "d000000000000000"


def gateway(ahead_ms: float, *more: Span, begin: float = 25, end: float = 75) -> list[Span]:
    """A gateway 10..90 that calls a model server from 20 to 80; the server works 30..70 on a clock that is ahead."""
    return [
        a_root(),
        a_span("POST", 20, 80, kind="client", span_id=CALL),
        a_span("POST /infer", begin + ahead_ms, end + ahead_ms, kind="server", span_id=SERVED, parent_id=CALL),
        a_span("run", 30 + ahead_ms, 70 + ahead_ms, stage="inference", parent_id=SERVED),
        *more,
    ]


def ledger(spans: list[Span]) -> tuple[Ledger, int, int]:
    table = samples_table(a_sample())
    joined = join(table, [spans_table(*spans)])
    return build(table, joined, None, loopback=True), joined.moved.calls, joined.moved.farthest_ns


@pytest.mark.parametrize("ahead_ms", [0, 4, -4, 300, -5000])
def test_a_callee_keeps_its_work_whatever_its_clock_says(ahead_ms: float) -> None:
    found, moved, farthest = ledger(gateway(ahead_ms))

    row = found.rows.iloc[0]
    assert row["inference_s"] == pytest.approx(0.040)
    assert row["other_s"] == pytest.approx(0.040)
    # 25..75 fits into 20..80 with a clock that is up to 5 ms off.
    assert (moved, farthest) == ((1, round(abs(ahead_ms) * 1e6)) if abs(ahead_ms) > 6 else (0, 0))


def test_a_call_within_a_call_moves_with_its_caller() -> None:
    inner = [
        a_span("POST", 340, 360, kind="client", span_id="e" * 16, parent_id=SERVED),
        a_span("GET /features", 7042, 7058, kind="server", span_id="f" * 16, parent_id="e" * 16),
        a_span("lookup", 7045, 7055, stage="preprocess", parent_id="f" * 16),
    ]

    found, moved, _ = ledger(gateway(300, *inner))

    row = found.rows.iloc[0]
    assert moved == 2
    assert row["preprocess_s"] == pytest.approx(0.010 / 2)  # beside the inference of its caller, shared with it
    assert row["inference_s"] == pytest.approx(0.035)


def test_a_callee_that_took_longer_than_its_call_begins_with_it() -> None:
    found, moved, farthest = ledger(gateway(300, begin=20, end=120))

    assert (moved, farthest) == (1, 300_000_000)
    assert found.rows.iloc[0]["inference_s"] == pytest.approx(0.040)


def test_a_service_that_announces_its_own_spans_is_not_taken_for_complete_because_of_its_callee() -> None:
    gate = a_root(attributes={"harness.split": "marks", "harness.spans": 2})

    joined = join(samples_table(a_sample()), [spans_table(gate, *gateway(0)[1:])])

    assert joined.incomplete == 1
