"""Spans brought from a trace store over real HTTP: what comes late, in parts, or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from harness.chunks import read_chunks
from harness.interrupt import Interrupt
from harness.model import Span, SpanSpec
from harness.spans import asking, gathered
from harness.spans import store as store_module
from harness.spans.asking import LIMIT_BYTES
from harness.spans.fetch import Fetched, Patience, fetch, warnings_of
from tests.trace_store import MS, T0, TraceStore, a_store, a_trace

SHORT = Patience(quiet_s=0.4, longest_s=5.0, first_pause_s=0.05, longest_pause_s=0.1)
SHAPES = ("jaeger-v3", "jaeger-legacy", "tempo-v2", "tempo-v1", "tempo-protobuf")


def brought(
    store: TraceStore,
    folder: Path,
    asked: Sequence[str] | None = None,
    patience: Patience = SHORT,
    events: list[Mapping[str, object]] | None = None,
    interrupt: Interrupt | None = None,
) -> tuple[Fetched, pa.Table]:
    spec = SpanSpec(source=store.shape.partition("-")[0].replace("page", "jaeger"), address=store.url)
    out = folder / "spans-fetched.arrows"
    wanted = store.trace_ids if asked is None else asked
    tell = (lambda event: None) if events is None else events.append
    fetched = fetch(spec, wanted, (T0, T0 + 1000 * MS), out, interrupt or Interrupt(), tell, patience)
    return fetched, read_chunks([out], Span)


def spans_of(table: pa.Table) -> set[tuple[str, str]]:
    rows = list(zip(table["trace_id"].to_pylist(), table["span_id"].to_pylist(), strict=True))
    assert len(set(rows)) == len(rows), "a span was kept twice"
    return set(rows)


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
    assert len(store.asked) < 10


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
    assert len(by_id) < 50


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


# --- what goes wrong costs a warning -----------------------------------------------------------------------


def test_a_store_that_wants_a_token_is_said_to(tmp_path: Path) -> None:
    with a_store("tempo-v2", token="s3cret") as store:  # noqa: S106
        fetched, table = brought(store.keep(a_trace(0)), tmp_path)

    (warning,) = warnings_of(fetched, "X")
    assert warning.message == f"the trace store at {store.url} refuses to answer (401)"
    assert "MLHARNESS_TRACE_STORE_TOKEN" in warning.hint
    assert table.num_rows == 0


def test_a_web_page_is_no_answer(tmp_path: Path) -> None:
    with a_store("page") as store:
        fetched, _ = brought(store.keep(a_trace(0)), tmp_path)

    assert fetched.error == f"the trace store at {store.url} answers with a web page"
    assert "http://127.0.0.1:16686" in fetched.hint


def test_a_store_that_is_down_is_named(tmp_path: Path) -> None:
    with a_store("tempo-v2") as store:
        store.keep(a_trace(0))
    fetched, _ = brought(store, tmp_path)

    assert (fetched.error or "").startswith(f"the trace store at {store.url} does not answer: ")
    assert "Tempo 3200" in fetched.hint


def test_a_store_without_these_traces_is_said_to_have_none(tmp_path: Path) -> None:
    with a_store("jaeger-legacy") as store:
        fetched, _ = brought(store, tmp_path, asked=["a" * 32])

    assert fetched.error == f"the trace store at {store.url} has no trace of this run"
    assert not fetched.late


@pytest.mark.parametrize(
    "reply", [(302, "text/plain", b""), (200, "text/plain", b"hello"), (200, "text/plain", b"[1]")]
)
def test_what_is_no_trace_store_is_said_to_be_none(reply: tuple[int, str, bytes], tmp_path: Path) -> None:
    with a_store("tempo-v2", first=[reply] * 50) as store:
        fetched, _ = brought(store, tmp_path, asked=["a" * 32])

    assert fetched.error is not None
    assert store.url in fetched.error
    assert fetched.hint


def test_a_store_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_TIMEOUT_S", 0.2)
    with a_store("tempo-v2", pause_s=0.6) as store:
        fetched, _ = brought(store.keep(a_trace(0)), tmp_path)

    assert fetched.error == f"the trace store at {store.url} does not answer: it takes too long"


def test_a_search_that_fails_is_done_without(tmp_path: Path) -> None:
    with a_store("jaeger-v3") as store:
        store.keep(*(a_trace(number) for number in range(60)))
        store.broken = "/api/v3/traces"
        fetched, _ = brought(store, tmp_path)

    assert (fetched.whole, fetched.error) == (60, None)


def test_an_answer_without_end_is_cut_off(tmp_path: Path) -> None:
    with a_store("tempo-v2") as store:
        store.keep(a_trace(0), a_trace(1)[:1])
        fetched, _ = brought(store, tmp_path, asked=store.trace_ids[:1])
        store.first = [(200, "application/json", b" " * (LIMIT_BYTES + 1))]
        again, _ = brought(store, tmp_path, asked=store.trace_ids[:1])

    assert fetched.error is None
    assert again.error == f"an answer of the trace store at {store.url} is larger than 64 MiB"


def test_a_second_ctrl_c_ends_the_asking(tmp_path: Path) -> None:
    interrupt = Interrupt()
    interrupt.presses = 2
    began = time.monotonic()
    with a_store("tempo-v2") as store:
        fetched, _ = brought(store, tmp_path, asked=["a" * 32], patience=Patience(), interrupt=interrupt)

    assert (fetched.whole, fetched.late) == (0, False)
    assert time.monotonic() - began < 5


def test_spans_that_still_come_at_the_deadline_are_a_warning_with_the_remedy(tmp_path: Path) -> None:
    with a_store("tempo-v2") as store:
        store.keep(*(a_trace(number) for number in range(30)))
        store.late = {(f"{0xABCD0000 << 96 | n + 1:032x}", f"{1:016x}"): 0.1 * n for n in range(30)}
        fetched, _ = brought(store, tmp_path, patience=Patience(5.0, 0.0, 0.01, 1.0))

    (warning,) = warnings_of(fetched, "MLHARNESS_SPAN_DEADLINE")
    assert warning.code == "late_spans"
    assert "OTEL_BSP_SCHEDULE_DELAY" in warning.hint
    assert "MLHARNESS_SPAN_DEADLINE" in warning.hint


def test_nothing_asked_is_nothing_done(tmp_path: Path) -> None:
    fetched = fetch(SpanSpec(source="jaeger", address="http://127.0.0.1:1"), [], None, tmp_path / "x.arrows",
                    Interrupt(), lambda event: None)  # fmt: skip

    assert fetched == Fetched("jaeger", 0)


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    with a_store("tempo-v2") as store:
        spec = SpanSpec(source="tempo", address=store.url)
        out = tmp_path / "missing" / "x.arrows"
        fetched = fetch(spec, ["a" * 32], (T0, T0), out, Interrupt(), lambda event: None, SHORT)

    assert "cannot be stored" in (fetched.error or "")
