"""`harness init` with one example request, and with what is no OpenAPI document."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from draft_support import folder as folder
from draft_support import refusal, said
from load_support import Request, raw_server

from harness.draft import read_api
from harness.scenario import load_scenario
from tests.draft_app import app

# --- one example request -----------------------------------------------------------------------------------


def test_one_request_is_enough() -> None:
    done = said("http://127.0.0.1:9", "--request", "POST /v1/embed?x=1", "--json", '{"text": "no", "n": 1.50}')

    assert done.exception is None
    scenario = load_scenario("scenario.yaml", environ={})
    (request,) = scenario.requests
    assert (scenario.name, scenario.target, request.name) == ("embed", "http://127.0.0.1:9", "embed")
    assert (request.method, request.path, request.params) == ("POST", "/v1/embed", (("x", "1"),))
    assert json.loads(request.body.json or "") == {"text": "no", "n": 1.5}


def test_one_request_may_send_files() -> None:
    Path("out").mkdir()
    said(
        "http://h:1",
        "--request",
        "PUT /up",
        "-f",
        "a=*.jpg",
        "-f",
        "a=photo.jpg",
        "-f",
        "b=photo.jpg",
        "-o",
        "out/s.yaml",
    )
    (request,) = load_scenario("out/s.yaml", environ={}).requests

    photo = str(Path("photo.jpg").absolute())
    assert request.body.files == (("a", (photo,)), ("b", (photo,)))
    assert "../photo.jpg" in Path("out/s.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("--request", "POST v1"), "the path 'v1' does not start with /", "POST /v1"),
        (("--request", "SEND /v1"), "unknown method 'SEND'", "valid names"),
        (("--request", "POST /v1", "--json", "{text: 1}"), "--json is not JSON", "quote it"),
        (("--request", "POST /v1", "--json", "NaN"), "--json is not JSON", "quote it"),
        (("--request", "POST /v1", "--json", "1", "--body", "photo.jpg"), "three kinds of body", "keep one"),
        (("--json", "1"), "--json is the body of a request", "--request"),
        (("-f", "image"), "--file image names no field and no path", "image="),
        (("-f", "image=*.png"), "--file: no file matches *.png", "paths start"),
        (("--body", "nothing"), "--body: no file matches nothing", "paths start"),
        (("--timeout", "soon"), "soon", "10s"),
        (("-o", "."), ". is a folder", "-o scenario.yaml"),
        (("-o", "no/s.yaml"), "there is no folder no", "make it"),
        (("-o", "photo.jpg"), "photo.jpg exists", "--force"),
    ],
)
def test_a_mistake_in_the_flags_is_one_sentence(arguments: tuple[str, ...], message: str, hint: str) -> None:
    said_message, said_hint = refusal("http://127.0.0.1:9", *arguments)

    assert message in said_message
    assert hint in said_hint or arguments[0] == "--timeout"
    assert not Path("scenario.yaml").exists()


def test_a_file_nobody_asks_for_is_refused_with_the_nearest_field() -> None:
    Path("api.json").write_text(json.dumps(app.openapi()))

    assert refusal("api.json", "-f", "imgae=photo.jpg") == (
        "no operation has a file field 'imgae'",
        "did you mean 'image'?",
    )
    assert "no operation takes a file as its body" in refusal("api.json", "--body", "photo.jpg")[0]


# --- documents that are none -------------------------------------------------------------------------------

ANSWERS = {
    "/none/openapi.json": (404, b""),
    "/locked/openapi.json": (401, b""),
    "/broken/openapi.json": (500, b""),
    "/html/openapi.json": (200, b"<html></html>"),
    "/list/openapi.json": (200, b"[]"),
    "/swagger/openapi.json": (200, b'{"swagger": "2.0", "paths": {"/": {}}}'),
    "/four/openapi.json": (200, b'{"openapi": "4.0", "paths": {"/": {}}}'),
    "/empty/openapi.json": (200, b'{"openapi": "3.0.0", "paths": {}}'),
    "/verbs/openapi.json": (200, b'{"openapi": "3.0.0", "paths": {"/": {"trace": {}}}}'),
    "/deep/openapi.json": (200, b"[" * 100_000),
    "/huge/openapi.json": (200, b" " * (9 << 20)),
}


@pytest.fixture(scope="module")
def strange() -> Iterator[str]:
    async def answer(r: Request) -> bool:
        if r.path == "/hang/openapi.json":
            r.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            return True
        status, body = ANSWERS[r.path]
        r.writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return True

    with raw_server(answer) as server:
        yield server.url


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("none", "was answered with status 404", "openapi_url=None"),
        ("none", "was answered with status 404", "--request"),
        ("locked", "was answered with status 401", "with a token"),
        ("broken", "was answered with status 500", "log of the service"),
        ("html", "is not JSON", "--request"),
        ("deep", "is not JSON", "--request"),
        ("list", "not an OpenAPI 3 document", "--request"),
        ("swagger", "is a Swagger 2.0 document", "convert"),
        ("four", "not an OpenAPI 3 document", "--request"),
        ("empty", "describes no operation", "--request"),
        ("verbs", "describes no operation", "--request"),
        ("huge", "is larger than 8 MiB", "--request"),
        ("hang", "did not answer within 200 ms", "--timeout"),
    ],
)
def test_a_document_that_cannot_be_used_is_refused(strange: str, path: str, message: str, hint: str) -> None:
    said_message, said_hint = refusal(f"{strange}/{path}", "--timeout", "200ms" if path == "hang" else "20s")

    assert f"{strange}/{path}/openapi.json" in said_message
    assert message in said_message
    assert hint in said_hint


def test_an_address_where_nobody_answers_is_said_to_be_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    assert "nothing answers at" in refusal(f"http://127.0.0.1:{port}")[0]
    assert "write http://localhost:8000" in refusal("localhost:8000")[1]
    assert refusal("nowhere.json")[0] == "there is no file 'nowhere.json'"


@pytest.mark.parametrize(
    ("servers", "target"),
    [
        ([], "http://127.0.0.1:8000"),
        ([{"url": "/"}], "http://127.0.0.1:8000"),
        ([{"url": "/api/v1/"}], "http://127.0.0.1:8000/api/v1"),
        ([{"url": "https://api.example.com/v2"}], "https://api.example.com/v2"),
        ([{"url": "https://{where}.example.com", "variables": {"where": {"default": "eu"}}}], "https://eu.example.com"),
        ([{"url": "ftp://x"}], "http://127.0.0.1:8000"),
        (["nonsense"], "http://127.0.0.1:8000"),
    ],
)
def test_the_target_of_a_document_is_its_first_server(servers: list[Any], target: str) -> None:
    Path("api.json").write_text(json.dumps({"openapi": "3.0.3", "servers": servers, "paths": {"/": {"get": {}}}}))

    assert read_api("api.json", 1.0).target == target
