"""FastAPI's native telemetry (0.165; on as soon as a TracerProvider is set).

Shape: `POST /v1/read` (server) > `fastapi.dependencies`, `fastapi.endpoint`, `fastapi.serialization`, each with
`code.function.name`, of the scope `fastapi`; spans of the user's own stand below them. Recorded from a running app.

    preprocess  = fastapi.dependencies: dependencies, and validation of the parsed input
    inference   = fastapi.endpoint, where nothing below any call of that function works for a stage
    postprocess = fastapi.serialization: the answer validated and turned into JSON
    queue       = end of dependencies .. begin of the endpoint: a function that is not `async` waits there for a thread

The endpoint is everything the user wrote: decoding, models and formatting alike. Calling it inference is only
right for a service that does little else, and is therefore given up, for all calls of a function, as soon as spans
below it say more; what they leave is `other`. Reading and parsing the body, routing and middleware have no spans:
they are `other` as well, as is background work.

Apps under opentelemetry-instrumentation-fastapi or -asgi (0.66b2) have no such spans, but one per message: the waits
for parts of the body are `upload`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from harness.spans.presets.derive import RESOURCE, added, instants, named, parents
from harness.spans.presets.preset import Preset, Rules

BODY_WAIT = "attr:asgi.event.type=http.request"

RULES: Rules = (
    ("upload", (BODY_WAIT,)),
    ("preprocess", ("fastapi.dependencies",)),
    ("postprocess", ("fastapi.serialization",)),
)
HOLDERS: Rules = (("inference", ("fastapi.endpoint",)),)


def derive(spans: pa.Table) -> pa.Table:
    """The waits for a thread: between the two, FastAPI does nothing else."""
    endpoints, before = named(spans, "fastapi.endpoint"), named(spans, "fastapi.dependencies")
    if not len(endpoints) or not len(before):
        return spans
    # Siblings: what they share is the span above them, and one request has one of each.
    roots = np.arange(spans.num_rows)
    mothers, aunts = parents(spans, endpoints, roots), parents(spans, before, roots)
    ended = np.zeros(spans.num_rows, dtype=np.int64)
    ended[aunts[aunts >= 0]] = instants(spans, before, "end_ns")[aunts >= 0]
    known = mothers >= 0
    mothers, began = mothers[known], instants(spans, endpoints, "start_ns")[known]
    resource = (RESOURCE, ["threadpool"] * len(mothers))
    return added(spans, mothers, "wait for a thread", "queue", ended[mothers], began, resource, ended[mothers] > 0)


def _known_by(spans: pa.Table) -> bool:
    return bool(len(named(spans, "fastapi.endpoint")))


FASTAPI = Preset(
    name="fastapi",
    rules=RULES,
    holders=HOLDERS,
    tells="dependencies as preprocess, serialisation as postprocess, the wait for a thread as queue, and the endpoint "
    "as inference where no span below it says more",
    silent="the endpoint is all of your code, decoding and formatting included: put spans or `stage()` around its "
    "parts; reading the body, routing and middleware stay in `other`",
    known_by=_known_by,
    derive=derive,
)
