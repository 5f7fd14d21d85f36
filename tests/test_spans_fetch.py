"""Spans brought from a trace store over real HTTP: what comes late, in parts, or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.spans import gathered
from harness.spans import store as store_module
from harness.spans.fetch import Patience
from tests.fetch_support import brought, spans_of
from tests.trace_shapes import MS, T0, a_trace
from tests.trace_store import a_store

SHAPES = ("jaeger-v3", "jaeger-legacy", "tempo-v2", "tempo-v1", "tempo-protobuf")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_api_gives_the_same_spans(shape: str, tmp_path: Path) -> None:
    with a_store(shape) as store:
        store.keep(a_trace(0, 2), a_trace(1, 2))
        fetched, table = brought(store, tmp_path)

    assert (fetched.traces, fetched.whole, fetched.spans, fetched.error) == (2, 2, 6, None)
    (root,) = (row for row in table.to_pylist() if row["kind"] == "server" and row["trace_id"] == store.trace_ids[0])
    unit = 1_000 if shape == "jaeger-legacy" else 1
    assert root["start_ns"] == (T0 + 10 * MS + 123) // unit * unit
    assert (root["parent_id"], root["name"], root["service"], root["pid"]) == (
        "0" * 15 + "1",
        "POST /v1/read",
        "reader",
        42,
    )
    assert json.loads(root["attributes"])["harness.spans"] == 2
    assert table["stage"].to_pylist().count("inference") == 4


@pytest.mark.parametrize("shape", ["jaeger-v3", "jaeger-legacy", "tempo-v2"])
def test_spans_that_come_in_parts_are_asked_for_again(shape: str, tmp_path: Path) -> None:
    with a_store(shape) as store:
        store.keep(a_trace(0, 2))
        store.late = {(store.trace_ids[0], f"{1:016x}"): 0.2, (store.trace_ids[0], f"{2:016x}"): 0.4}
        fetched, table = brought(store, tmp_path)

    assert (fetched.whole, fetched.late) == (1, False)
    assert len(spans_of(table)) == 3


def test_a_root_without_all_its_children_is_not_whole(tmp_path: Path) -> None:
    with a_store("tempo-v2") as store:
        store.keep(a_trace(0, 2)[1:])
        fetched, table = brought(store, tmp_path)

    assert (fetched.traces, fetched.whole, fetched.error) == (1, 0, None)
    assert table.num_rows == 2


def test_plain_spans_are_whole_with_their_root(tmp_path: Path) -> None:
    with a_store("tempo-v2") as store:
        trace = a_trace(0, 1)
        del trace[-1].attributes["harness.spans"]
        began = time.monotonic()
        fetched, _ = brought(store.keep(trace), tmp_path, patience=Patience(30.0, 30.0, 5.0, 5.0))

    assert fetched.whole == 1
    assert time.monotonic() - began < 4


def test_plain_spans_of_a_request_that_has_just_ended_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered, "EXPORT_INTERVAL_NS", 500 * MS)
    with a_store("jaeger-v3") as store:
        trace = a_trace((time.time_ns() - T0) // MS - 90, 2)
        del trace[-1].attributes["harness.spans"]
        store.keep(trace).late = {(trace[0].trace_id, trace[0].span_id): 0.2}  # of another process
        fetched, table = brought(store, tmp_path, patience=Patience(3.0, 5.0, 0.05, 0.1))

    assert (fetched.whole, table.num_rows) == (1, 3)


def test_a_trace_that_is_not_there_yet_is_found_later(tmp_path: Path) -> None:
    with a_store("jaeger-v3") as store:
        store.keep(a_trace(0))
        store.late = {(span.trace_id, span.span_id): 0.2 for span in store.spans}
        fetched, _ = brought(store, tmp_path)

    assert (fetched.whole, fetched.source) == (1, f"Jaeger v3 at {store.url}")


def test_many_traces_come_by_search_in_pages_and_not_one_by_one(tmp_path: Path) -> None:
    with a_store("jaeger-v3") as store:
        store.keep(*(a_trace(number) for number in range(1000)))
        fetched, table = brought(store, tmp_path)

    assert (fetched.whole, len(spans_of(table))) == (1000, 2000)
    assert len([path for path in store.paths() if path == "/api/v3/traces"]) == 2
    assert len(store.asked) < 60


@pytest.mark.parametrize("shape", ["jaeger-v3", "jaeger-legacy"])
def test_a_page_that_is_full_is_asked_for_in_halves(
    shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_PAGE_LIMIT", 60)
    with a_store(shape) as store:
        store.keep(*(a_trace(number) for number in range(300)))
        fetched, table = brought(store, tmp_path)

    assert (fetched.whole, len(spans_of(table))) == (300, 600)
    by_id = [path for path in store.paths() if not path.endswith("/traces")]
    assert len(by_id) <= 50 + 2


def test_a_search_that_finds_mostly_others_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_PAGE_LIMIT", 20)
    with a_store("jaeger-v3") as store:
        store.keep(*(a_trace(number) for number in range(1500)))
        fetched, _ = brought(store, tmp_path, asked=store.trace_ids[::25])

    assert fetched.whole == 60
    assert store.paths().count("/api/v3/traces") < 10


def test_what_a_search_leaves_out_is_asked_for_one_by_one(tmp_path: Path) -> None:
    with a_store("jaeger-v3", search_limit=120) as store:
        store.keep(*(a_trace(number) for number in range(200)))
        fetched, _ = brought(store, tmp_path)

    assert fetched.whole == 200


def test_requests_that_went_to_another_service_are_searched_for_there(tmp_path: Path) -> None:
    with a_store("jaeger-legacy") as store:
        store.keep(*(a_trace(number, service=("reader", "writer")[number // 150]) for number in range(300)))
        fetched, _ = brought(store, tmp_path)

    assert fetched.whole == 300
    assert len([path for path in store.paths() if path != "/api/traces"]) < 150


def test_tempo_is_asked_for_the_traces_that_its_search_names(tmp_path: Path) -> None:
    lost = [f"{0xABCD0000 << 96 | number:032x}" for number in range(1001, 1101)]
    with a_store("tempo-v2") as store:
        store.keep(*(a_trace(number) for number in range(100)))
        fetched, _ = brought(store, tmp_path, asked=[*store.trace_ids, *lost], patience=Patience(0.0, 5.0))

    assert (fetched.asked, fetched.whole) == (200, 100)
    assert not set(lost) & {path.rpartition("/")[2] for path in store.paths()[5:]}


def test_traces_of_others_are_left_where_they_are(tmp_path: Path) -> None:
    with a_store("jaeger-v3") as store:
        store.keep(*(a_trace(number) for number in range(200)))
        fetched, table = brought(store, tmp_path, asked=store.trace_ids[:100])

    assert (fetched.whole, table.num_rows) == (100, 200)


def test_a_busy_store_is_asked_again(tmp_path: Path) -> None:
    with a_store("tempo-v2") as store:
        store.keep(a_trace(0)).first = [(503, "text/plain", b"busy"), (429, "text/plain", b"slow down")]
        fetched, _ = brought(store, tmp_path)

    assert (fetched.whole, fetched.error) == (1, None)


def test_slow_answers_are_waited_for_side_by_side(tmp_path: Path) -> None:
    with a_store("tempo-v1", pause_s=0.1) as store:
        store.keep(*(a_trace(number) for number in range(16)))
        began = time.monotonic()
        fetched, _ = brought(store, tmp_path)

    assert fetched.whole == 16
    assert time.monotonic() - began < 1.5  # one after the other: 1.7 s and more


def test_the_token_of_the_environment_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHARNESS_TRACE_STORE_TOKEN", "s3cret")
    with a_store("tempo-v2", token="s3cret") as store:  # noqa: S106
        fetched, _ = brought(store.keep(a_trace(0)), tmp_path)

    assert fetched.whole == 1


def test_progress_is_said_in_whole_traces(tmp_path: Path) -> None:
    events: list[Mapping[str, object]] = []
    with a_store("tempo-v2") as store:
        brought(store.keep(a_trace(0), a_trace(1)), tmp_path, events=events)

    assert events[-1] == {"phase": "spans", "done": 2, "of": 2}
