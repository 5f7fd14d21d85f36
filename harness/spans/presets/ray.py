"""Ray Serve with tracing switched on (`tracing_config`, or RAY_SERVE_TRACING_* in the environment).

Shape: `proxy_http_request HelloWorld GET /` > `route_to_replica HelloWorld __call__` > `replica_handle_request
HelloWorld __call__`, all of kind server; a deployment that calls another has `route_to_replica` > `replica_...` below
its own. Up to 2.40 the names had no deployment, and the second was `proxy_route_to_replica`. Taken from the exports
in the Anyscale tracing guide (Ray 2.40 to 2.51) and `python/ray/serve/_private/tracing_utils.py` of 2026.

    queue     = start of route_to_replica .. start of replica_handle_request: choosing a replica, waiting for a free
                one, and the hand-over. It compares the clocks of proxy and replica; a replica that seems to begin
                earlier is left out.
    inference = replica_handle_request, where nothing below it works for a stage

What a replica does is all of a deployment's code, so that `inference` is no more than a first guess, given up for a
deployment as soon as spans below it say more. FastAPI's own spans inside a deployment are mapped like in a FastAPI
app. The way of the answer back to the proxy is `other`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from harness.spans.presets import fastapi
from harness.spans.presets.derive import RESOURCE, added, instants, named, parents
from harness.spans.presets.preset import Preset

_REPLICA = "replica_handle_request"
_ROUTES = ("route_to_replica", "proxy_route_to_replica")


def _derive(spans: pa.Table) -> pa.Table:
    spans = fastapi.derive(spans)
    replicas, routes = named(spans, _REPLICA), named(spans, *_ROUTES)
    routed = parents(spans, replicas, routes)
    replicas, routed = replicas[routed >= 0], routed[routed >= 0]
    if not len(routed):
        return spans
    began = np.full(spans.num_rows, np.iinfo(np.int64).max)
    np.minimum.at(began, routed, instants(spans, replicas, "start_ns"))  # tried again: the first replica ended the wait
    waited = np.unique(routed)
    resource = (RESOURCE, ["replica"] * len(waited))
    return added(
        spans, waited, "wait for a replica", "queue", instants(spans, waited, "start_ns"), began[waited], resource
    )


def _known_by(spans: pa.Table) -> bool:
    return bool(len(named(spans, _REPLICA)))


RAY = Preset(
    name="ray",
    rules=fastapi.RULES,
    holders=(("inference", ("fastapi.endpoint", f"{_REPLICA}*")),),
    tells="the way to a replica as queue, and what the replica does as inference where no span below it says more",
    silent="a replica's span is all of a deployment's code: put spans or `stage()` around its parts; the way back to "
    "the proxy stays in `other`",
    known_by=_known_by,
    derive=_derive,
)
