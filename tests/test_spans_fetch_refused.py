"""What goes wrong with a trace store costs a warning with a hint, never the run."""

from __future__ import annotations

import contextlib
import gzip
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.interrupt import Interrupt
from harness.model import SpanSpec
from harness.spans import asking, jaeger, tempo
from harness.spans.asking import LIMIT_BYTES
from harness.spans.fetch import Fetched, Patience, fetch, warnings_of
from harness.spans.otlp import Decoded, MalformedBody
from tests.fetch_support import SHORT, brought
from tests.trace_shapes import T0, a_trace
from tests.trace_store import a_store


def test_a_store_that_wants_a_token_is_said_to(tmp_path: Path) -> None:
    with a_store("tempo-v2", token="s3cret") as store:  # noqa: S106
        fetched, table = brought(store.keep(a_trace(0)), tmp_path)

    (warning,) = warnings_of(fetched, "X")
    assert warning.message == f"the trace store at {store.url} refuses to answer (401)"
    assert "MLHARNESS_TRACE_STORE_TOKEN" in warning.hint
    assert table.num_rows == 0


def test_a_web_page_is_no_answer(tmp_path: Path) -> None:
    with a_store("page") as store:
        fetched, _ = brought(store.keep(a_trace(0)), tmp_path)

    assert fetched.error == f"the trace store at {store.url} answers with a web page"
    assert "http://127.0.0.1:16686" in fetched.hint


def test_a_store_that_is_down_is_named(tmp_path: Path) -> None:
    with a_store("tempo-v2") as store:
        store.keep(a_trace(0))
    fetched, _ = brought(store, tmp_path)

    assert (fetched.error or "").startswith(f"the trace store at {store.url} does not answer: ")
    assert "Tempo 3200" in fetched.hint


def test_a_store_without_these_traces_is_said_to_have_none(tmp_path: Path) -> None:
    with a_store("jaeger-legacy") as store:
        fetched, _ = brought(store, tmp_path, asked=["a" * 32])

    assert fetched.error == f"the trace store at {store.url} has no trace of this run"
    assert not fetched.late


@pytest.mark.parametrize(
    "reply", [(302, "text/plain", b""), (200, "text/plain", b"hello"), (200, "text/plain", b"[1]")]
)
def test_what_is_no_trace_store_is_said_to_be_none(reply: tuple[int, str, bytes], tmp_path: Path) -> None:
    with a_store("tempo-v2", first=[reply] * 50) as store:
        fetched, _ = brought(store, tmp_path, asked=["a" * 32])

    assert fetched.error is not None
    assert store.url in fetched.error
    assert fetched.hint


def test_a_store_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_TIMEOUT_S", 0.2)
    with a_store("tempo-v2", pause_s=0.6) as store:
        fetched, _ = brought(store.keep(a_trace(0)), tmp_path)

    assert fetched.error == f"the trace store at {store.url} does not answer: it takes too long"


def test_a_search_that_fails_is_done_without(tmp_path: Path) -> None:
    with a_store("jaeger-v3") as store:
        store.keep(*(a_trace(number) for number in range(60)))
        store.broken = "/api/v3/traces"
        fetched, _ = brought(store, tmp_path)

    assert (fetched.whole, fetched.error) == (60, None)


def test_an_answer_without_end_is_cut_off(tmp_path: Path) -> None:
    with a_store("tempo-v2") as store:
        store.keep(a_trace(0), a_trace(1)[:1])
        fetched, _ = brought(store, tmp_path, asked=store.trace_ids[:1])
        store.first = [(200, "application/json", b" " * (LIMIT_BYTES + 1))]
        again, _ = brought(store, tmp_path, asked=store.trace_ids[:1])

    assert fetched.error is None
    assert again.error == f"an answer of the trace store at {store.url} is larger than 64 MiB"


def test_a_second_ctrl_c_ends_the_asking(tmp_path: Path) -> None:
    interrupt = Interrupt()
    interrupt.presses = 2
    began = time.monotonic()
    with a_store("tempo-v2") as store:
        fetched, _ = brought(store, tmp_path, asked=["a" * 32], patience=Patience(), interrupt=interrupt)

    assert (fetched.whole, fetched.late) == (0, False)
    assert time.monotonic() - began < 5


def test_spans_that_still_come_at_the_deadline_are_a_warning_with_the_remedy(tmp_path: Path) -> None:
    with a_store("tempo-v2") as store:
        store.keep(*(a_trace(number) for number in range(30)))
        store.late = {(f"{0xABCD0000 << 96 | n + 1:032x}", f"{1:016x}"): 0.1 * n for n in range(30)}
        fetched, _ = brought(store, tmp_path, patience=Patience(5.0, 0.0, 0.01, 1.0))

    (warning,) = warnings_of(fetched, "MLHARNESS_SPAN_DEADLINE")
    assert warning.code == "late_spans"
    assert "OTEL_BSP_SCHEDULE_DELAY" in warning.hint
    assert "MLHARNESS_SPAN_DEADLINE" in warning.hint


