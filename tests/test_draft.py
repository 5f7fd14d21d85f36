"""`harness init`: a scenario from what a service says about itself, accepted and run as it is written."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from load_support import Request, raw_server

from harness.commands import init
from harness.draft import Given, drafted_requests, read_api, write_draft
from harness.draft.schema import Endless, Schemas
from harness.errors import HarnessError
from harness.scenario import load_scenario
from harness.scenario.document import Block, parse_document
from harness.scenario.request_section import read_requests
from tests.cli import harness
from tests.draft_app import app
from tests.pictures import SCENARIOS
from tests.sample_server import shared_sample_service


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"jpeg")
    return tmp_path


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


def said(*arguments: str) -> Result:
    return CliRunner().invoke(init.command, list(arguments))


def refusal(*arguments: str) -> tuple[str, str]:
    error = said(*arguments).exception
    assert isinstance(error, HarnessError), error
    return error.message, error.hint or ""


def drafted(paths: dict[str, Any], **more: Any) -> str:
    """The scenario written for a document in a file."""
    Path("api.json").write_text(json.dumps({"openapi": "3.1.0", "paths": paths, **more}))
    done = said("api.json", "--force")
    assert done.exception is None, done.exception
    return Path("scenario.yaml").read_text()


# --- as a user does it -------------------------------------------------------------------------------------


def test_a_drafted_scenario_is_accepted_and_every_request_is_answered(service: str, folder: Path) -> None:
    done = harness("init", service, "-f", "image=*.jpg", cwd=folder)

    assert (done.code, done.stderr) == (0, "")
    assert "wrote scenario.yaml: 7 requests to send, 1 to fill in, 3 left out" in done.stdout
    assert "harness check scenario.yaml" in done.stdout
    check = harness("check", "scenario.yaml", cwd=folder)
    assert (check.code, check.stderr) == (0, "")
    assert_all_answered(folder, "20/s")
    assert not [path for path in folder.rglob("*.json") if "hunter" in path.read_text()]


def test_the_sample_service_can_be_run_as_it_was_drafted(folder: Path) -> None:
    receipts = SCENARIOS / "payloads" / "receipts" / "*.jpg"
    done = said(shared_sample_service(), "-f", f"image={receipts}", "-f", f"file={receipts}")

    assert "3 requests to send, 2 left out" in done.output
    assert_all_answered(folder, "4/s")


def assert_all_answered(folder: Path, rate: str) -> None:
    options = ("--duration", "2s", "--warmup", "0s", "--rate", rate, "--json")
    environ = {"API_TOKEN": "hunter2", "API_KEY": "hunter3"}
    done = harness("run", "scenario.yaml", *options, cwd=folder, env=environ)
    counts = json.loads(done.stdout)["counts"]
    assert counts["ok"] == counts["sent"] > 2, done.stderr


def test_the_same_document_gives_the_same_text(service: str) -> None:
    texts = [
        (said(service, "--force"), Path("scenario.yaml").read_text())[1],
        (said(f"{service}/openapi.json", "--force"), Path("scenario.yaml").read_text())[1],
    ]

    assert texts[0] == texts[1]
    assert f'target: "${{TARGET:-{service}}}"' in texts[0]


def test_values_are_quoted_so_that_they_stay_what_they_are() -> None:
    Path("api.json").write_text(json.dumps(app.openapi()))
    said("api.json", "-f", "image=photo.jpg")
    text = Path("scenario.yaml").read_text()
    by_name = {request.name: request for request in load_scenario("scenario.yaml", environ={}).requests}

    assert text.startswith("# Written by `harness init` from api.json (Odd & ends 0.3).\nscenario: odd-ends\n")
    sent = json.loads(by_name["work"].body.json or "")
    assert sent == {
        "text": "examp", "kind": "yes", "count": 3, "threshold": 0.5, "tags": ["example", "example"],
        "price": "$5 ${HOME} no", "either": 1, "mode": "fast", "node": {"name": "example", "children": []},
        "options": {},
    }  # fmt: skip
    assert by_name["get-items-item_id"].path == "/v1/items/1"
    assert by_name["get-items-item_id"].params == (("q", "a b&c"),)
    assert "  # item_id is a guess: put one that exists\n" in text
    assert by_name["form"].body.form == (("user", "example"), ("count", "2"))
    assert by_name["tenant"].headers == (("x-tenant", "acme"),)
    assert by_name["upload"].body.files == (("image", (str(Path("photo.jpg").absolute()),)),)


def test_what_cannot_be_sent_yet_stands_in_comments() -> None:
    Path("api.json").write_text(json.dumps(app.openapi()))
    said("api.json")
    text = Path("scenario.yaml").read_text()

    fill_in = "  # fill in: scans, a file to send or a glob such as payloads/*; or begin again with --file scans=PATH\n"
    assert f"{fill_in}  # - name: many\n  #   http: POST /v1/many\n" in text
    assert "  # left out: it deletes something\n  # - name: delete-items-item_id\n" in text
    assert "  # left out: it is deprecated\n  # - name: old\n" in text
    assert "  # left out: it says little about the model\n  # - name: health\n" in text
    assert '      Authorization: "Bearer ${API_TOKEN:-}"\n      X-Key: "${API_KEY:-}"\n' in text


def test_a_comment_that_is_taken_away_makes_a_request(folder: Path) -> None:
    Path("api.json").write_text(json.dumps(app.openapi()))
    said("api.json")
    text = Path("scenario.yaml").read_text()
    at = text.index("  # - name: many")
    block = text[at:].partition("\n\n")[0]
    Path("scenario.yaml").write_text(
        text.replace(block, block.replace("# ", "").replace("FILL-ME-IN.bin", "photo.jpg"))
    )

    assert "many" in [request.name for request in load_scenario("scenario.yaml", environ={}).requests]


def test_a_service_that_only_takes_files_is_said_to_need_them() -> None:
    raw = {"requestBody": {"content": {"image/png": {}}}}
    text = drafted({"/v1/see": {"post": raw}})
    done = said("api.json", "--force")

    assert "0 requests to send, 1 to fill in" in done.output
    assert "nothing can be sent yet" in done.output
    assert "  # Nothing can be sent yet: fill in one of these" in text
    assert said("api.json", "--force", "--body", "photo.jpg").exception is None
    (request,) = load_scenario("scenario.yaml", environ={}).requests
    assert request.headers == (("Content-Type", "image/png"),)
    assert request.body.body == (str(Path("photo.jpg").absolute()),)


def test_what_is_all_there_is_is_sent() -> None:
    text = drafted({"/health": {"get": {}}, "/old": {"get": {"deprecated": True}}, "/x": {"delete": {}}})

    assert [r.name for r in load_scenario("scenario.yaml", environ={}).requests] == ["health", "old"]
    assert "left out: it deletes something" in text


def test_a_request_the_reader_would_refuse_becomes_a_comment_with_its_reason() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    body = {"requestBody": {"content": {"application/json": {"example": deep}}}}
    text = drafted({"/deep": {"post": body}, "/fine": {"get": {}}})

    assert [r.name for r in load_scenario("scenario.yaml", environ={}).requests] == ["fine"]
    assert "fill in: the draft:4: nested more than 30 levels deep" in text


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


# --- values from schemas -----------------------------------------------------------------------------------

TREE = {
    "Loop": {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/components/schemas/Loop"}}},
    "Leaf": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Leaf"}}},
    "Itself": {"$ref": "#/components/schemas/Itself"},
    "All": {"allOf": [{"$ref": "#/components/schemas/All"}], "type": "integer"},
}
WITH_TREE = {"components": {"schemas": TREE}}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "minimum": 5, "exclusiveMinimum": True}, 6),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
        ({"type": "number", "minimum": 0, "maximum": 2}, 1.0),
        ({"type": "number", "exclusiveMinimum": 3}, 4.0),
        ({"type": ["null", "boolean"]}, False),
        ({"type": "string", "nullable": True}, "example"),
        ({"type": "string", "minLength": 10}, "example ex"),
        ({"type": "string", "maxLength": 2}, "ex"),
        ({"type": "string", "format": "date-time"}, "2026-01-31T12:00:00Z"),
        ({"type": "string", "format": "uuid"}, "00000000-0000-4000-8000-000000000000"),
        ({"type": "string", "contentEncoding": "base64"}, "ZXhhbXBsZQ=="),
        ({"type": "string", "pattern": "^[a-z]{2}$"}, "en"),
        ({"const": 7}, 7),
        ({"enum": ["b", "a"]}, "b"),
        ({"type": "string", "default": "d", "examples": ["e", "f"]}, "e"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [1, 1, 1]),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}]}, [1, False]),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"oneOf": [{"$ref": "#/components/schemas/Loop"}, {"type": "boolean"}]}, False),
        ({"allOf": [{"properties": {"a": {"default": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({"$ref": "#/components/schemas/Leaf"}, {}),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Loop"}}, []),
        ({"$ref": "#/components/schemas/All"}, 1),
        ({"type": "object", "required": ["a"], "properties": {"a": {"readOnly": True}, "b": {"type": "string"}}}, {}),
    ],
)
def test_a_value_is_made_that_its_schema_accepts(schema: dict[str, Any], value: object) -> None:
    schemas = Schemas(WITH_TREE)

    assert schemas.value(schema) == value
    assert schemas.doubts == []


def test_a_schema_without_an_end_is_said_to_be_one() -> None:
    with pytest.raises(Endless):
        Schemas(WITH_TREE).value({"$ref": "#/components/schemas/Loop"})
    loop = {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Loop"}}}}}

    text = drafted({"/loop": {"post": loop}}, components={"schemas": TREE})

    assert "fill in: json, which the document describes without an end" in text


def test_what_can_only_be_guessed_is_a_doubt() -> None:
    schemas = Schemas({})
    schemas.value({"type": "string", "pattern": "^[0-9]{17}$"}, "account")
    schemas.value({"$ref": "other.json#/x"})

    assert schemas.doubts == ["account has to match ^[0-9]{17}$", "other.json#/x is in another document"]


@given(st.integers(-50, 50), st.integers(0, 40), st.booleans())
def test_a_whole_number_stays_within_its_limits(low: int, width: int, outside: bool) -> None:
    least, most = ("exclusiveMinimum", "exclusiveMaximum") if outside else ("minimum", "maximum")
    made = Schemas({}).value({"type": "integer", least: low, most: low + width + 2})

    assert low + outside <= made <= low + width + 2 - outside


KEYS = st.sampled_from(
    ["properties", "required", "type", "items", "anyOf", "allOf", "$ref", "enum", "example", "examples", "name", "in",
     "value", "format", "default", "const", "pattern", "minItems", "encoding", "readOnly", "minimum", "maximum",
     "multipleOf", "minLength", "schema", "additionalProperties"]
)  # fmt: skip
LEAVES = st.sampled_from(
    [None, True, False, 0, 3, -1, 0.5, "string", "array", "object", "integer", "binary", "query", "path", "header",
     "#/paths", "#/paths/~1a/post", "no", "$x ${Y} $$", "a\nb: # \u2028\x00", "((", "null", [], {}]
)  # fmt: skip
TREES = st.recursive(
    LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=3), max_leaves=20
)
MEDIA = st.sampled_from(
    ["application/json", "multipart/form-data", "application/x-www-form-urlencoded", "text/plain", "image/*", "$ \n"]
)
BODIES = st.fixed_dictionaries({"content": st.dictionaries(MEDIA, st.fixed_dictionaries({"schema": TREES}) | TREES)})
OPERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "parameters": st.lists(
            st.fixed_dictionaries({"name": LEAVES, "in": LEAVES, "required": LEAVES, "schema": TREES})
        )
        | TREES,
        "requestBody": BODIES | TREES,
        "security": TREES,
        "summary": LEAVES,
        "deprecated": LEAVES,
    },
)
PATHS = st.dictionaries(
    st.sampled_from(["/a", "/a/{b}", "/c d/$", "x"]),
    st.dictionaries(st.sampled_from(["get", "post", "parameters"]), OPERATIONS | TREES, min_size=1),
    min_size=1,
)


@given(PATHS)
def test_a_document_of_any_shape_gives_a_text_that_is_read(paths: dict[str, Any]) -> None:
    requests = drafted_requests({"openapi": "3.1.0", "paths": paths}, Given())
    draft = write_draft("x", "http://127.0.0.1", requests, Path.cwd(), "a test")

    root = parse_document(draft.text, "x", {})
    assert isinstance(root, Block)
    (section,) = [entry.node for entry in root.entries if entry.key == "requests"]
    assert draft.active == (len(read_requests(section, Path.cwd())) if draft.active else 0)
    assert draft.active + draft.to_fill_in + draft.left_out == len(requests)
