"""Traces of known servers: which stage each instant belongs to, in ms after their start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.chunks import read_chunks, schema_of
from harness.model import PRESETS, Span, SpanSpec
from harness.spans import listen
from harness.spans.mapping import reasons, recognise, stages_of
from harness.spans.otlp import decode
from tests.builders import a_sample, at, spans_table
from tests.instrument_support import a_service, traceparent
from tests.span_builders import counted, until
from tests.test_conclude import concluded

TRACES = Path(__file__).parent / "traces"


def recorded(name: str) -> list[pa.Table]:
    """The traces of a file, each as a table of spans as the receiver would store them."""
    lines = (TRACES / f"{name}.jsonl").read_bytes().splitlines()
    rows = [decode(line, "application/json").rows for line in lines]
    return [
        pa.table(dict(zip(schema_of(Span).names, zip(*each, strict=True), strict=True)), schema_of(Span))
        for each in rows
    ]


def stages_at(spans: pa.Table, *instants_ms: float) -> list[str]:
    """The stages of the deepest open spans that have one, at each instant; "" for none, several with a plus."""
    rows = {row["span_id"]: row for row in spans.to_pylist()}
    return ["+".join(sorted(_deepest(rows, at(ms)))) for ms in instants_ms]


def _deepest(rows: dict[str, dict[str, Any]], instant: int) -> list[str]:
    open_ = {i: r for i, r in rows.items() if r["stage"] is not None and r["start_ns"] <= instant < r["end_ns"]}
    above: set[str] = set()
    for row in open_.values():
        while (row := rows.get(row["parent_id"], {})) and row["span_id"] not in above:
            above.add(row["span_id"])
    return [row["stage"] for i, row in open_.items() if i not in above]


def mapped(name: str, **spec: Any) -> list[pa.Table]:
    """The traces of a file, mapped together with the preset of the same name."""
    together = stages_of(pa.concat_tables(recorded(name)), SpanSpec(**{"preset": name, **spec}))
    assert together.schema == schema_of(Span)
    traces = dict.fromkeys(together.column("trace_id").to_pylist())
    return [together.filter(pa.compute.equal(together.column("trace_id"), each)) for each in traces]


def attributes(spans: pa.Table, name: str) -> list[dict[str, Any]]:
    return [json.loads(row["attributes"]) for row in spans.to_pylist() if row["name"] == name]


def test_fastapi_tells_dependencies_serialisation_and_the_wait_for_a_thread() -> None:
    read = mapped("fastapi")[0]

    instants = (2, 5, 13, 15, 19, 21, 69, 71, 73, 78)
    expected = ["", "preprocess", "preprocess", "queue", "queue", "inference", "inference", "", "postprocess", ""]
    assert stages_at(read, *instants) == expected
    assert attributes(read, "wait for a thread") == [{"harness.derived": True, "harness.resource": "threadpool"}]


def test_an_endpoint_is_inference_only_while_nothing_below_it_says_more() -> None:
    assert stages_at(mapped("fastapi")[1], 7, 15, 22, 30, 65) == ["inference"] * 5

    stages = (("preprocess", ("decode",)), ("inference", ("*.run",)))

    assert stages_at(mapped("fastapi", stages=stages)[1], 7, 15, 22, 30, 65) == ["", "preprocess", "", "inference", ""]


def test_a_function_with_spans_of_its_own_is_not_inference_when_it_happens_to_make_none() -> None:
    read, _, again = mapped("fastapi", stages=(("inference", ("*.run",)),))

    assert stages_at(read, 30) == ["inference"]
    assert stages_at(again, 8) == [""]


def test_triton_tells_queue_input_compute_and_output_by_events() -> None:
    simple = mapped("triton")[0]

    instants = (0.5, 1.5, 3, 5, 7, 8, 14, 16, 17.5, 19)
    expected = ["", "", "queue", "queue", "preprocess", "inference", "inference", "postprocess", "", ""]
    assert stages_at(simple, *instants) == expected
    assert attributes(simple, "queue")[0]["harness.resource"] == "scheduler of resnet"
    assert attributes(simple, "compute")[0]["harness.model"] == "resnet"


def test_each_model_of_a_triton_ensemble_has_its_own_stages() -> None:
    ensemble = mapped("triton")[1]

    instants = (2.5, 4, 5.5, 8, 10.5, 12.5, 15, 21, 30, 34, 37)
    expected = ["", "queue", "preprocess", "inference", "postprocess", "", "queue", "preprocess", "inference"]
    assert stages_at(ensemble, *instants) == [*expected, "postprocess", ""]
    assert [each["harness.model"] for each in attributes(ensemble, "compute")] == ["decode", "detect"]


def test_a_model_called_from_a_triton_bls_model_interrupts_it() -> None:
    instants = (1.5, 2.5, 5, 9, 10.5, 15, 18.5, 25, 28.5)
    expected = ["queue", "preprocess", "inference", "queue", "preprocess", "inference", "postprocess", "inference"]

    assert stages_at(mapped("triton")[2], *instants) == [*expected, "postprocess"]


def test_a_triton_queue_whose_other_half_is_in_another_part_goes_missing_alone() -> None:
    compute, *others = recorded("triton")[0].to_pylist()
    parts = [pa.Table.from_pylist(rows, schema=schema_of(Span)) for rows in ([compute], others)]

    apart = pa.concat_tables([stages_of(part, SpanSpec(preset="triton")) for part in parts])

    assert stages_at(apart, 3, 7, 10, 16) == ["", "preprocess", "inference", "postprocess"]


def test_vllm_lengths_are_laid_so_that_the_first_token_falls_where_it_was_seen() -> None:
    newer = mapped("vllm")[0]

    # First token at 500, prefill 300 before it, queue 100 before that; decode goes on for 1400.
    instants = (50, 101, 199, 201, 1899, 1901)
    assert stages_at(newer, *instants) == ["", "queue", "queue", "inference", "inference", ""]
    assert attributes(newer, "time in queue")[0]["harness.resource"] == "engine scheduler"


def test_older_vllm_engines_tell_the_time_of_execution_instead() -> None:
    older = mapped("vllm")[1]

    assert stages_at(older, 0, 199, 201, 799, 801) == ["queue", "queue", "inference", "inference", ""]
    assert attributes(older, "time in model")[0]["harness.model"] == "opt-125m"


@pytest.mark.parametrize("odd", ["-0.1", "1e30", '"0.2"', "null", "[0.2]", '"NaN"'])
def test_a_vllm_length_that_cannot_be_is_not_taken(odd: str) -> None:
    row = recorded("vllm")[1].to_pylist()[0]
    row["attributes"] = row["attributes"].replace(
        '"gen_ai.latency.time_in_queue":0.2', f'"gen_ai.latency.time_in_queue":{odd}'
    )
    spans = stages_of(pa.Table.from_pylist([row], schema=schema_of(Span)), SpanSpec(preset="vllm"))

    assert stages_at(spans, 100, 700) == ["inference", ""]


def test_vllm_lengths_beyond_their_span_are_clipped_to_it() -> None:
    row = recorded("vllm")[1].to_pylist()[0]
    row["end_ns"] = at(500)
    spans = stages_of(pa.Table.from_pylist([row], schema=schema_of(Span)), SpanSpec(preset="vllm"))

    assert [(r["start_ns"], r["end_ns"]) for r in spans.to_pylist()[1:]] == [(at(0), at(200)), (at(200), at(500))]


def test_ray_tells_the_way_to_a_replica_and_what_the_replica_does() -> None:
    one, _, old = mapped("ray")

    for trace in (one, old):
        assert stages_at(trace, 3, 6, 14, 16, 89, 92, 97) == ["", "queue", "queue", "inference", "inference", "", ""]


def test_a_ray_deployment_that_calls_another_is_not_inference_itself() -> None:
    composed = mapped("ray")[1]

    assert stages_at(composed, 10, 20, 35, 50, 69, 80) == ["queue", "", "queue", "inference", "", ""]


def test_a_ray_replica_with_an_earlier_clock_tells_no_queue() -> None:
    rows = recorded("ray")[0].to_pylist()
    rows[2].update(start_ns=at(1), end_ns=at(80))
    spans = stages_of(pa.Table.from_pylist(rows, schema=schema_of(Span)), SpanSpec(preset="ray"))

    assert stages_at(spans, 10, 85) == ["inference", ""]


def test_kserve_tells_the_body_and_what_its_model_puts_spans_around() -> None:
    plain, spanned = mapped("kserve")

    assert stages_at(plain, 1, 5, 15, 30, 52, 58) == ["", "upload", "", "", "", ""]
    assert stages_at(spanned, 1, 5, 15, 30, 52, 58) == ["", "upload", "preprocess", "inference", "postprocess", ""]


def test_bentoml_tells_the_body_and_nothing_of_the_method() -> None:
    assert stages_at(mapped("bentoml")[0], 1, 5, 15, 30, 58) == ["", "upload", "", "", ""]


@pytest.mark.parametrize("name", PRESETS)
def test_a_server_is_recognised_by_its_spans_where_they_name_it(name: str) -> None:
    assert [recognise(trace) for trace in recorded(name)] == [None if name == "bentoml" else name] * len(recorded(name))


def test_no_server_is_recognised_in_no_spans_or_in_plain_ones() -> None:
    rows = [{**row, "name": "work", "service": "mine"} for row in recorded("bentoml")[0].to_pylist()]

    assert recognise(schema_of(Span).empty_table()) is None
    assert recognise(pa.Table.from_pylist(rows, schema=schema_of(Span))) is None


@pytest.mark.parametrize("name", PRESETS)
def test_mapping_a_mapped_run_again_changes_nothing(name: str) -> None:
    once = stages_of(pa.concat_tables(recorded(name)), SpanSpec(preset=name))

    again = stages_of(once, SpanSpec(preset=name))

    assert sorted(again.to_pylist(), key=str) == sorted(once.to_pylist(), key=str)
    assert len(set(once.column("span_id").to_pylist())) == once.num_rows


@pytest.mark.parametrize("name", PRESETS)
def test_a_table_without_spans_or_with_other_spans_is_left_alone(name: str) -> None:
    empty = schema_of(Span).empty_table()
    others = pa.concat_tables([trace for other in PRESETS if other != name for trace in recorded(other)[:1]])

    assert stages_of(empty, SpanSpec(preset=name)).num_rows == 0
    assert stages_of(others, SpanSpec(preset=name)).num_rows >= others.num_rows


def test_what_a_span_says_itself_and_what_the_scenario_says_come_before_the_preset() -> None:
    rows = recorded("fastapi")[0].to_pylist()
    rows[0]["stage"] = "inference"
    stages = (("preprocess", ("fastapi.serialization",)),)

    spans = stages_of(pa.Table.from_pylist(rows, schema=schema_of(Span)), SpanSpec(preset="fastapi", stages=stages))

    assert stages_at(spans, 5, 74) == ["inference", "preprocess"]


def test_a_request_that_our_instrumentation_marked_is_left_to_it() -> None:
    rows = recorded("fastapi")[0].to_pylist()
    beside = {"span_id": "a" * 16, "attributes": '{"harness.split":"marks"}'}
    table = pa.Table.from_pylist([*rows, {**rows[-1], **beside}], schema=schema_of(Span))
    both = pa.concat_tables([table, recorded("fastapi")[2]])

    spans = stages_of(both, SpanSpec(preset="fastapi"))

    assert [row["stage"] for row in spans.to_pylist()[:5]] == [None] * 5
    assert [row["stage"] for row in spans.to_pylist()[5:]] == ["preprocess", "inference", "postprocess", None, "queue"]


def test_each_stage_has_its_reason() -> None:
    spec = SpanSpec(preset="triton", stages=(("postprocess", ("Infer*", "InferRequest")),))
    spans = stages_of(recorded("triton")[0], spec)

    why = dict(zip(spans.column("name").to_pylist(), reasons(spans, spec), strict=True))

    assert why == {
        "compute": "preset triton", "resnet": None, "InferRequest": "stages: InferRequest",
        "queue": "preset triton, derived", "compute input": "preset triton, derived",
        "compute output": "preset triton, derived",
    }  # fmt: skip


def test_the_reason_of_a_preset_names_its_rule() -> None:
    spans = stages_of(recorded("fastapi")[0], SpanSpec(preset="fastapi"))

    why = reasons(spans, SpanSpec(preset="fastapi"))

    expected = ["dependencies", "endpoint", "serialization"]
    assert why[:3] == [f"preset fastapi: fastapi.{each}" for each in expected]


NAMES = (
    "compute", "llm_request", "fastapi.endpoint", "fastapi.dependencies", "route_to_replica A",
    "replica_handle_request A",
)  # fmt: skip
EVENTS = ("QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END")
ODD = st.one_of(st.none(), st.integers(-5, 2**70), st.floats(), st.text(max_size=3), st.booleans())


@st.composite
def any_span(draw: st.DrawFn) -> Span:
    """A span of a few in one trace, with attributes and events of the servers, sound or not."""
    start, length = draw(st.integers(1, 50)), draw(st.integers(0, 50))
    events = draw(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 120)).map(list) | ODD, max_size=6))
    told = draw(st.dictionaries(st.sampled_from(["time_in_queue", "time_in_model_inference"]), ODD))
    attributes = {"otel.events": events} | {f"gen_ai.latency.{key}": value for key, value in told.items()}
    return Span(
        trace_id="1" * 32, span_id=f"{draw(st.integers(1, 6)):016x}", parent_id=f"{draw(st.integers(0, 6)):016x}",
        name=draw(st.sampled_from(NAMES)), kind=draw(st.sampled_from(["server", "internal"])), service="s", pid=None,
        start_ns=start, end_ns=start + length, stage=None,
        attributes=draw(st.just(json.dumps(attributes)) | st.none() | st.just("{")),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["fastapi", "triton", "vllm", "ray"])
@settings(max_examples=50)
@given(spans=st.lists(any_span(), max_size=8))
def test_whatever_arrives_derived_spans_lie_in_their_own_and_the_others_stay(name: str, spans: list[Span]) -> None:
    found = stages_of(spans_table(*spans), SpanSpec(preset=name)).to_pylist()

    kept, derived = found[: len(spans)], found[len(spans) :]
    assert [(r["span_id"], r["start_ns"], r["end_ns"]) for r in kept] == [
        (each.span_id, each.start_ns, each.end_ns) for each in spans
    ]
    for row in derived:
        sources = [each for each in spans if each.span_id == row["parent_id"]]
        assert row["stage"] is not None
        assert any(each.start_ns <= row["start_ns"] <= row["end_ns"] <= each.end_ns for each in sources)


@pytest.fixture(scope="module")
def sent_by_fastapi(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """What our receiver stored of a FastAPI service with nothing but its native telemetry: one call of each path."""
    folder = tmp_path_factory.mktemp("native")
    receiver = listen.start(listen.bind("127.0.0.1:0"), folder)
    native = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    try:
        with a_service(receiver.endpoint, app="native_app", **native) as service:
            assert service.get("/plain", traceparent("1" * 32)).status == 200
            assert service.get("/spanned", traceparent("2" * 32)).status == 200
            until(lambda: counted(receiver) >= 10)
    finally:
        receiver.stop()
    return read_chunks([folder / listen.SPANS_FILE], Span)


def seconds_of(spans: pa.Table, trace_id: str) -> dict[str, float]:
    """The lengths of the spans of each stage in a trace."""
    found: dict[str, float] = {}
    for row in spans.to_pylist():
        if row["trace_id"] == trace_id and row["stage"] is not None:
            found[row["stage"]] = found.get(row["stage"], 0.0) + (row["end_ns"] - row["start_ns"]) / 1e9
    return found


def test_a_real_fastapi_service_is_recognised_and_split(sent_by_fastapi: pa.Table) -> None:
    assert recognise(sent_by_fastapi) == "fastapi"

    found = seconds_of(stages_of(sent_by_fastapi, SpanSpec(preset="fastapi")), "1" * 32)

    assert 0.02 <= found["preprocess"] < 0.5
    assert 0.05 <= found["inference"] < 0.5
    assert 0 < found["queue"] < 0.5
    assert 0 < found["postprocess"] < 0.5


def test_spans_in_a_real_fastapi_endpoint_take_its_place(sent_by_fastapi: pa.Table) -> None:
    stages = (("preprocess", ("decode",)), ("inference", ("*.run",)))

    both = stages_of(sent_by_fastapi, SpanSpec(preset="fastapi", stages=stages))

    found = seconds_of(both, "2" * 32)
    assert 0.02 <= found["preprocess"] < 0.5
    assert 0.03 <= found["inference"] < 0.5
    assert {row["stage"] for row in both.to_pylist() if row["name"] == "fastapi.endpoint"} == {None, "inference"}


@pytest.mark.parametrize(
    ("name", "number", "expected_ms"),
    [
        ("fastapi", 0, {"queue": 6, "preprocess": 10, "inference": 50, "postprocess": 4}),
        ("triton", 0, {"queue": 4, "preprocess": 2, "inference": 7, "postprocess": 2}),
        ("triton", 1, {"queue": 9, "preprocess": 3, "inference": 15, "postprocess": 3}),
        ("triton", 2, {"queue": 3, "preprocess": 2, "inference": 21, "postprocess": 2}),
        ("vllm", 0, {"queue": 100, "inference": 1700}),
        ("ray", 0, {"queue": 10, "inference": 75}),
        ("kserve", 1, {"upload": 10, "preprocess": 6, "inference": 30, "postprocess": 4}),
    ],
)
def test_the_ledger_charges_what_the_preset_tells(
    tmp_path: Path, name: str, number: int, expected_ms: dict[str, float]
) -> None:
    spans = [Span(**row) for row in recorded(name)[number].to_pylist()]
    sample = a_sample(
        trace_id=spans[0].trace_id, span_id="00f067aa0ba902b7", scheduled_ns=at(0), start_ns=at(0), resolved_ns=None,
        tcp_ns=None, connected_ns=None, send_ns=at(0), sent_ns=at(0), first_byte_ns=at(2000), done_ns=at(2000),
    )  # fmt: skip

    row = concluded(tmp_path, [sample], spans, spans=SpanSpec(preset=name)).rows.iloc[0]

    assert {stage: row[f"{stage}_s"] * 1e3 for stage in expected_ms} == pytest.approx(expected_ms)