def test_nothing_asked_is_nothing_done(tmp_path: Path) -> None:
    fetched = fetch(SpanSpec(source="jaeger", address="http://127.0.0.1:1"), [], None, tmp_path / "x.arrows",
                    Interrupt(), lambda event: None)  # fmt: skip

    assert fetched == Fetched("jaeger", 0)


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    with a_store("tempo-v2") as store:
        spec = SpanSpec(source="tempo", address=store.url)
        out = tmp_path / "missing" / "x.arrows"
        fetched = fetch(spec, ["a" * 32], (T0, T0), out, Interrupt(), lambda event: None, SHORT)

    assert "cannot be stored" in (fetched.error or "")


@contextlib.contextmanager
def a_raw_store(head: bytes, body: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """A store that answers whatever it is asked with `head` and what `body` yields, as it comes."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while self.request.recv(65_536):
                    self.request.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + head + b"\r\n")
                    for piece in body():
                        self.request.sendall(piece)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()  # a server that is closed and still serves keeps a core busy


def drops() -> Iterator[bytes]:
    for _ in range(600):
        yield b" "
        time.sleep(0.05)


def asked_of(url: str, folder: Path, interrupt: Interrupt, patience: Patience = SHORT) -> Fetched:
    spec = SpanSpec(source="jaeger", address=url)
    return fetch(spec, ["a" * 32], (T0, T0), folder / "x.arrows", interrupt, lambda event: None, patience)


def test_an_answer_that_drips_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_ANSWER_S", 0.4)
    with a_raw_store(b"", drops) as url:
        fetched = asked_of(url, tmp_path, Interrupt())

    assert fetched.error == f"the trace store at {url} does not answer: it takes too long"


@pytest.mark.parametrize("before", [0, 1])
def test_ctrl_c_ends_an_answer_that_drips(tmp_path: Path, before: int) -> None:
    interrupt = Interrupt()
    interrupt.presses = before
    threading.Timer(0.4, lambda: setattr(interrupt, "presses", before + 1)).start()
    began = time.monotonic()
    with a_raw_store(b"", drops) as url:
        asked_of(url, tmp_path, interrupt, Patience())

    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("head", "body", "message"),
    [
        (b"gzip, gzip", gzip.compress(gzip.compress(bytes(2**20))), "was not asked for: 'gzip, gzip'"),
        (b"br", b"x", "was not asked for: 'br'"),
        (b"gzip", gzip.compress(b"{}")[:-4], "cannot be inflated: the gzip body is cut off"),
        (b"gzip", gzip.compress(bytes(LIMIT_BYTES + 1), 1), "larger than 64 MiB"),
    ],
    ids=["twice", "brotli", "torn", "bomb"],
)
def test_an_answer_that_is_not_plain_gzip_is_refused(head: bytes, body: bytes, message: str, tmp_path: Path) -> None:
    said = b"content-length: %d\r\ncontent-encoding: %s\r\n" % (len(body), head)
    with a_raw_store(said, lambda: iter([body])) as url:
        fetched = asked_of(url, tmp_path, Interrupt())

    assert message in (fetched.error or "")


def test_a_gzipped_answer_is_read() -> None:
    body = gzip.compress(b'{"a": 1}')
    head = b"content-encoding: gzip\r\ncontent-length: %d\r\n" % len(body)
    with a_raw_store(head, lambda: iter([body])) as url, asking.Asker(url) as asker:
        assert asker.get(("/", {})).body == b'{"a": 1}'


@pytest.mark.parametrize(
    ("read", "body", "content_type"),
    [
        (jaeger.V3.read, b"{}" * 20_000_000, "application/json"),
        (jaeger.V3.read, b"{}" * 100_001, "application/json"),
        (jaeger.LEGACY.read, b'{"data":[' + b"{}," * 8_000_000 + b"{}]}", "application/json"),
        (tempo.V2.read, b'{"trace":{"resourceSpans":[' + b"1," * 9_000_000 + b"1]}}", "application/json"),
        (tempo.V2.read, b"\x18\x01" * 20_000_000, "application/protobuf"),
        (tempo.V2.read, b"\x0a\x00" * 100_001, "application/protobuf"),
    ],
    ids=["documents", "a few documents", "objects", "numbers", "fields", "traces"],
)
def test_an_answer_of_nothing_but_parts_is_refused(
    read: Callable[[bytes, str], Decoded], body: bytes, content_type: str
) -> None:
    began = time.process_time()
    with pytest.raises(MalformedBody, match="parts"):
        read(body, content_type)

    assert time.process_time() - began < 6
