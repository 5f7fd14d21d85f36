"""Process vitals: figures of real processes, sent once a second, and what happens when nobody takes them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from instrument_support import TESTS, Sink, a_service, a_sink, asgi_call
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from harness.instrument import vitals
from harness.instrument.figures import FIGURES

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def reports(sink: Sink, least: int, timeout_s: float = 10.0) -> list[ExportMetricsServiceRequest]:
    deadline = time.monotonic() + timeout_s
    while len(sink.metrics) < least:
        assert time.monotonic() < deadline, f"{len(sink.metrics)} reports, not {least}"
        time.sleep(0.02)
    return [ExportMetricsServiceRequest.FromString(body) for body in list(sink.metrics)]


def metrics_of(report: ExportMetricsServiceRequest) -> dict[str, Any]:
    return {metric.name: metric for r in report.resource_metrics for s in r.scope_metrics for metric in s.metrics}


def value(metric: Any) -> float:
    (point,) = getattr(metric, metric.WhichOneof("data")).data_points
    return float(point.as_double if point.WhichOneof("value") == "as_double" else point.as_int)


def resource_of(report: ExportMetricsServiceRequest) -> dict[str, Any]:
    (resource,) = [r.resource for r in report.resource_metrics]
    return {pair.key: pair.value.int_value or pair.value.string_value for pair in resource.attributes}


@pytest.fixture(scope="module")
def observed() -> Iterator[tuple[Any, list[ExportMetricsServiceRequest]]]:
    """A FastAPI service on uvloop that was asked some things, and its first reports."""
    options = ("--loop", "uvloop", "--http", "httptools")
    with (
        a_sink() as sink,
        a_service(sink.url, *options, app="instrument_app", OTEL_SERVICE_NAME="reader") as service,
    ):
        connections = [service.connect() for _ in range(3)]
        for connection in connections:
            connection.sendall(b"GET /sync HTTP/1.1\r\nhost: x\r\n\r\n")  # 500 ms in a thread
        reports(sink, 1)
        service.get("/items/7")
        for connection in connections:
            connection.close()
        yield service, reports(sink, 3)


def test_a_service_reports_every_figure_under_its_name_and_unit(observed: Any) -> None:
    found = {name: metric.unit for report in observed[1] for name, metric in metrics_of(report).items()}

    assert found == {figure.name: figure.unit for figure in FIGURES}


def test_spans_are_counted_up_and_the_rest_is_as_it_is(observed: Any) -> None:
    last = metrics_of(observed[1][-1])
    counters = {name for name, metric in last.items() if metric.WhichOneof("data") == "sum"}

    assert counters == {"harness.spans.started", "harness.spans.exported", "harness.spans.lost"}
    assert all(last[name].sum.is_monotonic and last[name].sum.aggregation_temporality == 2 for name in counters)
    assert value(last["harness.spans.started"]) >= 4
    assert value(last["harness.spans.lost"]) == 0


def test_reports_come_once_a_second_from_the_process_that_serves(observed: Any) -> None:
    service, found = observed
    at = [next(iter(metrics_of(r).values())).gauge.data_points[0].time_unix_nano for r in found]

    assert all(0.5e9 < after - before < 4e9 for before, after in itertools.pairwise(at))
    assert {resource_of(report)["process.pid"] for report in found} == {service.child.pid}
    assert resource_of(found[0])["service.name"] == "reader"


def test_a_real_process_has_plausible_figures(observed: Any) -> None:
    for report in observed[1]:
        found = {name: value(metric) for name, metric in metrics_of(report).items()}
        assert 0 <= found["process.cpu.utilization"] < 4
        assert 10e6 < found["process.memory.usage"] < 2e9
        assert 2 <= found["process.thread.count"] < 500
        assert 0 <= found["harness.event_loop.lag"] < 5
        assert 0 <= found["harness.gc.pause"] < 1


@pytest.mark.parametrize(
    ("environment", "on"),
    [
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9/v1/metrics"}, True),
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": "console,otlp"}, True),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf"}, True),
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, False),
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "MLHARNESS_VITALS": "off"}, False),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
    ],
)
def test_the_environment_switches_them(environment: dict[str, str], on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OTEL_", "MLHARNESS_"))]:
        monkeypatch.delenv(name)
    for name, setting in environment.items():
        monkeypatch.setenv(name, setting)

    assert vitals.wanted() is on


APPLICATION = """
import asyncio, os, sys, threading, time
sys.path.insert(0, {tests!r})
from instrument_support import asgi_call
from harness.instrument import instrument, vitals
vitals.EVERY_S = 0.2
async def plain(scope, receive, send):
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body"}})
app = instrument(plain)
def call(): asyncio.run(asgi_call(app))
def ours(): return [t for t in threading.enumerate() if t.name == "harness-vitals"]
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")} | environment
    command = [sys.executable, "-c", APPLICATION.format(tests=str(TESTS)) + code]
    done = subprocess.run(command, env=environ, cwd=TESTS.parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


def test_nothing_runs_before_the_first_request_and_nothing_at_all_when_off() -> None:
    code = """
print(len(ours()))
call()
print(len(ours()), 'opentelemetry.sdk.metrics' in sys.modules, flush=True)
os._exit(0)
"""
    assert python(code, **ENDPOINT).stdout == "0\n1 True\n"
    assert python(code, **ENDPOINT, MLHARNESS_VITALS="off").stdout == "0\n0 False\n"


def test_a_forked_child_reports_by_itself_and_only_if_it_serves() -> None:
    code = """
call()
idle = os.fork()
if not idle: time.sleep(0.8); os._exit(0 if not ours() else 7)
serving = os.fork()
if not serving: call(); time.sleep(0.8); os._exit(0)
codes = [os.waitpid(child, 0)[1] for child in (idle, serving)]
print(os.getpid(), serving, codes)
"""
    with a_sink() as sink:
        parent, child, *codes = python(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url).stdout.split()
        found = reports(sink, 2)

    assert codes == ["[0,", "0]"]
    assert {resource_of(report)["process.pid"] for report in found} == {int(parent), int(child)}


@contextlib.contextmanager
def refusing(paths: list[str]) -> Iterator[str]:
    """A collector of traces that knows no metrics."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            paths.append(self.path)
            self.send_response(404 if self.path == "/v1/metrics" else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("after", ["0.1", "60"])
def test_a_collector_without_metrics_is_one_line_once_that_lasts_and_asked_less_often(after: str) -> None:
    paths: list[str] = []
    code = f"""
call()
vitals.MENTIONED_AFTER_S = {after}
time.sleep(1.5)
"""
    with refusing(paths) as url:
        done = python(code, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    asked = paths.count("/v1/metrics")

    assert 1 <= asked <= 4  # at 0.2, 0.6 and 1.4 s; every 0.2 s it would be seven
    lines = done.stderr.splitlines()
    assert len(lines) == (after == "0.1")
    assert all(line.startswith(f"no collector at {url} takes process vitals; tried again ") for line in lines)
    assert all("404" in line for line in lines)


def test_a_collector_that_hangs_does_not_hold_up_the_end() -> None:
    release = threading.Event()

    class Deaf(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            release.wait(20)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Deaf)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        code = "call(); time.sleep(0.5); print(time.time())"
        environment = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}/v1/metrics"}
        ended = float(python(code, **environment).stdout)
        assert time.time() - ended < 2
    finally:
        release.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_request_in_flight_is_counted_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "_on", True)
    monkeypatch.setattr(vitals, "start", lambda: None)
    monkeypatch.setattr(vitals, "_open", set())
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(len(vitals._open))
        await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/fails":
            raise ValueError

    async def three() -> None:
        served = vitals.watched(app)
        await asyncio.gather(*(asgi_call(served, path) for path in ("/", "/", "/fails")), return_exceptions=True)

    asyncio.run(three())

    assert seen == [1, 2, 3]
    assert vitals._open == set()
