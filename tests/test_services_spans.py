"""Where a started service is told to send its spans."""

from __future__ import annotations

import os

import pytest

from harness.model import SpanSpec
from harness.services import Start, span_port

SENT = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL")


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def told(command: str, spec: SpanSpec) -> tuple[bool, dict[str, str]]:
    """Whether a port was opened, and what the service is told."""
    with span_port(Start(command), spec) as (listener, env):
        assert listener is None or str(listener.getsockname()[1]) in env[SENT[0]]
        return listener is not None, dict(env)


def test_a_service_is_told_a_free_port_and_what_it_speaks() -> None:
    opened, env = told("./serve {port}", SpanSpec())

    assert opened
    assert env[SENT[2]] == "http/protobuf"
    assert not env[SENT[0]].endswith(":4318")


@pytest.mark.parametrize("name", SENT[:2])
def test_a_service_that_was_told_another_place_keeps_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(f"{name}=http://collector:4318 ./serve {{port}}", SpanSpec()) == (False, {})
    monkeypatch.setenv(name, "http://collector:4318")
    assert told("./serve {port}", SpanSpec()) == (False, {})


def test_a_protocol_that_was_chosen_is_kept() -> None:
    _, env = told(f"{SENT[2]}=http/json ./serve {{port}}", SpanSpec())

    assert list(env) == [SENT[0]]


def test_where_only_grpc_is_heard_the_service_is_told_that() -> None:
    spec = SpanSpec(listen=None, listen_grpc="127.0.0.1:4317")

    assert told("./serve {port}", spec) == (False, {SENT[0]: "http://127.0.0.1:4317", SENT[2]: "grpc"})


def test_where_no_span_is_wanted_nothing_is_opened() -> None:
    assert told("./serve {port}", SpanSpec(source="none")) == (False, {})
