"""A trace store is looked at before the load: unreachable is an error, odd is a warning, anything else is silent."""

from __future__ import annotations

import socket

import pytest

from harness.errors import UsageError
from harness.model import SpanSpec
from harness.spans.probe import probe
from tests.trace_store import PAGE, a_store


def spec_of(shape: str, url: str) -> SpanSpec:
    return SpanSpec(source=shape.partition("-")[0], address=url)


@pytest.mark.parametrize("shape", ["jaeger-v3", "jaeger-legacy", "tempo-v2", "tempo-v1"])
def test_a_store_that_has_no_such_trace_is_in_order(shape: str) -> None:
    with a_store(shape) as store:
        assert probe(spec_of(shape, store.url), {}) == []


@pytest.mark.parametrize("source", ["auto", "otlp", "server-timing", "none"])
def test_nobody_is_asked_for_other_sources(source: str) -> None:
    assert probe(SpanSpec(source=source), {}) == []


def test_a_store_that_is_down_stops_the_run_before_it_begins() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(UsageError, match=f"http://127.0.0.1:{port} does not answer: .*refused") as caught:
        probe(spec_of("jaeger", f"http://127.0.0.1:{port}"), {})

    assert "Nothing was sent to the target" in str(caught.value.hint)


def test_a_store_that_wants_a_token_is_told_before_the_load() -> None:
    with a_store("tempo-v2") as store:
        store.token = "open sesame"  # noqa: S105 - of the test store
        with pytest.raises(UsageError, match="refuses to answer"):
            probe(spec_of("tempo", store.url), {})
        assert probe(spec_of("tempo", store.url), {"MLHARNESS_TRACE_STORE_TOKEN": "open sesame"}) == []


@pytest.mark.parametrize(
    ("reply", "said"), [(PAGE, "answers with a web page"), ((503, "text/plain", b"no"), "answers 503")]
)
def test_what_answers_oddly_is_a_warning(reply: tuple[int, str, bytes], said: str) -> None:
    with a_store("jaeger-v3") as store:
        store.first = [reply, reply]
        (warning,) = probe(spec_of("jaeger", store.url), {})

    assert said in warning.message
    assert "may be no Jaeger" in warning.message
