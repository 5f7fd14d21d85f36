"""vLLM with `--otlp-traces-endpoint`.

Shape: one span `llm_request` per request, of kind server, child of the caller's traceparent, from the arrival at the
engine's front end to the last token; where its time went is told as attributes in seconds:

    gen_ai.latency.time_in_queue            queued .. scheduled
    gen_ai.latency.time_in_model_prefill    scheduled .. first token
    gen_ai.latency.time_in_model_decode     first .. last token
    gen_ai.latency.time_in_model_inference  scheduled .. last token, the two together
    gen_ai.latency.time_to_first_token      arrival .. first token
    gen_ai.latency.e2e                      arrival .. last token

Taken from `vllm/tracing.py` and `vllm/v1/engine/output_processor.py` of 2025-2026. Engines before V1 give
`time_in_model_execute` and `time_in_model_forward` (with `time_in_scheduler`) instead of inference; of those the first
that is there is taken.

The lengths are the engine's own; where they lie is derived: queue and inference one after the other, so that the
first token falls where `time_to_first_token` puts it, else from the start of the span. What is left of the span
(tokenising, hand-over between processes, detokenising) is claimed by nobody.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.spans.presets.derive import (
    MODEL,
    RESOURCE,
    Instants,
    Rows,
    added,
    containing,
    instants,
    named,
    number,
    words,
)
from harness.spans.presets.preset import Preset

_LATENCY = "gen_ai.latency."
_INFERENCE = ("time_in_model_inference", "time_in_model_execute", "time_in_model_forward")


def _derive(spans: pa.Table) -> pa.Table:
    requests = named(spans, "llm_request")
    if not len(requests):
        return spans
    queue, inference = _seconds(spans, requests, "time_in_queue"), _inference(spans, requests)
    queued = _queued(spans, requests, queue, inference)
    scheduled = queued + _ns(queue)
    table = added(
        spans, requests, "time in queue", "queue", queued, scheduled,
        (RESOURCE, ["engine scheduler"] * len(requests)), np.isfinite(queue),
    )  # fmt: skip
    models = words(spans, requests, "gen_ai.response.model")
    ended = scheduled + _ns(inference)
    return added(
        table, requests, "time in model", "inference", scheduled, ended, (MODEL, models), np.isfinite(inference)
    )


def _queued(
    spans: pa.Table, requests: Rows, queue: npt.NDArray[np.float64], inference: npt.NDArray[np.float64]
) -> Instants:
    """When the wait began: it and the prefill end with the first token, as far as that is told."""
    arrived, ended = instants(spans, requests, "start_ns"), instants(spans, requests, "end_ns")
    first, prefill = (_seconds(spans, requests, name) for name in ("time_to_first_token", "time_in_model_prefill"))
    before = np.where(np.isfinite(first) & np.isfinite(prefill), first - prefill - np.nan_to_num(queue), 0.0)
    spare = ended - arrived - _ns(queue) - _ns(inference)
    return arrived + np.clip(_ns(before), 0, np.maximum(spare, 0))


def _inference(spans: pa.Table, requests: Rows) -> npt.NDArray[np.float64]:
    parts = [_seconds(spans, requests, f"time_in_model_{part}") for part in ("prefill", "decode")]
    found = np.full(len(requests), np.nan)
    for seconds in (_seconds(spans, requests, _INFERENCE[0]), parts[0] + parts[1]):
        found = np.where(np.isfinite(found), found, seconds)
    for name in _INFERENCE[1:]:
        found = np.where(np.isfinite(found), found, _seconds(spans, requests, name))
    return found


def _seconds(spans: pa.Table, requests: Rows, name: str) -> npt.NDArray[np.float64]:
    """NaN where it is not told, or cannot be: a length is neither negative nor a year."""
    found = number(spans, requests, _LATENCY + name)
    return np.where((found >= 0) & (found < 3e7), found, np.nan)


def _ns(seconds: npt.NDArray[np.float64]) -> Instants:
    return np.asarray(np.rint(np.nan_to_num(seconds) * 1e9), dtype=np.int64)


def _known_by(spans: pa.Table) -> bool:
    return bool(containing(spans, f'"{_LATENCY}').any()) and bool(len(named(spans, "llm_request")))


VLLM = Preset(
    name="vllm",
    rules=(),
    tells="queue and inference (prefill and decode) as lengths, from the attributes gen_ai.latency.* of llm_request",
    silent="where exactly they lie is derived; tokenising, the hand-over between processes and HTTP stay in `other`",
    known_by=_known_by,
    derive=_derive,
)
