"""Server-Timing leaves before the body: an answer whose length is not known yet says that it is streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from instrument_support import RUN, asgi_call, attributes, memory_provider
from starlette.middleware.gzip import GZipMiddleware

from harness.instrument import instrument, pipeline, stage
from harness.instrument.host import host_key
from harness.instrument.server_timing import is_streamed
from harness.model import Split
from harness.spans import server_timing

STAYS = {"asgi": {"version": "3.0", "spec_version": "2.4"}}  # a stream need not watch for a caller who leaves


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(2):
        with stage("inference"):
            await asyncio.sleep(0.001)
        yield b"word"


ANSWERS: dict[str, Callable[[], Response]] = {
    "json": lambda: JSONResponse({"ok": True}),
    "file": lambda: FileResponse(__file__),
    "no content": lambda: Response(status_code=204),
    "not modified": lambda: Response(status_code=304),
    "stream": lambda: StreamingResponse(pieces()),
    "stream with a length": lambda: StreamingResponse(pieces(), headers={"Content-Length": "8"}),
}


def says_streamed(answer: str, method: str = "GET", *, compressed: bool = False) -> bool:
    app = FastAPI()
    app.add_api_route("/", ANSWERS[answer], methods=["GET", "HEAD"], response_model=None)
    if compressed:
        app.add_middleware(GZipMiddleware, minimum_size=1)
    headers = [RUN, (b"accept-encoding", b"gzip")]
    (timing,) = asyncio.run(asgi_call(instrument(app), headers=headers, method=method, scope=STAYS)).timings()
    half = server_timing.parse(timing)
    assert half is not None
    assert (half.split, half.host) == (Split.MARKS, host_key())
    return half.streamed


@pytest.mark.parametrize("answer", ANSWERS)
def test_only_an_answer_of_unknown_length_is_called_streamed(answer: str) -> None:
    assert says_streamed(answer) == (answer == "stream")


def test_an_answer_without_a_body_is_not_called_streamed() -> None:
    assert not says_streamed("stream", "HEAD")
    assert not any(is_streamed("GET", status, has_length=False) for status in (100, 103, 199, 204, 304))
    assert all(is_streamed("GET", status, has_length=False) for status in (200, 206, 404, 500, None))


def test_a_compressed_answer_is_streamed_only_if_its_length_is_unknown() -> None:
    assert not says_streamed("json", compressed=True)
    assert says_streamed("stream", compressed=True)


def test_headers_that_can_be_read_only_once_are_all_passed_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": iter([(b"Content-Length", b"0")])})
        await send({"type": "http.response.body", "body": b""})

    answer = asyncio.run(asgi_call(instrument(app), headers=[RUN]))

    assert [name for name, _ in answer.headers] == [b"Content-Length", b"server-timing"]
    assert "streamed" not in answer.timings()[0]


@pytest.mark.parametrize(("answer", "streamed"), [("json", None), ("no content", None), ("stream with a length", True)])
def test_a_root_says_whether_its_body_left_in_parts(
    answer: str, streamed: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    app = FastAPI()
    app.add_api_route("/", ANSWERS[answer], response_model=None)

    asyncio.run(asgi_call(instrument(app), scope=STAYS))

    said = next(attributes(span) for span in exporter.get_finished_spans() if "harness.split" in attributes(span))
    assert said.get("harness.streamed") is streamed
