"""Where metrics are read: one path, a token where other machines can connect; and where they are sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import ClassVar

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from harness.errors import UsageError
from harness.metrics.pushed import Pusher, endpoint, metrics_data
from harness.metrics.serve import Server
from harness.metrics.start import bind
from tests.builders import T0, trace
from tests.test_metrics import tally


@contextmanager
def serving(token: str | None = None) -> Iterator[str]:
    sock = bind("0", token)
    server = Server(sock, lambda accept: (f"for {accept}\n".encode(), "text/plain; version=0.0.4"), token)
    port = sock.getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


def test_metrics_are_at_one_path_and_nothing_else_is() -> None:
    with serving() as url:
        found = httpx.get(f"{url}/metrics", headers={"accept": "x"})
        other = httpx.get(f"{url}/../etc/passwd")

    assert (found.status_code, found.text, found.headers["content-type"]) == (
        200,
        "for x\n",
        "text/plain; version=0.0.4",
    )
    assert other.status_code == 404


@pytest.mark.parametrize(
    ("given", "wanted"), [(None, 401), ("Bearer wrong", 401), ("Bearer s3cret", 200), ("Bearer \u00e9", 401)]
)
def test_a_token_is_asked_for(given: str | None, wanted: int) -> None:
    headers = {} if given is None else {"authorization": given.encode("latin-1")}

    with serving("s3cret") as url:
        assert httpx.get(f"{url}/metrics", headers=headers).status_code == wanted


def test_a_head_has_no_body_and_a_post_is_refused() -> None:
    with serving() as url:
        assert httpx.head(f"{url}/metrics").content == b""
        assert httpx.post(f"{url}/metrics").status_code == 501


def test_a_connection_too_many_is_closed_and_the_others_live() -> None:
    with serving() as url:
        port = httpx.URL(url).port or 0
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        for sock in held:
            sock.close()
        for _ in range(100):
            try:
                assert httpx.get(f"{url}/metrics").status_code == 200
                break
            except httpx.TransportError:
                continue


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:9464", "example.org:1"])
def test_other_machines_are_refused_without_a_token(address: str) -> None:
    with pytest.raises(UsageError, match="lets other machines read") as error:
        bind(address, None)

    assert "--metrics-token" in str(error.value.hint)


def test_with_a_token_any_address_will_do() -> None:
    with closing(bind("0.0.0.0:0", "s3cret")) as sock:
        assert sock.getsockname()[0] == "0.0.0.0"


@pytest.mark.parametrize("address", ["", "host", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:1", "::1:80"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no address to listen on"):
        bind(address, "token")


def test_a_host_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no\.such\.host\.invalid' is no address of this machine"):
        bind("no.such.host.invalid:1", "token")


def test_a_port_that_is_taken_is_refused() -> None:
    with closing(bind("0", None)) as sock, pytest.raises(UsageError, match="address already in use"):
        bind(str(sock.getsockname()[1]), None)


# --- pushed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/metrics"),
        ("https://host/", "https://host/v1/metrics"),
        ("http://host/otlp/v1/metrics", "http://host/otlp/v1/metrics"),
    ],
)
def test_a_receiver_is_named_by_its_address_or_by_its_path(url: str, wanted: str) -> None:
    assert endpoint(url) == wanted


@pytest.mark.parametrize("url", ["127.0.0.1:4318", "grpc://host:4317", "http://", "http://host:x", "http://[::1"])
def test_what_is_no_receiver_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no URL"):
        endpoint(url)


class _Taking(BaseHTTPRequestHandler):
    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_receiver_gets_histograms_with_requests_as_examples() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Taking)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    pusher = Pusher(endpoint(f"http://127.0.0.1:{server.server_port}"))
    try:
        assert pusher.push(metrics_data([tally({"latency_s": 0.1}, {"latency_s": 3.0})]))
    finally:
        pusher.close()
        server.shutdown()
        thread.join()
        server.server_close()

    (resource,) = ExportMetricsServiceRequest.FromString(_Taking.bodies[-1]).resource_metrics
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    (point,) = metrics["harness.request.duration"].histogram.data_points
    assert (metrics["harness.request.duration"].unit, point.count, point.sum) == ("s", 2, 3.1)
    assert (point.start_time_unix_nano, point.min, point.max) == (T0, 0.1, 3.0)
    assert {(one.trace_id.hex(), one.span_id.hex(), one.as_double) for one in point.exemplars} == {
        (trace(0), f"{1:016x}", 0.1),
        (trace(1), f"{2:016x}", 3.0),
    }
    named = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert (named["service.name"], named["service.instance.id"]) == ("harness", "run-1")
    assert metrics["harness.requests"].sum.is_monotonic
    assert metrics["harness.requests.in_flight"].gauge.data_points[0].as_int == 3
