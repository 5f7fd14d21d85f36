"""How a service sends its server halves here: the exact lines, for a service next door, in Docker, or far away."""

from __future__ import annotations

from harness.model import PRESETS, SpanSpec
from harness.report.text import visible

_HEADER = """\
How the service tells where its time went

1. On the answer itself (nothing to open, nothing to configure):
     pip install ml-harness                    # in the service: opentelemetry-sdk and its OTLP exporter, no more
     from harness.instrument import instrument, stage
     instrument(app)                           # then: with stage("preprocess"): ...
   Requests of a run carry a header that asks for Server-Timing; nobody else sees it."""

_RECEIVER = """\
2. As spans, with every call of every model; OTLP over {heard}:
   on this host
     {env}export OTEL_EXPORTER_OTLP_ENDPOINT=http://{address}
     export OTEL_SERVICE_NAME=my-service OTEL_BSP_SCHEDULE_DELAY=500
   in Docker on this host
     docker run --network host -e OTEL_SERVICE_NAME=my-service \\
       -e OTEL_EXPORTER_OTLP_ENDPOINT=http://{address} {docker}IMAGE
   on another host: bring the port over with ssh, from here; there, as on this host
     ssh -R {port}:{address} SERVICE-HOST"""

_OTHERS = """\
3. Spans of your own (any language, no import of ours): an attribute `harness.stage`, or names mapped here
     spans: {{stages: {{preprocess: ["decode*"], inference: ["*.run"], postprocess: ["nms"]}}}}
   Servers whose spans are known: spans: {{preset: NAME}}, of {presets}
   FastAPI >= 0.165   FASTAPI_OTEL_AUTO_CONFIGURE=true, OTLP over HTTP
   Node.js            npm install @opentelemetry/api @opentelemetry/auto-instrumentations-node
                      node --require @opentelemetry/auto-instrumentations-node/register app.js
   Triton             tritonserver --trace-config mode=opentelemetry --trace-config level=TIMESTAMPS \\
                        --trace-config rate=0 --trace-config opentelemetry,url=http://{http}/v1/traces
   vLLM               {vllm}

4. From where they are already: spans: {{source: {{jaeger: http://HOST:16686}}}} or {{tempo: http://HOST:3200}}
   or {{file: traces/*.jsonl}}, as a collector's file exporter writes them

Then: harness check SCENARIO --spans"""

_NO_RECEIVER = """\
2. As spans: this scenario starts no receiver for them. `spans: {listen: 127.0.0.1:4318}` opens one for OTLP over HTTP,
   `listen_grpc: 127.0.0.1:4317` one for OTLP over gRPC."""


def render(spec: SpanSpec) -> str:
    """The text for a scenario's spans; it fits on a screen."""
    if spec.source in ("jaeger", "tempo", "file"):
        where = f"This run reads spans from {spec.source}: {visible(spec.address or '?')}\n\n"
        return where + "\n\n".join([_HEADER, _NO_RECEIVER, _others(SpanSpec())])
    if spec.source not in ("auto", "otlp") or (spec.listen is None and spec.listen_grpc is None):
        return "\n\n".join([_HEADER, _NO_RECEIVER, _others(SpanSpec())])
    return "\n\n".join([_HEADER, _receiver(spec), _others(spec)])


def _receiver(spec: SpanSpec) -> str:
    address = spec.listen or spec.listen_grpc or ""
    over = [("HTTP", spec.listen), ("gRPC", spec.listen_grpc)]
    only_grpc = spec.listen is None
    text = _RECEIVER.format(
        heard=", ".join(f"{how} comes to {where}" for how, where in over if where is not None),
        address=address,
        port=address.rpartition(":")[2],
        env="export OTEL_EXPORTER_OTLP_PROTOCOL=grpc\n     " if only_grpc else "",
        docker="-e OTEL_EXPORTER_OTLP_PROTOCOL=grpc " if only_grpc else "",
    )
    if only_grpc or spec.listen_grpc is None:
        return text
    lines = f"export OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_ENDPOINT=http://{spec.listen_grpc}"
    return f"{text}\n   over gRPC instead\n     {lines}"


def _others(spec: SpanSpec) -> str:
    """vLLM speaks gRPC unless told otherwise; Triton speaks HTTP alone, for which another port may have to be open."""
    http = spec.listen or SpanSpec().listen
    vllm = (
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf \\\n"
        f"                        vllm serve ... --otlp-traces-endpoint http://{http}/v1/traces"
    )
    if spec.listen is None:
        vllm = f"vllm serve ... --otlp-traces-endpoint http://{spec.listen_grpc}"
    return _OTHERS.format(presets=", ".join(PRESETS), http=http, vllm=vllm)
