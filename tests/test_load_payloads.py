"""What is sent: params, forms, headers, bodies of functions, and payloads that are read when they are drawn."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from load_support import OK, Ran, Request, a_request, a_scenario, in_child, raw_server, run

from harness.model import BodySpec
from harness.scenario import load_scenario

PAYLOADS = """\
import numpy as np
def make(rng): return {"text": f"number {int(rng.integers(1_000_000))}", "vector": rng.normal(size=3)}
def image(rng): return bytes([255, 216, int(rng.integers(256))]), "image/jpeg"
def text(rng): return "héllo"
def raw(rng): return b"raw"
def forgets(rng): rng.random()
def strange(rng): return {"a": object()}
def not_a_number(rng): return [float("nan")]
def breaks(rng): raise RuntimeError("no data today")
"""
MADE = """
import json, sys
from harness.errors import ScenarioError
from harness.load.bodies import made_body
from harness.load.payloads import Draws, payload_sets
from harness.model import BodySpec, RequestSpec
file = sys.argv[1]
def draws(seed):
    spec = RequestSpec("a", "POST", "/v1", body=BodySpec(python=f"{file}:make"))
    return Draws(payload_sets([spec], "http://127.0.0.1:1", "run-1"), [1.0], seed)
def refusal(name):
    try:
        made_body(f"{file}:{name}", 7, 3)
    except ScenarioError as error:
        return f"{error} | {error.hint}"
one, other = draws(7), draws(8)
forwards = [one(i).tail.decode() for i in range(50)]
backwards = [draws(7)(i).tail.decode() for i in reversed(range(50))][::-1]
print(json.dumps({"forwards": forwards, "backwards": backwards, "other": other(0).tail.decode(),
    "replayed": one(3, 0).tail.decode(), "image": made_body(f"{file}:image", 1, 1)[1],
    "text": [str(part) for part in made_body(f"{file}:text", 1, 1)], "raw": made_body(f"{file}:raw", 1, 1)[1],
    "refusals": {name: refusal(name) for name in ("forgets", "strange", "not_a_number", "breaks", "missing")}}))
"""


@pytest.fixture(scope="module")
def payloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("payloads") / "payloads.py"
    file.write_text(PAYLOADS)
    return file


def test_a_function_makes_the_same_body_for_the_same_request_of_the_same_seed(payloads: Path) -> None:
    made = json.loads(in_child(MADE, str(payloads)))

    assert made["forwards"] == made["backwards"]
    assert len(set(made["forwards"])) == 50
    assert made["other"] not in made["forwards"]
    assert made["replayed"] == made["forwards"][3]
    assert re.search(r'\{"text":"number [0-9]+","vector":\[[-0-9.]+,[-0-9.]+,[-0-9.]+\]\}$', made["forwards"][0])
    assert made["image"] == "image/jpeg"
    assert made["raw"] == "application/octet-stream"
    assert made["text"] == [str("héllo".encode()), "text/plain; charset=utf-8"]


def test_a_function_that_makes_no_body_is_named_with_its_line(payloads: Path) -> None:
    refusals = json.loads(in_child(MADE, str(payloads)))["refusals"]

    assert "payloads.py: forgets() returned what cannot be sent: it returned None" in refusals["forgets"]
    assert "JSON has no object | return bytes, a text" in refusals["strange"]
    assert "not_a_number() returned what cannot be sent: Out of range float" in refusals["not_a_number"]
    assert "payloads.py:9: breaks() made no body for request 3: RuntimeError: no data today" in refusals["breaks"]
    assert "has no function 'missing'" in refusals["missing"]


def test_a_function_that_fails_in_the_run_ends_it_with_its_name(payloads: Path, tmp_path: Path) -> None:
    file = tmp_path / "payloads.py"
    file.write_text(
        "made = 0\ndef make(rng):\n    global made\n    made += 1\n    return [1, 2][:3 - made or None][made]\n"
    )
    file.write_text("made = []\ndef make(rng):\n    made.append(1)\n    return [1, 2, 3][len(made)]\n")

    done, seen = ran_against_ok(tmp_path, a_request("made", "/v1", "POST", body=BodySpec(python=f"{file}:make")))

    assert done.exit_code == 0
    assert done.end["interrupted"]
    assert seen == [b"2", b"3"]  # what was sent before is kept
    assert len(done.samples) == 2
    (warning,) = [line for line in done.lines if line["kind"] == "warning" and line["code"] == "sender"]
    assert "payloads.py:4: make() made no body for request 2: IndexError" in warning["message"]
    assert warning["invalidates"]


def ran_against_ok(tmp_path: Path, *requests: object, after: int = 10**9, do: object = None) -> tuple[Ran, list[bytes]]:
    """One run against a server that answers ok; `do` is called once, when `after` requests were seen."""
    seen: list[bytes] = []

    async def answer(r: Request) -> bool:
        seen.append(r.body)
        if len(seen) == after and callable(do):
            do()
        r.writer.write(OK)
        return True

    (tmp_path / "run").mkdir()
    with raw_server(answer) as server:
        done = run(a_scenario(server.url, *requests, rate=60.0, duration_s=0.8), tmp_path / "run")  # type: ignore[arg-type]
    return done, seen


# --- sets that are not kept in memory ----------------------------------------------------------------------

FROM_DISK = """
import gevent.monkey; gevent.monkey.patch_all()
import json, sys
from pathlib import Path
from harness.errors import ScenarioError
from harness.load import payloads
from harness.model import BodySpec, RequestSpec
files = tuple(sys.argv[1:])
spec = RequestSpec("a", "POST", "/v1", body=BodySpec(files=(("image", files),)))
def drawn():
    return payloads.Draws(payloads.payload_sets([spec], "http://127.0.0.1:1", "r"), [1.0], 5)
