"""An environment that OpenTelemetry does not understand must not keep a service from starting."""

from __future__ import annotations

import json

import pytest
from instrument_support import TESTS, a_sink
from test_instrument_export import PREAMBLE, an_application, python


@pytest.mark.parametrize("variable", ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"])
def test_a_limit_that_is_not_a_number_costs_the_spans_and_not_the_service(variable: str) -> None:
    code = f"""
print(json.dumps([call().status, os.environ["{variable}"]]), flush=True)
"""
    with a_sink() as sink:
        first = "import harness.instrument\n" + PREAMBLE.format(tests=str(TESTS))
        printed = python(first + code, **{variable: "abc", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url})

    assert json.loads(printed) == [200, "abc"]
    assert sink.spans == []


def test_a_pause_between_exports_of_centuries_is_cut() -> None:
    code = """
call()
from harness.instrument import pipeline
assert pipeline._outbox._delay_s == 3600, pipeline._outbox._delay_s
pipeline.start_flush().join()
print(json.dumps(pipeline.counts().exported))
"""
    with a_sink() as sink:
        exported = json.loads(
            an_application(code, OTEL_BSP_SCHEDULE_DELAY="10000000000000", OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
        )

    assert exported == len(sink.spans) >= 2


def test_a_limit_of_values_is_obeyed() -> None:
    code = """
from harness.instrument import encode, pipeline
pipeline.provider()
print(encode._longest_value, flush=True)
os._exit(0)
"""
    general, of_spans = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}

    assert an_application(code, **endpoint, **{general: "100", of_spans: "50"}) == "50\n"
    assert an_application(code, **endpoint, **{general: "1000000"}) == "4096\n"
