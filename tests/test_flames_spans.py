"""Flame graphs of spans: they add up to the mean latency, and a stage has the ledger's time."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from harness.flames import span_flames
from harness.model import CLAIMS, STAGES
from harness.views import Flame, FlameNode
from tests import simulated_queues as queues


def samples(n: int) -> pa.Table:
    return pa.table({"request_id": np.arange(n, dtype=np.int64)})


def ledger(n: int, **seconds: Any) -> pd.DataFrame:
    """Ledger rows of n requests; a stage that is not named is not known."""
    frame = pd.DataFrame({"request_id": np.arange(n)})
    for stage in STAGES:
        frame[f"{stage}_s"] = np.asarray(seconds.get(stage, np.nan), np.float64)
    frame["latency_s"] = frame[[f"{stage}_s" for stage in STAGES]].fillna(0.0).sum(axis=1)
    return frame


def halves_of(intervals: list[tuple[str, float, float, int, str]], n: int = 400) -> Any:
    """The same spans in each of n requests, in a window of one second. (stage, from, until, parent, model)"""
    plain = queues.halves(queues.simulate(n, 0.1, 1))
    k = len(intervals)
    models = tuple(dict.fromkeys(each[4] for each in intervals if each[4]))
    start = np.repeat(np.arange(n, dtype=np.int64) * 10**10, k)
    tiled = {
        "stage": np.tile([CLAIMS.index(each[0]) for each in intervals], n).astype(np.int8),
        "start_ns": start + np.tile([round(each[1] * 1e9) for each in intervals], n),
        "end_ns": start + np.tile([round(each[2] * 1e9) for each in intervals], n),
        "parent": np.where(np.tile([each[3] for each in intervals], n) < 0, -1,
                           np.repeat(np.arange(n) * k, k) + np.tile([each[3] for each in intervals], n)),
        "model_of": np.tile([models.index(each[4]) if each[4] else -1 for each in intervals], n).astype(np.int32),
    }  # fmt: skip
    none = np.full(n * k, -1, np.int32)
    made = dataclasses.replace(
        plain.intervals, request=np.repeat(np.arange(n, dtype=np.int32), k), resource_of=none, batch_of=none,
        batch_size=none, wait_of=none, cpu_ns=none.astype(np.int64), models=models, **tiled,
    )  # fmt: skip
    begin = np.arange(n, dtype=np.int64) * 10**10
    return dataclasses.replace(plain, start_ns=begin, end_ns=begin + 10**9, total_s=np.ones(n), intervals=made)


def tree(node: FlameNode) -> dict[str, Any]:
    return {child.label: (round(child.weight_s, 6), tree(child)) for child in node.children}


def typical(flames: tuple[Flame, ...]) -> FlameNode:
    return flames[0].root


def test_a_queue_and_its_work_add_up_to_the_mean_latency() -> None:
    simulated = queues.simulate(2_000, 0.8, 3)
    rows = queues.ledger_rows(simulated)

    usual, slow = span_flames(queues.halves(simulated), samples(2_000), rows)

    assert (usual.n, slow.n) == (200, 100)
    ranked = rows.sort_values("latency_s")
    for flame, group in ((usual, ranked.iloc[900:1100]), (slow, ranked.iloc[1900:])):
        assert flame.root.weight_s == pytest.approx(group["latency_s"].mean(), rel=1e-3)
        inference = next(child for child in flame.root.children if child.label == "inference")
        assert inference.weight_s == pytest.approx(group["inference_s"].mean(), rel=1e-6)
        assert [child.label for child in inference.children] == ["reader"]


def test_a_span_inside_another_stands_below_it_and_its_time_counts_once() -> None:
    # preprocess 0.0 - 0.6 holds inference 0.2 - 0.5: 0.3 s each; inference 0.7 - 0.9 of another model is on its own.
    spans = [("preprocess", 0.0, 0.6, -1, ""), ("inference", 0.2, 0.5, 0, "det"), ("inference", 0.7, 0.9, -1, "rec")]
    rows = ledger(400, preprocess=0.3, inference=0.5, other=0.2)

    drawn = tree(typical(span_flames(halves_of(spans), samples(400), rows)))

    assert drawn == {
        "preprocess": (0.6, {"inference": (0.3, {"det": (0.3, {})})}),
        "inference": (0.2, {"rec": (0.2, {})}),
        "other": (0.2, {}),
    }


def test_two_spans_side_by_side_share_the_time() -> None:
    # Both open from 0.2 to 0.4: half of it each. a: 0.2 + 0.1, b: 0.1 + 0.2.
    spans = [("inference", 0.0, 0.4, -1, "a"), ("inference", 0.2, 0.6, -1, "b")]
    root = typical(span_flames(halves_of(spans), samples(400), ledger(400, inference=0.6)))

    assert tree(root) == {"inference": (0.6, {"a": (0.3, {}), "b": (0.3, {})})}


def test_a_span_goes_on_below_its_parent_that_has_ended() -> None:
    # The parent is open from 0 to 0.2, its child from 0.1 to 0.5, the grandchild from 0.3 to 0.4.
    spans = [("preprocess", 0.0, 0.2, -1, ""), ("inference", 0.1, 0.5, 0, "a"), ("inference", 0.3, 0.4, 1, "b")]
    root = typical(span_flames(halves_of(spans), samples(400), ledger(400, preprocess=0.1, inference=0.4)))

    assert tree(root) == {"preprocess": (0.5, {"inference": (0.4, {"a": (0.4, {"b": (0.1, {})})})})}


def test_waits_for_the_body_are_part_of_upload_alone() -> None:
    spans = [("upload", 0.0, 0.2, -1, ""), ("inference", 0.2, 0.6, -1, "a")]
    root = typical(span_flames(halves_of(spans), samples(400), ledger(400, upload=0.3, inference=0.4)))

    assert tree(root) == {"upload": (0.3, {}), "inference": (0.4, {"a": (0.4, {})})}


def test_a_service_that_told_durations_only_has_stages_without_paths() -> None:
    plain = halves_of([("inference", 0.0, 0.4, -1, "a")])
    by_header = dataclasses.replace(plain, channel=np.ones(400, np.int8))
    root = typical(span_flames(by_header, samples(400), ledger(400, inference=0.4, other=0.1)))

    assert tree(root) == {"inference": (0.4, {}), "other": (0.1, {})}


def test_what_the_ledger_cut_off_is_not_in_the_graph() -> None:
    spans = [("inference", 0.0, 0.4, -1, "a")]  # the client had given up after 0.1 s
    root = typical(span_flames(halves_of(spans), samples(400), ledger(400, inference=0.1)))

    assert tree(root) == {"inference": (0.1, {"a": (0.1, {})})}


@pytest.mark.parametrize("n", [0, 1, 9])
def test_too_few_requests_have_no_graph(n: int) -> None:
    halves = halves_of([("inference", 0.0, 0.4, -1, "a")])

    assert span_flames(halves, samples(n), ledger(n, inference=0.4)) == ()


def test_infinite_unknown_and_equal_latencies_do_no_harm() -> None:
    halves = halves_of([("inference", 0.0, 0.4, -1, "a")], n=300)
    rows = ledger(300, inference=0.4)
    rows.loc[:9, "latency_s"] = np.inf
    rows.loc[10:19, "inference_s"] = np.nan

    for flame in span_flames(halves, samples(300), rows):
        assert np.isfinite(flame.root.weight_s)
    assert span_flames(halves, samples(300), rows.assign(latency_s=np.inf)) == ()


def test_a_long_run_takes_no_longer_than_a_few_requests_of_it() -> None:
    simulated = queues.simulate(200_000, 0.5, 3, settle=0)
    halves, rows = queues.halves(simulated), queues.ledger_rows(simulated)
    began = time.process_time()

    usual, _ = span_flames(halves, samples(200_000), rows)

    assert time.process_time() - began < 2.0
    assert usual.n == 20_000
    assert "2,000 of them drawn" in usual.note