in_memory = drawn()
before = [in_memory(i) for i in range(40)]
payloads.IN_MEMORY_BYTES = 1000
from_disk = drawn()
assert [from_disk(i) for i in range(40)] == before
Path(files[0]).unlink(), Path(files[1]).unlink()
assert [in_memory(i) for i in range(40)] == before
for i in range(2):
    try:
        [from_disk(i) for i in range(40)]
    except ScenarioError as error:
        print(error)
"""


def test_payloads_beyond_memory_are_read_when_they_are_drawn(tmp_path: Path) -> None:
    small, large = tmp_path / "small.bin", tmp_path / "large.bin"  # the large one is read by a thread
    small.write_bytes(b"s" * 100)
    large.write_bytes(b"l" * 300_000)

    printed = in_child(FROM_DISK, str(small), str(large)).splitlines()

    assert len(printed) == 2
    assert re.search(r"cannot read the payload .*/(small|large).bin: No such file", printed[0])


def test_a_payload_that_vanishes_ends_the_run_and_keeps_what_was_measured(tmp_path: Path) -> None:
    file, huge = tmp_path / "image.bin", tmp_path / "huge.bin"
    file.write_bytes(b"x" * 200_000)
    with huge.open("wb") as hole:  # never drawn: it makes the payloads too many to be kept in memory
        hole.truncate(300 << 20)
    request = a_request("image", "/v1", "POST", body=BodySpec(body=(str(file),)))
    never = a_request("never", "/v1", "POST", weight=1e-12, body=BodySpec(body=(str(huge),)))

    done, seen = ran_against_ok(tmp_path, request, never, after=10, do=file.unlink)

    assert done.exit_code == 0, done.log
    assert done.end["interrupted"]
    assert 10 <= len(seen) < 40
    assert len(done.samples) == len(seen)
    (warning,) = [line for line in done.lines if line["kind"] == "warning" and line["code"] == "sender"]
    assert "cannot read the payload" in warning["message"]
    assert warning["invalidates"]
    assert "Traceback" not in done.log


# --- on the wire -------------------------------------------------------------------------------------------

SCENARIO = """\
target: {url}/base
requests:
  - name: get
    http: GET /v1/find?a=1
    params: {{q: "two words & more", tag: [x, "ü"], empty: ""}}
    timeout: 2s
    headers: {{Authorization: "Bearer ${{API_TOKEN:-}}", X-Tenant: "${{TENANT:-acme}}"}}
  - name: form
    http: POST /v1/form
    form: {{user: "Ann & Bob", tag: [x, y]}}
    headers: {{Authorization: "Bearer ${{NO_TOKEN:-}}"}}
  - name: image
    http: PUT /v1/image
    body: photo.jpg
  - name: made
    http: POST /v1/made
    python: payloads.py:image
load: {{arrivals: constant, rate: 60/s, duration: 600ms, warmup: 0s}}
"""


def test_params_forms_headers_and_bodies_arrive_as_written(payloads: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"jpeg")
    (tmp_path / "payloads.py").write_text(PAYLOADS)
    seen: dict[str, Request] = {}
    lock = threading.Lock()

    async def answer(r: Request) -> bool:
        with lock:
            seen[urlsplit(r.path).path] = r
        r.writer.write(OK)
        return True

    with raw_server(answer) as server:
        (tmp_path / "s.yaml").write_text(SCENARIO.format(url=server.url))
        scenario = load_scenario(tmp_path / "s.yaml", environ={"API_TOKEN": "hunter2"})
        done = run(scenario, tmp_path)

    assert set(done.samples["status"]) == {200}
    assert len(done.samples) == 36
    get, form, image, made = (seen[f"/base/v1/{name}"] for name in ("find", "form", "image", "made"))
    pairs = [("a", "1"), ("q", "two words & more"), ("tag", "x"), ("tag", "ü"), ("empty", "")]
    assert parse_qsl(urlsplit(get.path).query, keep_blank_values=True) == pairs
    assert (get.headers["authorization"], get.headers["x-tenant"]) == ("Bearer hunter2", "acme")
    assert parse_qsl(form.body.decode()) == [("user", "Ann & Bob"), ("tag", "x"), ("tag", "y")]
    assert form.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in form.headers  # a variable that is empty makes no half header
    assert (image.method, image.body, image.headers["content-type"]) == ("PUT", b"jpeg", "image/jpeg")
    assert made.body[:2] == b"\xff\xd8"
    assert made.headers["content-type"] == "image/jpeg"
    assert "hunter2" not in scenario.source
