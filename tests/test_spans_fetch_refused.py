"""What goes wrong with a trace store costs a warning with a hint, never the run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.interrupt import Interrupt
from harness.model import SpanSpec
from harness.spans import asking
from harness.spans.asking import LIMIT_BYTES
from harness.spans.fetch import Fetched, Patience, fetch, warnings_of
from tests.fetch_support import SHORT, brought
from tests.trace_shapes import T0, a_trace
from tests.trace_store import a_store


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
