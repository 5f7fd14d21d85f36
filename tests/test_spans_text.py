"""What `harness check --spans` shows of single requests, and `--connect` of the way there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.check import command
from harness.model import Sample, Span, SpanSpec
from harness.report import connect, spans_text
from harness.scenario import load_scenario
from harness.spans.guess import guess
from harness.spans.mapping import stages_of
from tests.builders import a_root, a_sample, a_span, spans_table, trace
from tests.test_conclude import concluded


def shown(tmp_path: Path, samples: list[Sample], spans: list[Span], **spec: Any) -> str:
    asked = SpanSpec(**spec)
    found = concluded(tmp_path, samples, spans, spans=asked)
    return spans_text.render(found.rows, stages_of(spans_table(*spans), asked), found.summary, asked)


def plain_root(**changes: Any) -> Span:
    return a_root(**{"attributes": None, **changes})


def test_a_request_is_shown_with_its_stages_its_spans_and_the_models(tmp_path: Path) -> None:
    attributes = {"harness.stage": "inference", "harness.model": "det"}

    text = shown(tmp_path, [a_sample()], [a_root(), a_span("run", 20, 80, attributes=attributes)])

    assert "spans: 2, in the traces of 1 request\n" in text
    assert "inference 60.0 ms" in text
    assert "inference (det)  <- attribute harness.stage" in text
    assert "server window" in text


def test_a_stage_that_nobody_recorded_is_not_shown_as_zero(tmp_path: Path) -> None:
    attributes = {"harness.stage": "inference"}

    text = shown(tmp_path, [a_sample()], [a_root(), a_span("run", 20, 80, attributes=attributes)])

    assert "preprocess" not in text.split("inference 60.0 ms")[0]
    assert "measured by harness.instrument; nothing recorded as queue, preprocess, postprocess" in text
    assert "0 s" not in text


def test_the_rule_behind_each_stage_is_named(tmp_path: Path) -> None:
    spans = [plain_root(), a_span("decode jpeg", 20, 30), a_span("det.run", 30, 80)]
    stages = (("preprocess", ("decode*",)), ("inference", ("*.run",)))

    text = shown(tmp_path, [a_sample()], spans, stages=stages)

    assert "preprocess  <- stages: decode*" in text
    assert "inference  <- stages: *.run" in text
    assert "claimed by no stage" not in text


def test_a_preset_says_what_it_tells_and_what_it_cannot(tmp_path: Path) -> None:
    spans = [plain_root(), a_span("fastapi.dependencies", 20, 30), a_span("fastapi.endpoint", 30, 80)]

    text = shown(tmp_path, [a_sample()], spans, preset="fastapi")

    assert "preset fastapi\n  it tells dependencies as preprocess" in text
    assert "it cannot tell more: the endpoint is all of your code" in text
    assert "inference  <- preset fastapi: fastapi.endpoint" in text


def test_a_preset_that_was_recognised_says_how_to_keep_it(tmp_path: Path) -> None:
    spans = [plain_root(), a_span("fastapi.endpoint", 30, 80, stage="inference")]

    assert "recognised by its spans; to keep it: `spans: {preset: fastapi}`" in shown(tmp_path, [a_sample()], spans)


def test_no_spans_at_all_say_what_to_check(tmp_path: Path) -> None:
    text = shown(tmp_path, [a_sample()], [], listen_grpc="127.0.0.1:4317")

    assert "the service sent no spans and no Server-Timing" in text
    assert "no spans came" in text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318" in text
    assert "OTLP over gRPC to 127.0.0.1:4317" in text
    assert "parentbased_always_on" in text


def test_a_scenario_that_asks_for_no_spans_is_named_as_the_cause(tmp_path: Path) -> None:
    assert "`sampled: 0` in spans asks for none" in shown(tmp_path, [a_sample()], [], sampled=0.0)
    assert "no spans of these requests were found at http://store" in shown(
        tmp_path, [a_sample()], [], source="jaeger", address="http://store"
    )
    assert "no spans came" not in shown(tmp_path, [a_sample()], [], source="none")


def test_spans_of_other_traces_are_told_from_no_spans(tmp_path: Path) -> None:
    text = shown(tmp_path, [a_sample()], [a_root(trace_id=trace(7), service="reader", number=7)])

    assert "spans: none of these requests; 1 span in traces of their own (batches, background work)" in text
    assert "of other traces than those of these requests" in text
    assert "1 of them from reader" in text
    assert "traceparent" in text


def test_some_requests_without_a_server_half_are_counted(tmp_path: Path) -> None:
    text = shown(tmp_path, [a_sample(0), a_sample(1)], [a_root()])

    assert "1 of 2 answered requests have no server half" in text


def test_orphans_and_several_roots_are_named_with_what_to_do(tmp_path: Path) -> None:
    orphan = a_span("lost", 20, 30, parent_id="c" * 16)
    again = a_root(95, 99, span_id="d" * 16)

    text = shown(tmp_path, [a_sample()], [a_root(), orphan, again])

    assert "without the span above them: lost (1)" in text
    assert "several requests one after the other in 1 of 1 traces" in text


def test_requests_that_fail_are_named_with_what_went_wrong(tmp_path: Path) -> None:
    text = shown(tmp_path, [a_sample(0), a_sample(1, name="upload", status=422, failed_checks="status")], [])

    assert "upload: 1 of 1 failed" in text
    assert "status 422 (1)" in text


def test_spans_that_no_rule_claims_are_listed_with_the_time_that_nobody_has(tmp_path: Path) -> None:
    spans = [plain_root(), a_span("mystery", 20, 80), a_span("det.run", 30, 50), a_span("mystery", 80, 85)]

    text = shown(tmp_path, [a_sample()], spans, stages=(("inference", ("*.run",)),))

    (line,) = (line for line in text.splitlines() if "in all" in line)
    assert " ".join(line.split()) == "mystery 2 x 65.0 ms in all, 45.0 ms of it in no stage"
    assert "if one of them is work, map it" in text


def test_spans_in_an_endpoint_are_offered_for_a_better_split_than_the_preset_knows(tmp_path: Path) -> None:
    endpoint = a_span("fastapi.endpoint", 15, 85, span_id="e" * 16)
    spans = [plain_root(), endpoint, a_span("resize", 20, 30, parent_id="e" * 16)]

    text = shown(tmp_path, [a_sample()], spans, preset="fastapi")

    assert "10.0 ms in all, 10.0 ms of it counted with the span around it" in text
    assert text.endswith('spans:\n  preset: fastapi\n  stages:\n    preprocess: ["resize"]')


def test_a_preset_is_offered_beside_stages_that_miss_its_spans(tmp_path: Path) -> None:
    spans = [plain_root(), a_span("fastapi.endpoint", 15, 85)]

    text = shown(tmp_path, [a_sample()], spans, stages=(("queue", ("wait",)),))

    assert "these look like the spans of fastapi: `preset: fastapi` maps them, beside your `stages`" in text


def test_a_preset_that_does_not_fit_is_to_be_taken_out(tmp_path: Path) -> None:
    text = shown(tmp_path, [a_sample()], [plain_root(), a_span("resize", 12, 20)], preset="triton")

    assert "no span looks like triton: take `preset: triton` out" in text
    assert text.count("preset: triton") == 1
    assert "it tells" not in text


def test_a_preset_beside_a_source_without_spans_is_said_to_do_nothing(tmp_path: Path) -> None:
    text = shown(tmp_path, [a_sample()], [], source="server-timing", preset="vllm")

    assert "`preset: vllm` maps spans, and `source: server-timing` takes none" in text
    assert "it tells" not in text
    assert "1 of 1 answers carried no Server-Timing. To check:" in text
    assert "instrument(app)" in text


def test_what_went_wrong_on_the_way_of_the_spans_is_told(tmp_path: Path) -> None:
    refused = {"code": "span_source", "message": "the store does not answer: refused", "hint": "is it running?",
               "invalidates": False}  # fmt: skip
    asked = SpanSpec(source="jaeger", address="http://store")
    found = concluded(tmp_path, [a_sample()], [], spans=asked, record={"warnings": [refused]})

    text = spans_text.render(found.rows, spans_table(), found.summary, asked)

    assert "the store does not answer: refused\n  is it running?\n" in text


def test_a_wait_is_shown_with_its_resource(tmp_path: Path) -> None:
    wait = a_span("acquire", 20, 30, attributes={"harness.stage": "queue", "harness.resource": "gpu"})

    assert "queue (gpu)  <- attribute harness.stage" in shown(tmp_path, [a_sample()], [plain_root(), wait])


def test_a_block_to_paste_is_guessed_from_the_names_and_said_to_be_a_guess(tmp_path: Path) -> None:
    spans = [plain_root(), a_span("resize", 12, 20), a_span("predict [a]", 20, 80), a_span("nms", 80, 85)]

    text = shown(tmp_path, [a_sample()], spans, stages=(("preprocess", ("decode",)),))

    assert "a guess by the words in their names alone" in text
    assert text.endswith(
        'spans:\n  stages:\n    preprocess: ["decode", "resize"]\n    inference: ["predict [[]a]"]\n'
        '    postprocess: ["nms"]'
    )


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        (
            "preprocess",
            ["decode", "resize_image", "preprocess", "tokenize", "PreProcess", "load-image", "model.preprocess"],
        ),
        ("inference", ["infer", "predict", "forward", "model", "session.run", "det_run", "classify", "encode"]),
        ("postprocess", ["nms", "decode_output", "postprocess", "format", "detokenize", "CtcDecodeText", "to_json"]),
        ("queue", ["queue", "wait for slot", "acquire lock", "batch_queue"]),
    ],
)
def test_names_sound_like_stages(stage: str, names: list[str]) -> None:
    assert guess(names) == {stage: [name.replace("[", "[[]") for name in names]}


@pytest.mark.parametrize(
    "name",
    [
        "POST /predict http send", "POST /predict http receive", "GET /predict websocket send", "POST /predict",
        "request handler - /predict", "middleware - rawParser", "router - /infer", "/v1/models/{name}:predict",
    ],
)  # fmt: skip
def test_a_route_and_what_a_framework_calls_its_own_spans_are_no_work(name: str) -> None:
    assert guess([name]) == {}


def test_the_block_to_paste_repeats_what_the_scenario_says_of_spans(tmp_path: Path) -> None:
    told: dict[str, Any] = {
        "listen": "127.0.0.1:5318",
        "listen_grpc": "127.0.0.1:5317",
        "sampled": 0.5,
        "source": "otlp",
    }

    text = shown(tmp_path, [a_sample()], [plain_root(), a_span("resize", 12, 20)], **told)

    block = text[text.index("\nspans:\n") :]
    scenario = tmp_path / "s.yaml"
    scenario.write_text(
        "scenario: s\ntarget: http://127.0.0.1:8000\nrequests: [{name: a, http: GET /}]\n"
        f"load: {{rate: 1/s, duration: 5s}}{block}\n"
    )
    assert load_scenario(scenario).spans == SpanSpec(stages=(("preprocess", ("resize",)),), **told)


def test_waits_for_the_body_are_offered_to_the_preset_that_knows_them(tmp_path: Path) -> None:
    spans = [plain_root(), a_span("POST /predict http receive", 12, 20), a_span("det", 20, 80)]

    text = shown(tmp_path, [a_sample()], spans)

    assert text.endswith("`preset: fastapi` calls `http receive` upload:\nspans:\n  preset: fastapi")


def test_a_mapping_that_works_is_not_offered_again(tmp_path: Path) -> None:
    spans = [plain_root(), a_span("predict", 20, 80), a_span("middleware - query", 12, 14)]

    text = shown(tmp_path, [a_sample()], spans, stages=(("inference", ("predict",)),))

    assert "a guess" not in text
    assert "map it" not in text


def test_names_that_sound_like_nothing_are_left_out() -> None:
    assert guess(["mystery", "GET /", "database", "attr:model", "prune", "block"]) == {}


def test_the_lines_to_connect_name_the_addresses_and_fit_on_a_screen() -> None:
    text = connect.render(SpanSpec(listen_grpc="127.0.0.1:4317"))

    assert "OTLP over HTTP comes to 127.0.0.1:4318, gRPC comes to 127.0.0.1:4317" in text
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317" in text
    assert "url=http://127.0.0.1:4318/v1/traces" in text
    assert "{jaeger: http://HOST:16686}" in text
    assert "node --require" in text
    assert len(text.splitlines()) <= 45
    assert max(map(len, text.splitlines())) <= 120


def test_check_shows_them_for_the_addresses_of_the_scenario(tmp_path: Path) -> None:
    scenario = tmp_path / "s.yaml"
    scenario.write_text(
        "scenario: s\ntarget: http://127.0.0.1:8000\nrequests: [{name: a, http: GET /}]\n"
        "load: {rate: 1/s, duration: 5s}\nspans: {listen: '127.0.0.1:5318', listen_grpc: '127.0.0.1:5317'}\n"
    )

    found = CliRunner().invoke(command, [str(scenario), "--connect"])

    assert found.exit_code == 0
    assert "OTLP over HTTP comes to 127.0.0.1:5318, gRPC comes to 127.0.0.1:5317" in found.output


def test_a_receiver_for_grpc_alone_is_told_with_its_protocol() -> None:
    text = connect.render(SpanSpec(listen=None, listen_grpc="127.0.0.1:4317"))

    assert (
        "export OTEL_EXPORTER_OTLP_PROTOCOL=grpc\n     export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317" in text
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (SpanSpec(listen=None), "this scenario starts no receiver"),
        (SpanSpec(source="server-timing"), "this scenario starts no receiver"),
        (SpanSpec(source="tempo", address="http://t:3200"), "This run reads spans from tempo: http://t:3200"),
    ],
)
def test_without_a_receiver_the_lines_say_so(spec: SpanSpec, said: str) -> None:
    assert said in connect.render(spec)
