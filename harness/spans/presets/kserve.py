"""KServe's Python model server, with tracing switched on by OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_TRACES_EXPORTER.

Shape: the request alone: `POST /v1/models/{model_name}:predict` (server) and one internal span per ASGI message
(`... http receive`, `... http send`, with `asgi.event.type`), of the service `kserve`; calls over gRPC have one server
span. Taken from `python/kserve/kserve/protocol/tracing.py` of September 2026 and its predecessor under
`protocol/rest`.

The server emits no spans of a model's steps. It times `preprocess`, `predict`, `explain` and `postprocess` in
`Model.__call__`, but tells those times as Prometheus histograms and log lines, which belong to no request. The names
of these methods are mapped, for models that put spans around them; without such spans all but `upload` is `other`.
Exports over gRPC unless OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from harness.spans.presets.fastapi import BODY_WAIT
from harness.spans.presets.preset import Preset


def _known_by(spans: pa.Table) -> bool:
    return bool(pc.any(pc.equal(spans.column("service"), "kserve")).as_py())


KSERVE = Preset(
    name="kserve",
    rules=(
        ("upload", (BODY_WAIT,)),
        ("preprocess", ("preprocess", "*.preprocess")),
        ("inference", ("predict", "*.predict", "explain", "*.explain")),
        ("postprocess", ("postprocess", "*.postprocess")),
    ),
    tells="the waits for the body as upload; spans named like the methods of a Model, if it makes any",
    silent="the server itself sends no spans of preprocess, predict and postprocess: put spans of these names around "
    "them",
    known_by=_known_by,
)
