"""Why not one request has a server half: what came instead, and what to look at where the scenario takes spans from."""

from __future__ import annotations

from harness.join import Joined
from harness.model import RunWarning, SpanSpec
from harness.scenario.span_section import STORES
from harness.units import format_count

CODE = "no_server_halves"
_SHOWN = "`harness check SCENARIO --spans` shows what arrives and how it is read"


def no_server_halves(joined: Joined, spec: SpanSpec | None) -> RunWarning:
    """The warning for a run that should have server halves and has none. Without `spec` for any source."""
    if joined.foreign:
        return RunWarning(
            "foreign_traces",
            f"{format_count(joined.foreign)} traces arrived, but none belongs to a request of this run",
            "the service does not read the traceparent header: have its server side instrumented (spans of kind "
            "server), and `tracecontext` among OTEL_PROPAGATORS; or a proxy in between replaces the header",
        )
    if joined.rootless:
        return RunWarning(
            CODE,
            f"spans of {format_count(joined.rootless)} requests arrived, but none of kind server: where the service "
            "begins is not known",
            f"have the service's server side instrumented: `harness check SCENARIO --connect` shows how; {_SHOWN}",
        )
    if joined.spans:
        message = f"{format_count(joined.spans)} spans arrived, but no complete server half of a request among them"
        return RunWarning(CODE, message, _SHOWN)
    return RunWarning(CODE, *_nothing(spec or SpanSpec()))


def _nothing(spec: SpanSpec) -> tuple[str, str]:
    """What no span at all means, and what to do about it."""
    if spec.source in STORES:
        return (
            f"the trace store at {spec.address} had no spans of this run: no split",
            "does the service export there, and is this the URL of its query API? Spans that come later than the run "
            f"waits: OTEL_BSP_SCHEDULE_DELAY=500 in the service, or MLHARNESS_SPAN_DEADLINE=2min here; {_SHOWN}",
        )
    if spec.source == "file":
        return (
            f"{spec.address} had no spans of this run: no split",
            "does the service export to the collector that writes it, as OTLP in JSON, one document a line? Does it "
            f"flush before the run stops waiting (MLHARNESS_SPAN_DEADLINE=2min)? {_SHOWN}",
        )
    if spec.source == "server-timing":
        return (
            "no answer carried a Server-Timing: no split",
            "the service writes one with `instrument(app)` from harness.instrument; a service that sends spans needs "
            "`source: auto`; `harness check SCENARIO --connect` shows both",
        )
    sampled = (
        "`sampled: 0` in spans asks for none" if spec.sampled == 0 else "OTEL_TRACES_SAMPLER=parentbased_always_on"
    )
    ports = " and ".join(
        f"OTLP over {how} to {where}" for how, where in (("HTTP", spec.listen), ("gRPC", spec.listen_grpc)) if where
    )
    endpoint = spec.listen or spec.listen_grpc
    sends = f"it sends {ports} (OTEL_EXPORTER_OTLP_ENDPOINT=http://{endpoint}, " if endpoint else "it sends spans ("
    protocol = "OTEL_EXPORTER_OTLP_PROTOCOL=" + ("http/protobuf" if spec.listen or not endpoint else "grpc")
    said = "no spans" if spec.source == "otlp" else "no spans and no Server-Timing"
    header = "" if spec.source == "otlp" else ", or have it answer with Server-Timing: `instrument(app)`"
    return (
        f"the service sent {said}: no split",
        f"check where it runs that {sends}{protocol}) and records what it is asked to ({sampled}){header}; `harness "
        "check SCENARIO --connect` has the lines",
    )
