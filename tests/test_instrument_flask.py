"""Flask applications, wrapped in place, behind a threaded server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import flask
import pytest
from instrument_support import RUN, answer_of, attributes, head, id_of, memory_provider, parent_of
from instrument_support import traceparent as parent_header
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from wsgi_support import PARENT, named, served, stage_ms

from harness.instrument import instrument, pipeline, stage
from harness.instrument.host import host_key


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


@pytest.fixture
def flask_app() -> flask.Flask:
    app = flask.Flask("reader")

    @app.get("/items/<int:number>")
    def item(number: int) -> dict[str, int]:
        with stage("inference", model="det", batch_size=2):
            time.sleep(0.003)
        return {"number": number}

    @app.post("/upload")
    def upload() -> str:
        return str(len(flask.request.files["image"].read()))

    @app.get("/stream")
    def stream() -> flask.Response:
        @flask.stream_with_context
        def chunks() -> Iterator[str]:
            for _ in range(3):
                with stage("postprocess"):
                    time.sleep(0.002)
                yield flask.request.path

        return flask.Response(chunks())

    assert instrument(app) is app
    return app


def test_flask_is_wrapped_in_place_and_names_its_route(exporter: InMemorySpanExporter, flask_app: flask.Flask) -> None:
    instrument(flask_app)
    with served(flask_app, exporter) as client:
        answer = client.get("/items/7", PARENT, RUN)
        found = named(client.spans())
    inference, root = found["inference"], found["GET /items/<int:number>"]

    assert answer.content == b'{"number":7}\n'  # type: ignore[attr-defined]
    assert attributes(root)["http.route"] == "/items/<int:number>"
    assert (attributes(inference)["harness.model"], parent_of(inference)) == ("det", id_of(root))
    assert f' {host_key()}", total' in (answer.getheader("server-timing") or "")


def test_an_upload_to_flask_arrives_whole(exporter: InMemorySpanExporter, flask_app: flask.Flask) -> None:
    image = bytes(range(256)) * 400
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + image + b"\r\n--b--\r\n"
    kind = (b"content-type", b"multipart/form-data; boundary=b")
    with served(flask_app, exporter) as client, client.connect() as connection:
        connection.sendall(head("POST", "/upload", kind, (b"content-length", b"%d" % len(body))))
        time.sleep(0.05)
        connection.sendall(body)
        assert answer_of(connection).content == b"102400"  # type: ignore[attr-defined]
        found = client.spans()

    assert stage_ms(found, "upload") >= 30


def test_a_stream_of_flask_keeps_its_context_and_its_stages(
    exporter: InMemorySpanExporter, flask_app: flask.Flask
) -> None:
    with served(flask_app, exporter) as client:
        answer = client.get("/stream", PARENT, RUN)
        found = client.spans()

    assert answer.content == b"/stream" * 3  # type: ignore[attr-defined]
    assert " streamed" in (answer.getheader("server-timing") or "")
    assert sum(span.name == "postprocess" for span in found) == 3


def test_flasks_own_test_client_works_as_before(exporter: InMemorySpanExporter, flask_app: flask.Flask) -> None:
    with flask_app.test_client() as client:
        assert client.get("/items/3").json == {"number": 3}
        assert flask.request.path == "/items/3"  # the context it preserves
        assert client.get("/stream").data == b"/stream" * 3


def test_requests_side_by_side_keep_their_stages_apart(exporter: InMemorySpanExporter, flask_app: flask.Flask) -> None:
    with served(flask_app, exporter) as client:
        threads = [
            threading.Thread(target=client.get, args=(f"/items/{n}", parent_header(f"{n:032x}"))) for n in range(1, 9)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = client.spans(roots=8)

    by_trace: dict[int, list[str]] = {}
    for span in found:
        if span.name != "download":  # which a slow moment may leave
            by_trace.setdefault(span.context.trace_id, []).append(span.name)
    assert by_trace == {n: ["inference", "GET /items/<int:number>"] for n in range(1, 9)}
