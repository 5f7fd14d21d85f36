"""Where spans go and what happens when they cannot: other processes, forks, dead collectors, foreign providers."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from instrument_support import RUN, TESTS, a_service, a_sink, traceparent

from harness.instrument import pipeline
from harness.instrument.host import UNKNOWN, host_key
from harness.instrument.quiet import OncePerMinute, hush

PREAMBLE = """
import asyncio, json, os, sys
sys.path.insert(0, {tests!r})
from instrument_support import asgi_call, traceparent
from harness.instrument import instrument, stage
async def plain(scope, receive, send):
    with stage("inference"):
        inner()
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body"}})
app = instrument(plain)
def inner(): pass
def call(*headers): return asyncio.run(asgi_call(app, "/", headers))
"""


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints when it runs `code`."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")} | environment
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=TESTS.parent, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def an_application(code: str, **environment: str) -> str:
    return python(PREAMBLE.format(tests=str(TESTS)) + code, **environment)


def packages_after(statement: str) -> set[str]:
    code = f"import sys, json\n{statement}\nprint(json.dumps([m.partition('.')[0] for m in sys.modules]))"
    return set(json.loads(python(code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")))


def test_the_import_brings_opentelemetry_and_nothing_a_tester_or_a_framework_needs() -> None:
    ours = packages_after("import harness.instrument")
    sdk = packages_after("import opentelemetry.sdk.trace.export, opentelemetry.sdk.resources")

    assert ours - sdk - set(sys.stdlib_module_names) == {"harness"}
    unwanted = {"locust", "gevent", "pandas", "numpy", "pyarrow", "starlette", "fastapi", "anyio", "requests"}
    assert not ours & unwanted


def test_the_package_offers_three_names() -> None:
    assert python("import harness.instrument as i; print(i.__all__)") == "['Batcher', 'instrument', 'stage']\n"


@pytest.mark.parametrize("endpoint", [True, False])
def test_the_exporter_is_imported_only_when_an_endpoint_is_set(endpoint: bool) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"} if endpoint else {}
    printed = an_application("call(); print('requests' in sys.modules, flush=True); os._exit(0)", **environment)

    assert printed == f"{endpoint}\n"


def test_two_workers_export_under_their_own_pids() -> None:
    with a_sink() as sink, a_service(sink.url, workers=2) as service:
        traces = [secrets.token_hex(16) for _ in range(12)]
        threads = [threading.Thread(target=service.get, args=("/block", traceparent(trace))) for trace in traces]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        roots = [sink.trace(trace)[0] for trace in traces]

    assert len({root.span_id for root in roots}) == 12
    assert len({root.pid for root in roots}) == 2
    assert service.child.pid not in {root.pid for root in roots}


def test_a_forked_child_exports_by_itself_with_ids_of_its_own() -> None:
    code = """
