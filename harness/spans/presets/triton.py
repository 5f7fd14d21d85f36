"""Triton Inference Server in its OpenTelemetry mode (`--trace-config mode=opentelemetry`).

Shape: `InferRequest` (HTTP_RECV_*, HTTP_SEND_* or their GRPC_* kin) > one span per model, named like it, with
`triton.model_name` (REQUEST_START, QUEUE_START, REQUEST_END) > `compute` (COMPUTE_START, COMPUTE_INPUT_END,
COMPUTE_OUTPUT_START, COMPUTE_END); the instants are events. All are of kind server, of the scope `triton-server`. The
models of an ensemble stand below the span of the ensemble, those a BLS model calls below its `compute`. Taken from
`src/tracer.cc`, `qa/L0_trace` and the user guide of 2024-2026; the context of a request is taken up since 24.01.

    queue       = QUEUE_START of the model .. COMPUTE_START of its `compute`
    preprocess  = COMPUTE_START .. COMPUTE_INPUT_END      (inputs gathered and copied to the device)
    inference   = `compute`, as far as nothing below it claims more: the model, and a BLS model's own code
    postprocess = COMPUTE_OUTPUT_START .. COMPUTE_END     (outputs copied back and scattered)

Requests of one batch each show the batch's whole interval. The queue needs the model's span and its `compute` in one
table.
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.spans.presets.derive import (
    MODEL,
    NEVER,
    RESOURCE,
    Rows,
    added,
    as_words,
    containing,
    events,
    having_event,
    instants,
    parents,
    values,
)
from harness.spans.presets.preset import Preset


def _derive(spans: pa.Table) -> pa.Table:
    computes, models = having_event(spans, "COMPUTE_START"), having_event(spans, "QUEUE_START")
    if not len(computes):
        return spans
    began, inputs, outputs, ended = events(
        spans, computes, "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END"
    )
    ended = np.where(ended == NEVER, instants(spans, computes, "end_ns"), ended)
    owners = parents(spans, computes, models)
    called = _models(spans, owners)
    about = (MODEL, called)
    table = _inferring(spans, computes, called)
    table = added(table, computes, "compute input", "preprocess", began, inputs, about, inputs != NEVER)
    table = added(table, computes, "compute output", "postprocess", outputs, ended, about, outputs != NEVER)
    owned = owners >= 0
    (queued,) = events(spans, owners[owned], "QUEUE_START")
    waited_for = [f"scheduler of {name}" for name, owner in zip(called, owners, strict=True) if owner >= 0]
    return added(table, owners[owned], "queue", "queue", queued, began[owned], (RESOURCE, waited_for))


def _models(spans: pa.Table, owners: Rows) -> list[str | None]:
    """The model each `compute` is of; None without the model's span."""
    if not (owners >= 0).any():
        return [None] * len(owners)
    (known,) = values(spans, np.maximum(owners, 0), "triton.model_name")
    return [name if owner >= 0 else None for name, owner in zip(as_words(known), owners, strict=True)]


def _inferring(spans: pa.Table, computes: Rows, called: list[str | None]) -> pa.Table:
    """`compute` stands for inference, unless it was claimed before, and says of which model."""
    chosen = np.zeros(spans.num_rows, dtype=np.bool_)
    chosen[computes] = True
    stages = spans.column("stage")
    free = pc.and_(pa.array(chosen), pc.is_null(stages))
    texts = spans.column("attributes").take(pa.array(computes)).to_pylist()
    tails = {name: f",{json.dumps(MODEL)}:{json.dumps(name)}}}" for name in set(called) - {None}}
    named = pa.array([_with(text, tails.get(name)) for text, name in zip(texts, called, strict=True)], pa.string())
    attributes = pc.replace_with_mask(spans.column("attributes").combine_chunks(), pa.array(chosen), named)
    for name, column in (("stage", pc.if_else(free, "inference", stages)), ("attributes", attributes)):
        spans = spans.set_column(spans.schema.get_field_index(name), spans.schema.field(name), column)
    return spans


def _with(attributes: str, tail: str | None) -> str:
    """The JSON object with one more attribute; `compute` has events, so that it is not an empty one."""
    if tail is None or f'"{MODEL}"' in attributes or not attributes.endswith("}"):
        return attributes
    return attributes[:-1] + tail


def _known_by(spans: pa.Table) -> bool:
    return bool(containing(spans, '"triton.model_name"').any()) or bool(containing(spans, '"triton-server"').any())


TRITON = Preset(
    name="triton",
    rules=(),
    tells="queue, input, compute and output of every model, from the events of its spans",
    silent="what HTTP or gRPC receiving and the ensemble scheduler take stays in `other`; requests of one batch each "
    "show the whole batch",
    known_by=_known_by,
    derive=_derive,
)
