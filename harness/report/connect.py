"""How a service sends its server halves here: the exact lines, for a service next door, in Docker, or far away."""

from __future__ import annotations

TEMPLATE = """\
How the service tells where its time went

1. On the answer itself (nothing to open, nothing to configure):
     pip install ml-harness                    # in the service: opentelemetry-sdk and its OTLP exporter, no more
     from harness.instrument import instrument, stage
     instrument(app)                           # then: with stage("preprocess"): ...
   Requests of a run carry a header that asks for Server-Timing; nobody else sees it.

2. As spans, with every call of every model (this run listens on {listen}):
   on this host
     export OTEL_EXPORTER_OTLP_ENDPOINT=http://{listen}
     export OTEL_SERVICE_NAME=my-service
   in Docker on this host
     docker run --network host -e OTEL_EXPORTER_OTLP_ENDPOINT=http://{listen} -e OTEL_SERVICE_NAME=my-service IMAGE
   on another host: bring the port over with ssh, from here
     ssh -R {port}:{listen} SERVICE-HOST
     export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{port}      # there

3. Spans of your own (any language, no import of ours): give them an attribute `harness.stage`, or map their names
     spans: {{stages: {{preprocess: ["decode*"], inference: ["*.run"], postprocess: ["nms"]}}}}
   Plain OpenTelemetry exports every 5 s; OTEL_BSP_SCHEDULE_DELAY=500 makes the end of a run shorter.

Then: harness check SCENARIO --spans"""

NO_RECEIVER = (
    "This scenario starts no span receiver (`spans: {{listen: ...}}` is off): the split comes from Server-Timing.\n\n"
)


def render(listen: str | None) -> str:
    """The text for a receiver address, or for the default one when the scenario has none."""
    address = listen or "127.0.0.1:4318"
    text = TEMPLATE.format(listen=address, port=address.rpartition(":")[2])
    return text if listen else NO_RECEIVER.format() + text
