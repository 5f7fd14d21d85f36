"""What Jaeger's query APIs answer, read into spans."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Span, columns
from harness.spans.jaeger import LEGACY, V3, read_legacy, read_v3
from harness.spans.otlp import Decoded, MalformedBody
from tests.span_builders import END, JSON, PARENT, SPAN, START, TRACE, a_json

US = 1_700_000_000_000_000


def only(decoded: Decoded) -> dict[str, Any]:
    assert (len(decoded.rows), decoded.rejected) == (1, 0)
    return dict(zip(columns(Span), decoded.rows[0], strict=True))


def v3(*chunks: bytes) -> Decoded:
    return read_v3(b"\n".join(b'{"result":' + chunk + b"}" for chunk in chunks), JSON)


def legacy(**changes: Any) -> Decoded:
    span = {
        "traceID": TRACE,
        "spanID": SPAN,
        "operationName": "infer",
        "references": [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": PARENT}],
        "startTime": US,
        "duration": 250_000,
        "tags": [{"key": "span.kind", "type": "string", "value": "server"}],
        "logs": [],
        "processID": "p1",
    }
    tags = [{"key": "process.pid", "type": "int64", "value": 42}]
    processes = {"p1": {"serviceName": "reader", "tags": tags}}
    data = [{"traceID": TRACE, "spans": [{**span, **changes}], "processes": processes}]
    return read_legacy(json.dumps({"data": data}).encode(), JSON)


def tagged(*tags: tuple[str, str | None, object]) -> Any:
    row = only(legacy(tags=[{"key": k, "value": v, **({"type": t} if t else {})} for k, t, v in tags]))
    return row["attributes"] and json.loads(row["attributes"])


def test_a_v3_answer_is_otlp_in_an_envelope() -> None:
    row = only(v3(a_json()))

    assert (row["trace_id"], row["span_id"], row["parent_id"], row["kind"]) == (TRACE, SPAN, PARENT, "server")
    assert (row["start_ns"], row["end_ns"], row["service"], row["pid"]) == (START, END, "reader", 42)


def test_a_v3_answer_may_come_in_several_pieces() -> None:
    assert len(v3(a_json(), a_json(spanId="c" * 16)).rows) == 2


def test_v3_of_older_versions_writes_ids_in_base64_and_kinds_in_words() -> None:
    row = only(v3(a_json(traceId="CvdlGRbNQ92ESOshHIAxnA==", spanId="t61rcWkgMzE=", kind="SPAN_KIND_SERVER")))

    assert (row["trace_id"], row["span_id"], row["kind"]) == (TRACE, SPAN, "server")


def test_a_v3_answer_without_spans_is_empty() -> None:
    assert read_v3(b'{"result":{}}', JSON) == read_v3(b"", JSON) == Decoded([], 0)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"result": 1}', b'{"error": {"httpCode": 500}}', b'{"result":'])
def test_what_is_no_v3_answer_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_v3(body, JSON)


def test_a_legacy_span_has_microseconds() -> None:
    row = only(legacy())

    assert (row["start_ns"], row["end_ns"]) == (START, START + 250_000_000)
    assert (row["kind"], row["service"], row["pid"], row["parent_id"]) == ("server", "reader", 42, PARENT)
    assert row["attributes"] is None


def test_ids_without_leading_zeros_are_padded() -> None:
    row = only(legacy(traceID="1f", spanID="2", references=[{"refType": "CHILD_OF", "traceID": "1f", "spanID": "3"}]))

    assert (row["trace_id"], row["span_id"], row["parent_id"]) == (f"{0x1F:032x}", f"{2:016x}", f"{3:016x}")


def test_tags_keep_their_types() -> None:
    big = str(2**60)
    found = tagged(
        ("a", "string", "x"), ("b", "bool", True), ("c", "int64", 7), ("d", "int64", big), ("e", "float64", 0.5),
        ("f", "binary", "AAE="), ("g", None, "y"),
    )  # fmt: skip

    assert found == {"a": "x", "b": True, "c": 7, "d": 2**60, "e": 0.5, "f": "AAE=", "g": "y"}


def test_the_stage_that_a_span_names_is_its_stage() -> None:
    row = only(legacy(tags=[{"key": "harness.stage", "type": "string", "value": "inference"}]))

    assert (row["stage"], row["kind"]) == ("inference", "unspecified")


def test_the_scope_is_said_as_otlp_says_it() -> None:
    assert tagged(("otel.scope.name", "string", "torch")) == {"otel.scope.name": "torch"}
    assert tagged(("otel.scope.name", "string", "harness.instrument")) is None


def test_logs_are_events_and_followed_spans_are_links() -> None:
    references = [
        {"refType": "FOLLOWS_FROM", "traceID": "b" * 32, "spanID": "c" * 16},
        {"refType": "CHILD_OF", "traceID": "b" * 32, "spanID": "d" * 16},
        {"refType": "CHILD_OF", "traceID": TRACE, "spanID": PARENT},
    ]
    logs = [{"timestamp": US + 1, "fields": [{"key": "event", "type": "string", "value": "first token"}]}]
    row = only(legacy(references=references, logs=logs))

    assert row["parent_id"] == PARENT
    assert json.loads(row["attributes"]) == {
        "otel.events": [["first token", START + 1_000]],
        "otel.links": [["b" * 32, "c" * 16]],
    }


def test_the_parent_of_older_versions_is_taken() -> None:
    assert only(legacy(references=[], parentSpanID=PARENT))["parent_id"] == PARENT
    assert only(legacy(references=None))["parent_id"] is None


def test_a_span_of_no_known_process_has_no_service() -> None:
    assert only(legacy(processID="p9"))["service"] is None


@pytest.mark.parametrize(
    "changes", [{"startTime": "soon"}, {"startTime": None}, {"duration": -1}, {"traceID": "zz"}, {"spanID": "0"}]
)
def test_an_impossible_span_is_counted(changes: dict[str, Any]) -> None:
    assert legacy(**changes) == Decoded([], 1)


def test_a_number_too_long_to_be_written_is_refused() -> None:
    with pytest.raises(MalformedBody):
        legacy(startTime=10**4290, duration=10**4299)


def test_a_legacy_answer_without_a_trace_is_empty() -> None:
    assert read_legacy(b'{"data":[]}', JSON) == Decoded([], 0)
    assert read_legacy(b'{"data":null,"errors":[{"code":404,"msg":"trace not found"}]}', JSON) == Decoded([], 0)


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"data": [1]}', b'{"data": {}}', b"\xff"])
def test_what_is_no_legacy_answer_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_legacy(body, JSON)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "spans", "result", "resourceSpans", "tags", "key", "value", "references", "processes"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_JSON)
def test_any_json_is_read_or_refused(content: object) -> None:
    body = json.dumps(content).encode()
    for read in (read_v3, read_legacy):
        try:
            found = read(body, JSON)
        except MalformedBody:
            continue
        assert isinstance(found.rejected, int)


def test_a_search_asks_for_spans_as_they_were_recorded() -> None:
    assert V3.spans_between is not None
    assert LEGACY.spans_between is not None
    _, v3_params = V3.spans_between("reader", START, END, 7)
    path, params = LEGACY.spans_between("reader", START + 1, END + 1, 7)

    assert v3_params["query.start_time_min"] == "2023-11-14T22:13:20.000000000Z"
    assert v3_params["query.startTimeMax"] == "2023-11-14T22:13:20.250000000Z"
    assert v3_params["query.raw_traces"] == v3_params["query.rawTraces"] == params["raw"] == "true"
    assert (path, params["start"], params["end"]) == ("/api/traces", str(US), str(US + 250_001))
