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
from draft_support import folder as folder
from draft_support import said

from harness.scenario import load_scenario
from tests.cli import harness
from tests.draft_app import app
from tests.pictures import SCENARIOS
from tests.sample_server import shared_sample_service


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


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
    scenario = folder / "scenario.yaml"
    scenario.write_text(scenario.read_text() + "\nspans: {source: none}\n")  # the usual port may be taken
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
    raw: dict[str, Any] = {"requestBody": {"content": {"image/png": {}}}}
    text = drafted({"/v1/see": {"post": raw}})
    done = said("api.json", "--force")

    assert "0 requests to send, 1 to fill in" in done.output
    assert "nothing can be sent yet" in done.output
    assert "  # Nothing can be sent yet: fill in one of these" in text
    assert said("api.json", "--force", "--body", "photo.jpg").exception is None
    (request,) = load_scenario("scenario.yaml", environ={}).requests
    assert request.headers == (("Content-Type", "image/png"),)
    assert request.body.body == (str(Path("photo.jpg").absolute()),)


@pytest.mark.parametrize(
    ("about", "name"),
    [({"title": "Read it"}, "read-it"), ({"version": "1"}, "first"), ({"title": "É!"}, "first"), ("x", "first")],
)
def test_the_scenario_is_named_after_the_service(about: object, name: str) -> None:
    drafted({"/": {"get": {}}}, info=about)

    assert load_scenario("scenario.yaml", environ={}).name == name


def test_what_the_comments_teach_is_accepted() -> None:
    text = drafted({"/v1/see": {"get": {}}})
    (expect,) = [line for line in text.splitlines() if line.startswith("#   expect:")]
    text = text.replace("see\n", f"see\n    {expect.removeprefix('#').strip()}\n", 1)
    text = text.replace("GET /v1/see\n", "GET /v1/see\n    timeout: 30s\n")
    Path("scenario.yaml").write_text(text.replace("# slo:", "slo:").replace("#   - ", "  - "))

    scenario = load_scenario("scenario.yaml", environ={})
    assert [path for path, _ in scenario.requests[0].expect.json] == ["lines[0].text", "score"]
    assert len(scenario.slo) == 3


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


def test_a_body_without_an_end_has_to_be_filled_in() -> None:
    schema = {"$ref": "#/components/schemas/Loop"}
    loop = {"Loop": {"type": "object", "required": ["next"], "properties": {"next": schema}}}
    body = {"requestBody": {"content": {"application/json": {"schema": schema}}}}
    text = drafted({"/loop": {"post": body}}, components={"schemas": loop})

    assert "fill in: json, which the document describes without an end" in text
