"""BentoML with `tracing: {exporter_type: otlp, sample_rate: 1.0}` in its configuration.

Shape: the request of each service alone: `POST /predict` (server) and one internal span per ASGI message
(`... http receive`, `... http send`, with `asgi.event.type`), made by opentelemetry-instrumentation-asgi; services
that call each other show as a client span with such a server span below. Taken from `src/_bentoml_impl/server/app.py`
of 1.2 to 1.4.

Neither the API method nor the wait in the batching dispatcher has a span: the mapping cannot know them, and nothing
but `upload` is claimed. Nothing in these spans names BentoML either, so that it is not recognised unasked. A sample
rate is 0 unless configured.
"""

from __future__ import annotations

from harness.spans.presets.fastapi import BODY_WAIT
from harness.spans.presets.preset import Preset

BENTOML = Preset(
    name="bentoml",
    rules=(("upload", (BODY_WAIT,)),),
    tells="the waits for the body as upload",
    silent="API methods and the wait in the batching dispatcher have no spans: put spans around the parts of your "
    "method and map them with `stages:`",
    known_by=lambda spans: False,
)
