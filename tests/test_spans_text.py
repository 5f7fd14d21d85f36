"""What `harness check --spans` shows of single requests."""

from __future__ import annotations

from pathlib import Path

from harness.model import Sample, Span
from harness.report import spans_text
from tests.builders import a_root, a_sample, a_span
from tests.test_conclude import concluded


def shown(tmp_path: Path, samples: list[Sample], spans: list[Span]) -> str:
    found = concluded(tmp_path, samples, spans)
    return spans_text.render(found.rows, found.spans, found.summary)


def test_a_request_is_shown_with_its_stages_its_spans_and_the_models(tmp_path: Path) -> None:
    attributes = {"harness.stage": "inference", "harness.model": "det"}

    text = shown(tmp_path, [a_sample()], [a_root(), a_span("run", 20, 80, attributes=attributes)])

    assert "inference 60.0 ms" in text
    assert "run" in text
    assert "inference (det)" in text


def test_a_service_that_says_nothing_is_not_said_to_have_said_something(tmp_path: Path) -> None:
    text = shown(tmp_path, [a_sample()], [])

    assert "the service sent no spans and no Server-Timing" in text


def test_requests_that_fail_are_named_with_what_went_wrong(tmp_path: Path) -> None:
    text = shown(tmp_path, [a_sample(0), a_sample(1, name="upload", status=422, failed_checks="status")], [])

    assert "upload: 1 of 1 failed" in text
    assert "status 422 (1)" in text


def test_spans_that_no_rule_claims_are_listed(tmp_path: Path) -> None:
    text = shown(tmp_path, [a_sample()], [a_root(), a_span("mystery", 20, 80)])

    assert "claimed by no stage: mystery (1)" in text