call()
child = os.fork()
call()
from harness.instrument import pipeline
pipeline.start_flush().join()
if not child: os._exit(0)
os.waitpid(child, 0)
print(json.dumps([os.getpid(), child]))
"""
    with a_sink() as sink:
        parent, child = json.loads(an_application(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url))
    roots = [span.pid for span in sink.spans if span.kind == 2]

    assert sorted(roots) == sorted([parent, parent, child])
    assert len({span.trace_id for span in sink.spans}) == 3
    assert len({span.span_id for span in sink.spans}) == len(sink.spans) >= 6


def test_spans_still_queued_are_sent_at_shutdown() -> None:
    trace = secrets.token_hex(16)
    with a_sink() as sink:
        with a_service(sink.url, OTEL_BSP_SCHEDULE_DELAY="60000") as service:
            service.get("/", traceparent(trace))
            assert sink.spans == []
        sink.trace(trace)


@dataclass
class Observed:
    taken_s: list[float]
    stopped_s: float
    complaints: list[str]


def observed(endpoint: str) -> Observed:
    """Twenty requests to a service that exports to `endpoint`, and its end."""
    taken = []
    with a_service(endpoint) as service:
        for _ in range(20):
            start = time.monotonic()
            assert service.get("/", RUN).getheader("server-timing")
            taken.append(time.monotonic() - start)
            time.sleep(0.02)
        stopping = time.monotonic()
    complaints = [line for line in service.log if not line.startswith("INFO:")]
    return Observed(sorted(taken), time.monotonic() - stopping, complaints)


@pytest.fixture(scope="module")
def without_collector() -> Iterator[dict[str, Observed]]:
    release = threading.Event()
    with socket.socket() as unused, a_sink(answer=lambda: release.wait(20) and None) as sink:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refuses every connection
        with ThreadPoolExecutor(2) as pool:
            dead = pool.submit(observed, f"http://127.0.0.1:{unused.getsockname()[1]}")
            silent = pool.submit(observed, sink.url)
            yield {"dead": dead.result(), "silent": silent.result()}
        release.set()


@pytest.mark.parametrize("collector", ["dead", "silent"])
def test_a_collector_that_fails_neither_delays_answers_nor_the_end(
    without_collector: dict[str, Observed], collector: str
) -> None:
    assert without_collector[collector].taken_s[17] < 0.5
    assert without_collector[collector].stopped_s < 8


def test_a_dead_collector_is_one_line_in_the_log(without_collector: dict[str, Observed]) -> None:
    (line,) = without_collector["dead"].complaints

    assert "export" in line


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "Console"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "otlp, none"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_without_an_endpoint_or_when_switched_off_nothing_is_exported(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(pipeline, "global_provider", lambda: None)
    monkeypatch.setattr(pipeline, "_looked", False)
    monkeypatch.setattr(pipeline, "_own", None)

    assert pipeline.provider() is None
    assert pipeline.start_flush() is None


def test_the_sampler_of_the_environment_decides_but_never_against_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    never = pipeline.TracerProvider(shutdown_on_exit=False)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    provider = pipeline.TracerProvider(shutdown_on_exit=False)

    assert not pipeline.samples(never, pipeline.TraceParent(1, 1, True), 1)
    low, high = 1, (1 << 64) - 1  # the sampler looks at the low 64 bits
    assert pipeline.samples(provider, None, low)
    assert not pipeline.samples(provider, None, high)
    assert pipeline.samples(provider, pipeline.TraceParent(high, 1, True), high)
    assert not pipeline.samples(provider, pipeline.TraceParent(low, 1, False), low)


def test_a_repeated_complaint_is_one_line_without_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("test.quiet")
    logger.addFilter(OncePerMinute())
    for _ in range(50):
        try:
            raise ConnectionError("refused")
        except ConnectionError:
            logger.exception("export of %d failed", 3)

    assert [(r.getMessage(), r.exc_info) for r in caplog.records] == [
        ("export of 3 failed (ConnectionError: refused)", None)
    ]


def test_what_the_exporters_of_the_service_say_is_not_hushed(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("test.hushed")
    hush([logger.name])

    def complain() -> None:
        for at in range(3):
            logger.error("%s %d", threading.current_thread().name, at)

    for name in ("harness-post", "OtelBatchSpanRecordProcessor"):
        thread = threading.Thread(target=complain, name=name)
        thread.start()
        thread.join()
    found = [record.getMessage() for record in caplog.records]

    assert [line for line in found if not line.startswith("harness-")] == [
        f"OtelBatchSpanRecordProcessor {at}" for at in range(3)
    ]
    assert len(found) <= 4


def test_a_provider_of_the_service_is_not_ours_to_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "global_provider", lambda: pipeline.TracerProvider(shutdown_on_exit=False))
    monkeypatch.setattr(pipeline, "_outbox", None)

    assert pipeline.start_flush() is None


def test_the_host_key_is_the_same_for_one_kernel_and_a_dash_without_one(tmp_path: Path) -> None:
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("4d2c\n")

    # sha256("4d2c") begins with these twelve digits.
    assert host_key(boot_id) == "9ad90b3762b3"
    assert host_key(tmp_path / "missing") == UNKNOWN
