"""The service's own tracing is what it was without us: same parents, kinds, traces, sampling and baggage."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from fastapi import FastAPI
from instrument_support import TESTS, asgi_call
from starlette.applications import Starlette
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from harness.instrument import instrument, window
from harness.timebase import Timebase

SCRIPT = """
import asyncio, json, sys
from fastapi import FastAPI
from instrument_support import RUN, asgi_call, traceparent
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from harness.instrument import instrument

class NoHealth(Sampler):
    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        told = attributes or {}
        drop = "/health" in (told.get("url.path"), told.get("http.target"))
        return SamplingResult(Decision.DROP if drop else Decision.RECORD_AND_SAMPLE)
    def get_description(self):
        return "no health"

exporter = InMemorySpanExporter()
provider = TracerProvider(sampler=ParentBased(NoHealth(), remote_parent_sampled=NoHealth()))
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
CALLER = [traceparent("a" * 32), (b"tracestate", b"vendor=1"), (b"baggage", b"user=bob"), (b"baggage", b"tier=1")]
seen = []

async def endpoint(request=None):
    with trace.get_tracer("manual").start_as_current_span("work"):
        context = trace.get_current_span().get_span_context()
        seen.append([baggage.get_baggage("user"), baggage.get_baggage("tier"), dict(context.trace_state)])
    return PlainTextResponse("x")

def service(framework, ours, layer):
    if framework == "fastapi":
        app = FastAPI()
        app.get("/{rest:path}")(lambda: None)
        app.router.routes[-1] = Route("/{rest:path}", endpoint)
    else:
        app = Starlette(routes=[Route("/{rest:path}", endpoint)])
    if layer == "inside":
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        app.add_middleware(OpenTelemetryMiddleware)
    if ours:
        instrument(app)
    if layer == "outside":
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        app = OpenTelemetryMiddleware(app)
    return app

def spans_of(framework, ours, layer, path, headers):
    exporter.clear(), seen.clear()
    asyncio.run(asgi_call(service(framework, ours, layer), path, headers))
    found = exporter.get_finished_spans()
    names = {s.context.span_id: f"{s.instrumentation_scope.name}/{s.name}" for s in found}
    rows = []
    for s in found:
        trace_id = f"{s.context.trace_id:032x}"
        parent = s.parent and names.get(s.parent.span_id, f"{s.parent.span_id:016x}")
        rows.append([names[s.context.span_id], s.kind.name, parent, trace_id if trace_id == "a" * 32 else "new"])
    own = sorted((row for row in rows if not row[0].startswith("harness")), key=str)
    return own, list(seen), [row for row in rows if row[0].startswith("harness") and row[1] == "SERVER"]

outcomes = []
for framework, layer, path, called, run in json.loads(sys.argv[1]):
    headers = (CALLER if called == "called" else []) + ([RUN] if run == "run" else [])
    outcomes.append([spans_of(framework, ours, layer, path, headers) for ours in (False, True)])
print(json.dumps(outcomes))
"""
Case = tuple[str, str, str, str, str]
LAYERED = [
    (framework, layer, "/x", called, "run")
    for framework, layer in (("fastapi", "none"), ("starlette", "inside"), ("starlette", "outside"))
    for called in ("called", "uncalled")
]
UNSAMPLED = ("starlette", "inside", "/health", "called", "run")
MANUAL, MANUAL_OUTSIDE_A_RUN = ("starlette", "none", "/x", "called", "run"), ("starlette", "none", "/x", "called", "no")
CASES = [MANUAL, MANUAL_OUTSIDE_A_RUN, *LAYERED, UNSAMPLED]  # those that import an instrumentation come last
Outcome = tuple[list[list[str]], list[Any], list[list[str]]]


@pytest.fixture(scope="module")
def outcomes() -> dict[Case, tuple[Outcome, Outcome]]:
    """For each case the service's own spans (name, kind, parent, trace), what it saw, and our roots: without us, and
    with us."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")} | {"PYTHONPATH": str(TESTS)}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(CASES)],
        env=environ, cwd=TESTS.parent, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return dict(zip(CASES, json.loads(ended.stdout), strict=True))


@pytest.mark.parametrize("case", LAYERED, ids=str)
def test_spans_and_baggage_of_an_instrumented_service_stay_as_they_were(
    case: Case, outcomes: dict[Case, tuple[Outcome, Outcome]]
) -> None:
    (own, seen, _), (own_with_us, seen_with_us, ours) = outcomes[case]

    assert own == own_with_us
    assert seen == seen_with_us
    assert len(own) > 1  # "work" and a server span at least
    assert len(ours) == 1
    if "called" in case:
        assert ours[0][2:] == ["b" * 16, "a" * 32]  # beside the service's server span
    elif "outside" in case:
        assert ours[0][2] == "opentelemetry.instrumentation.asgi/GET /x"


def test_a_sampler_that_goes_by_the_path_is_asked_with_it(outcomes: dict[Case, tuple[Outcome, Outcome]]) -> None:
    (own, _, _), (own_with_us, _, ours) = outcomes[UNSAMPLED]

    assert (own_with_us, ours) == (own, [])


def test_spans_of_a_service_without_server_instrumentation_join_a_run_and_nothing_else(
    outcomes: dict[Case, tuple[Outcome, Outcome]],
) -> None:
    _, (run, seen, _) = outcomes[MANUAL]
    (own, _, _), (other, _, _) = outcomes[MANUAL_OUTSIDE_A_RUN]

    assert run == [["manual/work", "INTERNAL", "b" * 16, "a" * 32]]
    assert seen[0][:2] == ["bob", "1"]
    assert own == other == [["manual/work", "INTERNAL", None, "new"]]


def test_who_takes_the_middleware_stack_apart_finds_what_the_framework_made() -> None:
    for app in (instrument(FastAPI()), instrument(Starlette())):
        stack = app.build_middleware_stack()
        assert isinstance(stack, ServerErrorMiddleware)


def test_a_wrapped_application_is_still_of_its_class_and_wrapped_once() -> None:
    async def endpoint(request: object) -> PlainTextResponse:
        return PlainTextResponse("x")

    app = Starlette(routes=[Route("/", endpoint)])
    asyncio.run(asgi_call(app))  # its stack stands already
    assert instrument(app) is app
    first = type(app)
    instrument(app)

    assert type(app) is first
    assert (isinstance(app, Starlette), first.__name__) == (True, "Starlette")
    answer = asyncio.run(asgi_call(app, headers=[(b"x-mlharness-run", b"1")]))
    assert len(answer.timings()) == 1


def test_headers_that_can_be_read_once_reach_the_application() -> None:
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.extend(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    asyncio.run(asgi_call(instrument(app), scope={"headers": iter([(b"a", b"1"), (b"b", b"2")])}))

    assert found == [(b"a", b"1"), (b"b", b"2")]


def test_an_instant_after_a_clock_was_set_is_that_of_the_new_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead, passed = [0], [0]
    timebase = Timebase(lambda: time.time_ns() + ahead[0], lambda: time.perf_counter_ns() + passed[0])
    monkeypatch.setattr(window, "_timebase", timebase)
    window.close(window.open_record([]), {})
    ahead[0], passed[0] = 3_600_000_000_000, 5_000_000_000  # an hour forward, within five quiet seconds

    record = window.open_record([])

    assert record.epoch_ns - time.time_ns() > 3_500_000_000_000
