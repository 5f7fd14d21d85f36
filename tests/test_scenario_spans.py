"""Where the spans of a run come from, as a scenario says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.model import Scenario, SpanSpec
from harness.scenario import Overrides
from tests.scenario_builders import GOOD, attempt, folder  # noqa: F401 - a fixture


def spans(section: str) -> SpanSpec:
    scenario = attempt(f"{GOOD}spans: {section}\n")
    assert isinstance(scenario, Scenario), scenario
    return scenario.spans


def refusal(section: str, overrides: Overrides | None = None) -> ScenarioError:
    error = attempt(f"{GOOD}spans: {section}\n", overrides)
    assert isinstance(error, ScenarioError), "was accepted"
    return error


@pytest.mark.parametrize("written", ["{source: {jaeger: http://h:16686/}}", '{source: "jaeger: http://h:16686"}'])
def test_a_trace_store_is_named_with_its_url_in_either_form(written: str) -> None:
    found = spans(written)

    assert (found.source, found.address) == ("jaeger", "http://h:16686")


def test_a_store_below_a_path_keeps_it() -> None:
    assert spans("{source: {tempo: https://h/tempo/}}").address == "https://h/tempo"


@pytest.mark.parametrize("written", ["{source: {file: payloads/a.jpg}}", '{source: "file: payloads/*.jpg"}'])
def test_a_file_is_found_beside_the_scenario(folder: Path, written: str) -> None:  # noqa: F811
    found = spans(written)

    assert found.source == "file"
    assert Path(found.address or "").parent == folder / "s" / "payloads"


def test_a_store_named_by_a_flag_is_read_the_same() -> None:
    scenario = attempt(GOOD, Overrides(source="tempo: http://h:3200"))

    assert isinstance(scenario, Scenario)
    assert (scenario.spans.source, scenario.spans.address) == ("tempo", "http://h:3200")


def test_a_source_without_an_address_has_none() -> None:
    assert spans("{source: otlp}").address is None


def test_grpc_listens_beside_http_when_it_is_asked_for() -> None:
    assert spans("{listen_grpc: 127.0.0.1:4317}") == SpanSpec(listen_grpc="127.0.0.1:4317")
    assert spans("{listen: 127.0.0.1:0, listen_grpc: 127.0.0.1:0}").listen == "127.0.0.1:0"
    assert spans("{listen: none, listen_grpc: none}") == SpanSpec(listen=None)


def test_a_preset_is_taken_by_its_name() -> None:
    assert spans("{preset: triton}").preset == "triton"


@pytest.mark.parametrize(
    ("section", "message", "hint"),
    [
        ("{source: jager}", "the source of spans cannot be 'jager'", "did you mean 'jaeger'?"),
        ("{source: {jager: http://h}}", "the source of spans cannot be 'jager'", "did you mean 'jaeger'?"),
        ("{source: jaeger}", "the source of spans 'jaeger' has no address", "jaeger: http://127.0.0.1:16686"),
        ('{source: "tempo:"}', "the source of spans 'tempo' has no address", "tempo: http://127.0.0.1:3200"),
        ("{source: {jaeger: ''}}", "jaeger in the source of spans has no value", "leave the key out"),
        ("{source: {otlp: http://h}}", "the source of spans 'otlp' takes no address", "source: otlp"),
        ("{source: {jaeger: http://h, tempo: http://h}}", "the source of spans has 2 names", "one of them"),
        ("{source: {}}", "the source of spans has no names", "auto, otlp"),
        ("{source: [jaeger]}", "the source of spans should be a single value", "one value"),
        ("{source: {jaeger: h:16686}}", "'h:16686' is not the URL of a trace store", "http://127.0.0.1:16686"),
        ("{source: {tempo: 'grpc://h'}}", "'grpc://h' is not the URL of a trace store", "http://127.0.0.1:3200"),
        ("{source: {jaeger: 'http://h/?a=b'}}", "the URL of a trace store has no query", "write http://h/"),
        ("{source: {jaeger: 'http://'}}", "names no host", "http://"),
        ("{source: {file: none.json}}", "s/none.json'", "start what writes it first"),
        ("{source: {file: payloads}}", "s/payloads'", "start what writes it first"),
        ("{preset: tritn}", "the preset of spans cannot be 'tritn'", "did you mean 'triton'?"),
        ("{listen_grpc: here}", "listen_grpc in spans: 'here' is not an address to listen on", "127.0.0.1"),
        ("{listen_grpc: 127.0.0.1:4318}", "listen and listen_grpc in spans are the same address", "4317"),
        ("{listn_grpc: 127.0.0.1:0}", "unknown key 'listn_grpc' in spans", "did you mean 'listen_grpc'?"),
    ],
)
def test_a_source_that_cannot_be_asked_is_refused_where_it_stands(section: str, message: str, hint: str) -> None:
    error = refusal(section)

    assert str(error).startswith("s/x.yaml:11: ")
    assert message in str(error)
    assert hint in (error.hint or "")


def test_a_password_in_the_url_of_a_store_is_refused_and_not_quoted_back() -> None:
    error = refusal("{source: {jaeger: 'http://me:hunter2@h:16686'}}")

    assert "user name or password" in str(error)
    assert "hunter2" not in f"{error}{error.hint}"
    assert "MLHARNESS_TRACE_STORE_TOKEN" in (error.hint or "")


def test_a_refused_flag_is_named_as_one() -> None:
    assert str(refusal("{}", Overrides(source="tempo"))).startswith("--source: ")
