"""OTLP lines: read back, nothing is missing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
from google.protobuf.json_format import Parse
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness.chunks import read_chunks
from harness.clock import ClockOffset
from harness.export import otlp
from harness.export.aligned import onto_client
from harness.model import Span
from harness.run_folder import RunFolder
from harness.spans.otlp import SpanRow, decode
from harness.spans.otlp_file import Counted, read_lines
from harness.waterfall.stored_clock import write_clock
from tests.builders import a_root, a_sample, a_span, at, trace
from tests.export_support import BATCH, HOSTILE, ROOT, a_ledger, store, two_in_a_batch
from tests.test_acceptance_channels import collector, receiver


def read(lines: list[str]) -> set[SpanRow]:
    counted = Counted()
    rows = {alike(row) for row in read_lines((line.encode() for line in lines), counted)}
    assert counted.unusable == 0
    return rows


def alike(row: Iterable[Any]) -> SpanRow:
    """A row whose attributes are in one order."""
    *most, attributes = row
    sorted_ = None if attributes is None else json.dumps(json.loads(attributes), sort_keys=True)
    return (*most, sorted_)  # type: ignore[return-value]


def stored(folder: RunFolder) -> set[SpanRow]:
    return {alike(row.values()) for row in folder.read_table("spans", Span).to_pylist()}


def spans_in(lines: list[str]) -> list[dict[str, Any]]:
    return [
        span
        for line in lines
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def test_the_spans_of_a_service_come_back_as_they_were_stored(tmp_path: Path) -> None:
    folder = two_in_a_batch(tmp_path / "run")

    rows = read(list(otlp.lines(folder)))

    assert {row for row in rows if row[5] != "harness"} == stored(folder)


def test_each_request_is_a_client_span_and_the_parent_of_its_root(tmp_path: Path) -> None:
    folder = two_in_a_batch(tmp_path / "run")

    rows = [row for row in read(list(otlp.lines(folder))) if row[5] == "harness"]

    assert {(row[0], row[1], row[3], row[4]) for row in rows} == {
        (trace(0), f"{1:016x}", "read", "client"), (trace(1), f"{2:016x}", "read", "client"),
    }  # fmt: skip
    assert {(row[7], row[8]) for row in rows} == {(at(0), at(100)), (at(20), at(100))}


def test_a_failed_request_has_the_status_error_and_says_why(tmp_path: Path) -> None:
    folder = two_in_a_batch(tmp_path / "run")

    by_id = {span["spanId"]: span for span in spans_in(list(otlp.lines(folder)))}

    assert "status" not in by_id[f"{1:016x}"]
    assert by_id[f"{2:016x}"]["status"] == {"code": 2, "message": "timeout"}


def test_the_stages_of_the_ledger_are_attributes_and_unknown_ones_are_not(tmp_path: Path) -> None:
    rows = a_ledger({"request_id": 0, "inference_s": 0.0625, "queue_s": None})
    folder = store(tmp_path / "run", [a_sample(0), a_sample(1)], ledger=rows)

    spans = spans_in(list(otlp.lines(folder)))
    first, second = ({pair["key"]: pair["value"] for pair in span["attributes"]} for span in spans)

    assert first["harness.stages.inference"] == {"doubleValue": 0.0625}
    assert "harness.stages.queue" not in first
    assert not any(key.startswith("harness.stages") for key in second)


def test_of_one_request_its_spans_and_its_batch_are_exported(tmp_path: Path) -> None:
    folder = two_in_a_batch(tmp_path / "run")

    rows = read(list(otlp.lines(folder, [1])))

    assert {row[1] for row in rows if row[3] != "infer"} == {f"{2:016x}", ROOT.format(1), BATCH}
    assert {row[0] for row in rows if row[3] == "infer"} == {trace(1)}


def test_of_no_request_there_are_no_lines(tmp_path: Path) -> None:
    assert list(otlp.lines(two_in_a_batch(tmp_path / "run"), [])) == []


def test_a_run_without_requests_has_no_lines(tmp_path: Path) -> None:
    assert list(otlp.lines(store(tmp_path / "run", []))) == []


def test_lines_hold_so_many_spans_and_no_more(tmp_path: Path) -> None:
    spans = [a_span("work", number, number + 1, span_id=f"{number + 1:016x}") for number in range(1_100)]
    folder = store(tmp_path / "run", [], spans)

    assert [len(spans_in([line])) for line in otlp.lines(folder)] == [512, 512, 76]


def test_long_attributes_end_a_line_early(tmp_path: Path) -> None:
    spans = [a_span("work", n, n + 1, span_id=f"{n + 1:016x}", attributes={"text": "x" * 600_000}) for n in range(4)]
    folder = store(tmp_path / "run", [], spans)

    lines = list(otlp.lines(folder))

    assert [len(spans_in([line])) for line in lines] == [2, 2]
    assert read(lines) == stored(folder)


def test_attributes_that_are_no_json_are_kept_as_text(tmp_path: Path) -> None:
    folder = store(tmp_path / "run", [], [a_span("odd", 0, 1, span_id="1" * 16)])
    table = folder.read_table("spans", Span)
    at_ = table.schema.get_field_index("attributes")
    folder.write_table("spans", table.set_column(at_, table.schema.field(at_), [["{no"]]))

    (row,) = read(list(otlp.lines(folder)))

    assert json.loads(row[10] or "") == {"harness.attributes": "{no"}


def test_hostile_names_stay_what_they_are(tmp_path: Path) -> None:
    sample = a_sample(0, name=HOSTILE, error=HOSTILE)
    folder = store(tmp_path / "run", [sample], [a_span(HOSTILE, 10, 90, service=HOSTILE)])

    rows = read(list(otlp.lines(folder)))

    assert {row[3] for row in rows} == {HOSTILE}
    assert {row[5] for row in rows} == {"harness", HOSTILE}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc.", min_size=1), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text("abc.\u00e9\u202e", min_size=1, max_size=5), values, min_size=1, max_size=4))
def test_attributes_of_any_kind_come_back(attributes: dict[str, Any]) -> None:
    _, members = otlp._parts_of(json.dumps(attributes))
    span = f'"traceId":"{trace(0)}","spanId":"{1:016x}","startTimeUnixNano":"1","endTimeUnixNano":"2"{members}'
    body = '{"resourceSpans":[{"scopeSpans":[{"spans":[{' + span + "}]}]}]}"

    (row,) = decode(body.encode(), "application/json").rows

    assert json.loads(row[10] or "") == attributes


def test_spans_are_moved_onto_the_clients_clock_when_it_is_known(tmp_path: Path) -> None:
    folder = two_in_a_batch(tmp_path / "run")
    write_clock(folder, (("elsewhere", ClockOffset(5_000_000, 0, False, 0, 2)),))

    moved = {row[1]: row for row in read(list(otlp.lines(folder, None, onto_client(folder))))}

    assert (moved[ROOT.format(0)][7], moved[ROOT.format(0)][8]) == (at(5), at(85))
    assert moved[f"{1:016x}"][7] == at(0)


def test_without_a_known_clock_nothing_is_moved(tmp_path: Path) -> None:
    assert onto_client(two_in_a_batch(tmp_path / "run")) is None


def test_a_collector_takes_the_file_and_the_same_spans_come_out(tmp_path: Path) -> None:
    """rotel reads OTLP over HTTP, as protobuf: each line is sent as one request."""
    folder = two_in_a_batch(tmp_path / "run")
    lines = list(otlp.lines(folder))
    with receiver(tmp_path / "behind") as behind, collector(tmp_path, behind.endpoint) as hop, httpx.Client() as client:
        for line in lines:
            body = Parse(_base64_ids(line), ExportTraceServiceRequest()).SerializeToString()
            headers = {"content-type": "application/x-protobuf"}
            assert client.post(f"{hop}/v1/traces", content=body, headers=headers).status_code == 200
        behind.drained(quiet_s=0.4, deadline_s=10)
    came = read_chunks(sorted((tmp_path / "behind").glob("spans*.arrows")), Span).to_pylist()

    assert {alike(row.values()) for row in came} == read(lines)


def _base64_ids(line: str) -> str:
    """OTLP writes ids in hexadecimal where the JSON of protobuf has base64."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: base64.b64encode(bytes.fromhex(one)).decode()
                if key in ("traceId", "spanId", "parentSpanId")
                else changed(one)
                for key, one in value.items()
            }
        return [changed(one) for one in value] if isinstance(value, list) else value

    return json.dumps(changed(json.loads(line)))


