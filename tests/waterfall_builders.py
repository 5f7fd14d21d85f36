"""Runs of a few requests on disk, each as strange as its test needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.clock import ClockOffset
from harness.conclude import Conclusion, conclude
from harness.model import Arrivals, LoadProfile, Sample, Scenario, Span, SpanSpec, Step
from harness.run_folder import RunFolder
from harness.views import Bar, Waterfall
from harness.waterfall import of_requests
from harness.windows import Offsets
from tests.builders import T0, a_root, a_sample, a_span, at, samples_table, spans_table, trace

ROOT = "a000000000000000"
RECORD: dict[str, Any] = {
    "schema_version": 1, "run_id": "a-run", "status": "finished", "started_ns": T0, "loopback": True,
}  # fmt: skip
ONE_CLOCK: Offsets = ((None, ClockOffset(0, 0, True, 0, 10)),)


def a_scenario(source: str = "otlp", **spec: Any) -> Scenario:
    load = LoadProfile(Arrivals.CONSTANT, (Step(20.0, 10.0),), warmup_s=0.0, drain_s=1.0, seed=1)
    return Scenario("read", "http://127.0.0.1:8000", (), None, load, SpanSpec(None, source, **spec), ())


def store(path: Path, samples: Sequence[Sample], spans: Sequence[Span] = ()) -> RunFolder:
    """What a run leaves before it is concluded."""
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    folder.write_json("run.json", RECORD)
    folder.write_table("samples", samples_table(*samples))
    folder.write_table("spans", spans_table(*spans))
    return folder


def concluded(folder: RunFolder, scenario: Scenario | None = None) -> Conclusion:
    """The run with its ledger on disk, as `harness run` leaves it."""
    found = conclude(folder, scenario or a_scenario(), RECORD)
    for name, frame in (("ledger", found.rows), ("model_calls", found.ledger.model_calls)):
        folder.write_table(name, pa.Table.from_pandas(frame, preserve_index=False))
    return found


def seen(
    path: Path,
    sample: Sample,
    spans: Sequence[Span] = (),
    offsets: Offsets | None = ONE_CLOCK,
    scenario: Scenario | None = None,
    **changes: Any,
) -> Waterfall:
    """The waterfall of one request that is a run of its own."""
    scenario = scenario or a_scenario()
    folder = store(path, [sample], spans)
    (found,) = of_requests(folder, scenario, RECORD, [sample.request_id], offsets, **changes)
    return found


def a_chain(number: int = 0) -> list[Span]:
    """Root from 10 to 90 ms: a wait to 20, decode to 30, inference to 70 with a model inside, boxes to 85."""
    own = {"number": number, "parent_id": ROOT}
    return [
        a_root(10, 90, number),
        a_span("threadpool", 10, 20, stage="queue", attributes={"harness.resource": "threadpool"}, **own),
        a_span("decode", 20, 30, stage="preprocess", **own),
        a_span("detect", 32, 70, stage="inference", attributes={"harness.model": "det"}, span_id="b" * 16, **own),
        a_span("session.run", 35, 65, number=number, parent_id="b" * 16),
        a_span("boxes", 70, 85, stage="postprocess", **own),
    ]


def bars(waterfall: Waterfall, lane: str, stage: str | None = None) -> list[Bar]:
    return [bar for bar in waterfall.bars if bar.lane == lane and (stage is None or bar.stage == stage)]


__all__ = [
    "ONE_CLOCK", "RECORD", "ROOT", "a_chain", "a_root", "a_sample", "a_scenario", "a_span", "at", "bars", "concluded",
    "seen", "store", "trace",
]  # fmt: skip
