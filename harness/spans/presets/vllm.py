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

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.spans.presets.derive import (
    MODEL,
    RESOURCE,
    Instants,
    Rows,
    added,
    as_numbers,
    as_words,
    containing,
    instants,
    named,
    values,
)
from harness.spans.presets.preset import Preset

_LATENCY = "gen_ai.latency."
_TOLD = (
    "time_in_queue", "time_to_first_token", "time_in_model_prefill", "time_in_model_decode",
    "time_in_model_inference", "time_in_model_execute", "time_in_model_forward",
)  # fmt: skip
_LONGEST_S = 3e7

_Lengths: TypeAlias = dict[str, npt.NDArray[np.float64]]


def _derive(spans: pa.Table) -> pa.Table:
    requests = named(spans, "llm_request")
    if not len(requests):
        return spans
    *lengths, models = values(spans, requests, *(_LATENCY + name for name in _TOLD), "gen_ai.response.model")
    told = {name: _possible(as_numbers(column)) for name, column in zip(_TOLD, lengths, strict=True)}
    queue, inference = told["time_in_queue"], _inference(told)
    queued = instants(spans, requests, "start_ns") + _before(spans, requests, told, queue, inference)
    scheduled = queued + _ns(queue)
    waited_for = (RESOURCE, ["engine scheduler"] * len(requests))
    table = added(spans, requests, "time in queue", "queue", queued, scheduled, waited_for, np.isfinite(queue))
    ended, known = scheduled + _ns(inference), np.isfinite(inference)
    return added(table, requests, "time in model", "inference", scheduled, ended, (MODEL, as_words(models)), known)


def _before(
    spans: pa.Table, requests: Rows, told: _Lengths, queue: npt.NDArray[np.float64], inference: npt.NDArray[np.float64]
) -> Instants:
    """From arrival to queue: it and the prefill end with the first token, as far as that is told."""
    before = told["time_to_first_token"] - told["time_in_model_prefill"] - np.nan_to_num(queue)
    length = instants(spans, requests, "end_ns") - instants(spans, requests, "start_ns")
    spare = length - _ns(queue) - _ns(inference)
    return np.clip(_ns(before), 0, np.maximum(spare, 0))


def _inference(told: _Lengths) -> npt.NDArray[np.float64]:
    found = told["time_in_model_inference"]
    parts = told["time_in_model_prefill"] + told["time_in_model_decode"]
    for seconds in (parts, told["time_in_model_execute"], told["time_in_model_forward"]):
        found = np.where(np.isfinite(found), found, seconds)
    return found


def _possible(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """NaN for what cannot be: a length is neither negative nor a year."""
    return np.where((seconds >= 0) & (seconds < _LONGEST_S), seconds, np.nan)


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