def test_what_no_strict_reader_takes_becomes_text(tmp_path: Path) -> None:
    odd = '{"a": NaN, "b": 1e999, "c": 99999999999999999999, "\\ud800": "\\udfff"}'
    folder = store(tmp_path / "run", [], [a_span("odd", 0, 1, span_id="1" * 16)])
    table = folder.read_table("spans", Span)
    at_ = table.schema.get_field_index("attributes")
    folder.write_table("spans", table.set_column(at_, table.schema.field(at_), [[odd]]))

    (line,) = otlp.lines(folder)

    Parse(_base64_ids(line), ExportTraceServiceRequest())
    (row,) = read([line])
    assert json.loads(row[10] or "") == {"a": "nan", "b": "inf", "c": "99999999999999999999", "?": "?"}


def test_spans_long_after_the_answer_are_exported_with_their_request(tmp_path: Path) -> None:
    hour_ms = 3_600_000
    spans = [
        a_root(10, 90, span_id="1" * 16, attributes={"harness.spans": 1}),
        a_span("clean up", hour_ms, hour_ms + 5, span_id="2" * 16, parent_id="1" * 16),
    ]
    folder = store(tmp_path / "run", [a_sample(0)], spans)
    pq.write_table(folder.read_table("spans", Span), folder.spans, row_group_size=1)

    names = [span["name"] for span in spans_in(list(otlp.lines(folder, [0])))]

    assert "clean up" in names
