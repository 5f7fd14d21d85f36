"""Scenario files that can be run: what they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.model import Arrivals, BodySpec, Expect, LoadProfile, Scenario, SpanSpec, Step
from harness.scenario import Overrides, load_scenario

FULL = """\
scenario: read-receipts
target: ${TARGET:-http://127.0.0.1:8000}
requests:
  - name: receipt
    weight: 3
    http: POST /v1/read
    params: {lang: no, tag: [a, b]}
    timeout: 20s
    files: {image: payloads/*.jpg}
    headers: {Authorization: "Bearer ${API_TOKEN:-}", Accept: text/plain}
    expect: {status: [200, 201], json: {"lines[0].text": "~ (?i)total", "count": 2}, max_bytes: 1MiB}
  - name: kind
    http: post /v1/identify
    body: payloads/a.jpg
load:
  arrivals: constant
  steps: [2/s, 120/min]
  warmup: 10s
  duration: 60s
  drain: 15s
  seed: 7
spans:
  listen: 127.0.0.1:0
  source: otlp
  sampled: 50%
  stages: {inference: ["*.run", "attr:model.name"], postprocess: nms}
slo:
  - p95(latency) < 1s
  - p99(inference) < 600ms
  - error_rate < 2%
  - mean(latency) < 1s
"""

TOKEN = {"API_TOKEN": "s3cret"}

SMALL = """\
target: http://127.0.0.1:8000
requests:
  - http: GET /healthz
load: {rate: 4/s}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    payloads = tmp_path / "payloads"
    payloads.mkdir()
    (payloads / "a.jpg").write_bytes(b"x" * 100)
    (payloads / "b.jpg").write_bytes(b"x" * 300)
    (payloads / "note.txt").write_bytes(b"not drawn")
    return tmp_path


def load(folder: Path, text: str, overrides: Overrides | None = None, **environ: str) -> Scenario:
    path = folder / "x.yaml"
    path.write_text(text)
    return load_scenario(path, overrides, environ)


def test_a_full_scenario_is_read_as_written(folder: Path) -> None:
    scenario = load(folder, FULL, **TOKEN)

    assert (scenario.name, scenario.target) == ("read-receipts", "http://127.0.0.1:8000")
    assert scenario.load == LoadProfile(Arrivals.CONSTANT, (Step(2.0, 60.0), Step(2.0, 60.0)), 10.0, 15.0, 7)
    stages = (("inference", ("*.run", "attr:model.name")), ("postprocess", ("nms",)))
    assert scenario.spans == SpanSpec("127.0.0.1:0", "otlp", 0.5, stages)
    assert scenario.slo == ("p95(latency) < 1s", "p99(inference) < 600ms", "error_rate < 2%", "mean(latency) < 1s")


def test_a_request_is_read_as_written(folder: Path) -> None:
    receipt = load(folder, FULL, **TOKEN).requests[0]

    assert (receipt.name, receipt.method, receipt.path) == ("receipt", "POST", "/v1/read")
    assert (receipt.weight, receipt.timeout_s) == (3.0, 20.0)
    assert receipt.params == (("lang", "no"), ("tag", "a"), ("tag", "b"))
    assert receipt.headers == (("Authorization", "Bearer s3cret"), ("Accept", "text/plain"))
    paths = (str(folder / "payloads" / "a.jpg"), str(folder / "payloads" / "b.jpg"))
    assert receipt.body == BodySpec(files=(("image", paths),))
    assert receipt.expect == Expect((200, 201), (("lines[0].text", "~ (?i)total"), ("count", 2)), 1_048_576)


def test_a_header_whose_variable_is_empty_is_left_out(folder: Path) -> None:
    assert load(folder, FULL).requests[0].headers == (("Accept", "text/plain"),)


def test_a_body_may_be_a_file(folder: Path) -> None:
    kind = load(folder, FULL).requests[1]

    assert kind.method == "POST"
    assert kind.body == BodySpec(body=(str(folder / "payloads" / "a.jpg"),))


def test_what_a_scenario_leaves_out_has_a_default(folder: Path) -> None:
    scenario = load(folder, SMALL)

    assert scenario.name == "x"
    assert scenario.load == LoadProfile(Arrivals.POISSON, (Step(4.0, 30.0),), 5.0, 30.0, 1)
    assert scenario.spans == SpanSpec("127.0.0.1:4318", "auto", 1.0, ())
    assert scenario.slo == ()
    (request,) = scenario.requests
    assert (request.name, request.weight, request.timeout_s) == ("GET /healthz", 1.0, 30.0)
    assert (request.body, request.expect) == (BodySpec(), Expect())


def test_json_keeps_types_and_the_words_yaml_would_turn_into_booleans(folder: Path) -> None:
    body = "json: {a: 1, b: 1.5, c: true, d: null, e: no, f: '7', g: 2024-01-01, h: [x, {y: é}], i: 010}"
    scenario = load(folder, SMALL.replace("GET /healthz", f"POST /x\n    {body}"))

    expected = '{"a":1,"b":1.5,"c":true,"d":null,"e":"no","f":"7","g":"2024-01-01","h":["x",{"y":"é"}],"i":10}'
    assert scenario.requests[0].body == BodySpec(json=expected)


def test_a_form_goes_with_files_and_a_text_alone(folder: Path) -> None:
    form = load(folder, SMALL.replace("GET /healthz", "POST /x\n    form: {a: yes}\n    files: {f: payloads/a.jpg}"))
    text = load(folder, SMALL.replace("GET /healthz", "POST /x\n    text: hello ${WHO}"), WHO="you")

    assert form.requests[0].body.form == (("a", "yes"),)
    assert form.requests[0].body.files == (("f", (str(folder / "payloads" / "a.jpg"),)),)
    assert text.requests[0].body == BodySpec(text="hello you")


def test_a_query_in_the_path_becomes_params(folder: Path) -> None:
    (request,) = load(folder, SMALL.replace("/healthz", "/search?q=a%20b&n=")).requests

    assert (request.path, request.params) == ("/search", (("q", "a b"), ("n", "")))


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("http://h:8000/", "http://h:8000"),
        ("HTTPS://Api.Example/base/", "https://api.example/base"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_a_target_is_kept_without_a_slash_at_its_end(folder: Path, written: str, target: str) -> None:
    assert load(folder, SMALL.replace("http://127.0.0.1:8000", written)).target == target


# --- variables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("${A}", "one"),
        ("${A:-two}", "one"),
        ("${B:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("x${A}y${A}", "xoneyone"),
        ("$${A}", "${A}"),
        ("$A $5 $", "$A $5 $"),
        ("cost $$5", "cost $5"),
    ],
)
def test_variables_are_replaced_in_values(folder: Path, written: str, text: str) -> None:
    scenario = load(folder, SMALL.replace("GET /healthz", f"POST /x\n    text: {written}"), A="one", EMPTY="")

    assert scenario.requests[0].body.text == text


def test_a_variable_can_be_a_rate_or_a_number(folder: Path) -> None:
    text = SMALL.replace("{rate: 4/s}", '{rate: "${RATE:-4/s}", seed: "${SEED}"}')

    assert load(folder, text, SEED="9", RATE="8/s").load == LoadProfile(
        Arrivals.POISSON, (Step(8.0, 30.0),), 5.0, 30.0, 9
    )


# --- the text that may be stored ---------------------------------------------------------------------------


def test_values_from_the_environment_are_not_in_the_stored_text(folder: Path) -> None:
    scenario = load(folder, FULL, **TOKEN, TARGET="http://internal:1")

    assert scenario.source == FULL
    assert scenario.target == "http://internal:1"


SECRETS = """\
target: ${TARGET:-http://me:hunter1@h}
requests:
  - http: GET /x?page=1&api_key=hunter2
    headers:
      Authorization: Basic hunter3
      # Cookie: session=hunter4
      x-api-key: "hunter5"
      X-Token: "${TOKEN:-hunter6}"
      X-Secret: >
        hunter7
      Accept: text/plain
    params: {password: hunter8, lang: en}
  - http: POST /y
    json: {max_tokens: 100, auth: {user: hunter9, n: [hunter10]}, prompt: hello}
load: {rate: 4/s}
"""


def test_literal_secrets_are_replaced_in_the_stored_text(folder: Path) -> None:
    source = load(folder, SECRETS, TARGET="http://h").source

    assert "hunter" not in source
    for kept in ("page=1&api_key=***", 'Authorization: "Basic ***"', "Accept: text/plain", "lang: en", "prompt: hello"):
        assert kept in source
    assert '"${TOKEN:-***}"' in source
    assert "max_tokens: 100" in source
    assert len(source.splitlines()) == len(SECRETS.splitlines()) - 1  # the folded secret took two lines


def test_the_stored_text_is_still_a_scenario(folder: Path) -> None:
    stored = load(folder, SECRETS, TARGET="http://h").source

    again = load(folder, stored, TARGET="http://h")

    assert again.source == stored
    assert dict(again.requests[0].headers)["x-api-key"] == "***"


# --- overrides ---------------------------------------------------------------------------------------------


def test_flags_override_the_file(folder: Path) -> None:
    flags = Overrides(
        target="http://h:1", rate="9/s", duration="5s", warmup="0s", drain="1s", seed="3", slo=("p50(latency) < 2s",)
    )
    scenario = load(folder, FULL, flags)

    assert scenario.target == "http://h:1"
    assert scenario.load == LoadProfile(Arrivals.CONSTANT, (Step(9.0, 5.0),), 0.0, 1.0, 3)
    assert scenario.slo[-1] == "p50(latency) < 2s"
    assert len(scenario.slo) == 5


def test_flags_can_add_sections_the_file_does_not_have(folder: Path) -> None:
    text = SMALL.replace("load: {rate: 4/s}\n", "")
    flags = Overrides(rate="2/s", listen="127.0.0.1:0", source="otlp", slo=("p50(latency) < 2s",))

    scenario = load(folder, text, flags)

    assert scenario.load.steps == (Step(2.0, 30.0),)
    assert (scenario.spans.listen, scenario.spans.source) == ("127.0.0.1:0", "otlp")
    assert scenario.slo == ("p50(latency) < 2s",)


def test_an_overridden_target_needs_no_variable(folder: Path) -> None:
    text = SMALL.replace("http://127.0.0.1:8000", "${NOT_SET}")

    assert load(folder, text, Overrides(target="http://h")).target == "http://h"


def test_flags_are_taken_literally(folder: Path) -> None:
    assert load(folder, SMALL, Overrides(target="http://h/$$x")).target == "http://h/$$x"
