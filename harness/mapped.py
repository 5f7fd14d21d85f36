"""The spans of a run folder with their stages filled, read part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from harness.model import RunWarning, Span, SpanSpec
from harness.run_folder import RunFolder
from harness.spans import recognised
from harness.spans.mapping import stages_of
from harness.spans.presets import recognise

_LOOKED_AT = 1 << 16  # spans at the beginning of a run


def mapped_spans(folder: RunFolder, spec: SpanSpec) -> Iterator[pa.Table]:
    """The spans of a run with their stages, half a million rows at a time. `spec` as `with_preset` gives it."""
    return (stages_of(part, spec) for part in folder.parts("spans", Span))


def with_preset(folder: RunFolder, spec: SpanSpec) -> SpanSpec:
    """`spec` with the preset its first spans look like, where nobody says which stage a span is: neither the scenario
    nor the spans themselves."""
    if spec.preset is not None or spec.stages:
        return spec
    first = next(folder.parts("spans", Span, _LOOKED_AT), None)
    if first is None or pc.any(pc.is_valid(stages_of(first, spec).column("stage"))).as_py():
        return spec
    return replace(spec, preset=recognise(first))


def preset_warnings(folder: RunFolder, asked: SpanSpec, taken: SpanSpec) -> list[RunWarning]:
    """What must be said of a preset in `taken` that `asked` did not name; nothing when there is none."""
    if taken.preset is None or taken.preset == asked.preset:
        return []
    first = next(folder.parts("spans", Span, _LOOKED_AT), None)
    if first is None:
        return []
    return [recognised.warning(stages_of(first, taken), taken.preset)]
