"""A preset that is taken because the spans look like it: the run says so, and what it leaves open."""

from __future__ import annotations

from pathlib import Path

from harness.mapped import preset_warnings, with_preset
from harness.model import Span, SpanSpec
from harness.run_folder import RunFolder
from tests.builders import a_root, a_span, spans_table


def warned(folder: Path, *below: Span, asked: SpanSpec | None = None) -> list[tuple[str, str, str]]:
    asked = asked or SpanSpec()
    endpoint = a_span("fastapi.endpoint", 15, 85, span_id="e" * 16)
    stored = RunFolder(folder)
    stored.write_table("spans", spans_table(a_root(attributes=None), endpoint, *below))
    found = preset_warnings(stored, asked, with_preset(stored, asked))
    return [(warning.code, warning.message, warning.hint) for warning in found]


def inside(name: str, number: int) -> Span:
    return a_span(name, 20 + number, 21 + number, parent_id="e" * 16, span_id=f"{number:016x}")


def test_a_preset_that_nobody_asked_for_is_told_with_what_it_cannot_say(tmp_path: Path) -> None:
    ((code, message, hint),) = warned(tmp_path)

    assert code == "preset_recognised"
    assert "the spans look like those of fastapi" in message
    assert "cannot tell more: the endpoint is all of your code, decoding and formatting included" in message
    assert "`spans: {preset: fastapi}`" in hint


def test_spans_below_the_endpoint_that_nobody_claims_are_named(tmp_path: Path) -> None:
    ((_, message, hint),) = warned(tmp_path, inside("model", 1), inside("resize", 2), inside("model", 3))

    assert message.endswith("below it stand 'model', 'resize', which no stage claims")
    assert "beside `preset: fastapi`" in hint


def test_a_preset_that_was_asked_for_is_no_news(tmp_path: Path) -> None:
    assert warned(tmp_path, asked=SpanSpec(preset="fastapi")) == []
    assert warned(tmp_path, asked=SpanSpec(stages=(("inference", ("model",)),))) == []
