"""WSGI applications behind a threaded server with real sockets: their windows, stages and headers."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from instrument_support import RUN, TRACE, answer_of, attributes, head, id_of, memory_provider, parent_of, stages_of
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from wsgi_support import PARENT, Start, ms, named, plain, served, stage_ms

from harness.instrument import instrument, pipeline, stage
from harness.instrument.host import host_key


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


def test_a_request_leaves_a_root_under_its_caller_and_its_stages(exporter: InMemorySpanExporter) -> None:
    def work(_: dict[str, Any]) -> list[bytes]:
        with stage("preprocess"):
            time.sleep(0.003)
            with stage("queue", resource="lock"):
                time.sleep(0.002)
        return [b"ok"]

    with served(plain(work), exporter) as client:
        assert client.get("/%C3%A9t%C3%A9", PARENT).content == b"ok"  # type: ignore[attr-defined]
        found = named(client.spans())
    queue, preprocess, root = found["queue"], found["preprocess"], found["GET HTTP"]

    assert parent_of(root) == 0xBBBBBBBBBBBBBBBB
    assert attributes(root).items() >= {
        "http.response.status_code": 200, "url.path": "/été", "harness.split": "marks", "harness.host": host_key(),
    }.items()  # fmt: skip
    assert (parent_of(preprocess), parent_of(queue)) == (id_of(root), id_of(preprocess))
    assert attributes(preprocess)["harness.cpu_ns"] >= 0
    assert (root.start_time or 0) < attributes(root)["harness.first_send_ns"] <= (root.end_time or 0)


def test_a_run_gets_the_split_on_the_answer_and_others_do_not(exporter: InMemorySpanExporter) -> None:
    def work(_: dict[str, Any]) -> list[bytes]:
        with stage("inference"):
            time.sleep(0.004)
        return [b"ok"]

    with served(plain(work, ("Server-Timing", "db;dur=1")), exporter) as client:
        without = client.get("/", PARENT).headers.get_all("server-timing")
        foreign, ours = client.get("/", PARENT, RUN).headers.get_all("server-timing") or []

    assert without == [foreign] == ["db;dur=1"]
    assert ours.startswith(f'mlharness;desc="1 {TRACE} ')
    assert f' {host_key()}", total;dur=' in ours  # a list of one piece is complete: not streamed
    assert 4 <= stages_of(ours)["inference"] <= stages_of(ours)["total"]


def test_a_body_that_comes_in_two_halves_shows_as_upload(exporter: InMemorySpanExporter) -> None:
    def work(environ: dict[str, Any]) -> list[bytes]:
        with stage("preprocess"):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        return [str(len(body)).encode()]

    with served(plain(work), exporter) as client, client.connect() as connection:
        connection.sendall(head("POST", "/", RUN, (b"content-length", b"20")) + b"x" * 10)
        time.sleep(0.15)
        connection.sendall(b"x" * 10)
        answer = answer_of(connection)
        found = client.spans()
    timings = stages_of(answer.getheader("server-timing") or "")
    (upload,) = [span for span in found if span.name == "upload"]

    assert answer.content == b"20"  # type: ignore[attr-defined]
    assert ms(upload) >= 100
    assert parent_of(upload) == id_of(next(span for span in found if span.name == "preprocess"))
    assert timings["upload"] >= 100 > timings["preprocess"]


@pytest.mark.parametrize(
    "read",
    [
        lambda stream: b"".join(stream.read(3) for _ in range(4)),
        lambda stream: stream.readline() + stream.readline() + stream.readline(),
        lambda stream: b"".join(stream.readlines()),
        lambda stream: b"".join(stream),
        lambda stream: (buffer := bytearray(12), stream.readinto(buffer))[0],
        lambda stream: stream.read1(12),
    ],
    ids=["read", "readline", "readlines", "iteration", "readinto", "read1"],
)
def test_a_body_is_read_in_every_way_as_before(read: Callable[[Any], bytes]) -> None:
    class Slow(io.BytesIO):
        def seek_to_start(self) -> None:
            self.seek(0)

    environ: dict[str, Any] = {"CONTENT_LENGTH": "12", "wsgi.input": Slow(b"one\ntwo\nsix\n")}
    setup_testing_defaults(environ)

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [])
        environ["wsgi.input"].seek_to_start()  # what only this server's stream has is still there
        return [bytes(read(environ["wsgi.input"]))]

    assert list(instrument(app)(environ, lambda *_: None)) == [b"one\ntwo\nsix\n"]


def test_a_slow_reader_shows_as_download_and_work_between_chunks_does_not(exporter: InMemorySpanExporter) -> None:
    def work(_: dict[str, Any]) -> Iterator[bytes]:
        def chunks() -> Iterator[bytes]:
            with stage("postprocess"):
                for _ in range(3):
                    time.sleep(0.02)
                    yield b"x" * 4_000_000

        return chunks()

    with served(plain(work, ("Content-Length", "12000000")), exporter) as client, client.connect() as connection:
        connection.sendall(head("GET", "/", PARENT))
        time.sleep(0.25)
        assert len(answer_of(connection).content) == 12_000_000  # type: ignore[attr-defined]
        found = client.spans()
    root = found[-1]
    downloads = [span for span in found if span.name == "download"]
    work_span = next(span for span in found if span.name == "postprocess")

    assert 120 <= stage_ms(found, "download") <= ms(root)
    assert ms(work_span) >= 60
    assert {parent_of(span) for span in downloads[:2]} == {id_of(work_span)}  # the stage stayed open over the chunks


def test_the_header_of_a_generator_says_that_it_left_early(exporter: InMemorySpanExporter) -> None:
    def late(environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        with stage("inference"):
            time.sleep(0.003)
        start_response("200 OK", [("Content-Type", "text/plain")])  # runs when the first chunk is asked for
        yield b"o"
        yield b"k"

    with served(instrument(late), exporter) as client:
        answer = client.get("/", RUN)
        found = client.spans()
    timing = answer.getheader("server-timing") or ""

    assert answer.content == b"ok"  # type: ignore[attr-defined]
    assert f' {host_key()} streamed", total' in timing
    assert stages_of(timing)["inference"] >= 3
    assert stage_ms(found, "inference") >= 3


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_with_a_known_end_is_not_called_streamed(exporter: InMemorySpanExporter, method: str) -> None:
    headers = () if method == "HEAD" else (("Content-Length", "2"),)

    with served(plain(lambda _: iter([b"ok"][: method == "GET"]), *headers), exporter) as client:
        assert "streamed" not in (client.get("/", RUN, method=method).getheader("server-timing") or "streamed")


def test_a_single_chunk_still_gets_its_length_from_the_server(exporter: InMemorySpanExporter) -> None:
    with served(plain(lambda _: [b"hello"]), exporter) as client:
        assert client.get("/").getheader("content-length") == "5"
        assert client.get("/", RUN).getheader("content-length") == "5"
