"""Which stage a span stands for: said by the span itself, else by the scenario's rules, else by its preset.

A rule is a glob over span names, `attr:KEY` (the attribute is there) or `attr:KEY=GLOB` (its value matches).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.model import CLAIMS, SpanSpec
from harness.spans.looks import Attributes, as_text, attributes_of, encoded, wanted_attributes
from harness.spans.presets import BY_NAME, Preset
from harness.spans.presets import recognise as recognise
from harness.spans.presets.derive import MARK as DERIVED
from harness.spans.presets.derive import containing, raw
from harness.spans.presets.holders import with_holders
from harness.spans.presets.preset import Rules as Rules

STAGE_ATTRIBUTE = "harness.stage"
MARKS = '"harness.split":"marks"'
"""Stands in the attributes of a root that our instrumentation made."""


def stages_of(spans: pa.Table, spec: SpanSpec) -> pa.Table:
    """`spans` with their `stage` filled as the scenario asks, and behind them those its preset derives.

    What stands in `stage` already is kept. Requests that our instrumentation marked are left to it: the telemetry of
    their server stands beside it and would count the same time again.

    May be called on a run's spans part by part: a derived span needs at most the parent or child of the span it comes
    from in the same part, and goes missing (into `other`) where a part ends between the two.
    """
    if spec.preset is None:
        return map_stages(spans, spec.stages)
    spans = map_stages(raw(spans), spec.stages)
    marks = containing(spans, MARKS)
    if not marks.any():
        return _with_preset(spans, BY_NAME[spec.preset])
    marked = pc.is_in(spans.column("trace_id"), value_set=spans.column("trace_id").filter(pa.array(marks)).unique())
    others = _with_preset(spans.filter(pc.invert(marked)), BY_NAME[spec.preset])
    return pa.concat_tables([spans.filter(marked), others])


def _with_preset(spans: pa.Table, preset: Preset) -> pa.Table:
    if preset.derive is not None and spans.num_rows:
        spans = preset.derive(spans)
    return with_holders(map_stages(spans, preset.rules, servers=True), preset.holders)


def map_stages(spans: pa.Table, rules: Rules, servers: bool = False) -> pa.Table:
    """`spans` with the empty places of `stage` filled: attribute `harness.stage`, else the first rule that fits.

    The root of a service (kind server) holds every stage of its request, so that a glob or an attribute must not make
    it one of them: only a rule that is exactly its name does, unless `servers` may be claimed like others.
    """
    stages = spans.column("stage")
    known = pc.is_in(stages, value_set=pa.array(CLAIMS))
    if pc.all(known, min_count=0).as_py():
        return spans
    rows = np.flatnonzero(~known.to_numpy())
    found = _chosen(spans.select(["name", "kind", "attributes"]).take(pa.array(rows)), rules, servers)
    empty = np.zeros(spans.num_rows, dtype=np.bool_)
    empty[rows] = True
    filled = pc.replace_with_mask(stages.combine_chunks(), pa.array(empty), found)
    return spans.set_column(spans.schema.get_field_index("stage"), spans.schema.field("stage"), filled)


def preset_taken(spans: pa.Table, spec: SpanSpec) -> str | None:
    """The preset behind the stages of mapped spans: the scenario's, or the one that was recognised for it."""
    if spec.preset is not None or spec.stages:
        return spec.preset
    said = pc.fill_null(pc.match_substring(spans.column("attributes"), f'"{STAGE_ATTRIBUTE}"'), False)
    mapped = spans.filter(pc.and_(pc.is_valid(spans.column("stage")), pc.invert(said)))
    return recognise(spans) if mapped.num_rows else None


def reasons(spans: pa.Table, spec: SpanSpec) -> list[str | None]:
    """Why each mapped span stands for its stage, in the words of the scenario; None for one that stands for none.

    For a few spans: those of `harness check`. A preset that was recognised is the one to put into `spec`.
    """
    return [_reason(row, spec) for row in spans.select(["name", "kind", "stage", "attributes"]).to_pylist()]


@dataclass(frozen=True, slots=True)
class _Look:
    """All that the choice of a stage depends on."""

    name: str
    is_root: bool
    wanted: Attributes


def _chosen(spans: pa.Table, rules: Rules, servers: bool) -> pa.Array:
    """The stage of each span, null where nothing claims it: a million spans have a few dozen looks."""
    names, name_of = encoded(spans.column("name"))
    wanted, wanted_of = wanted_attributes(spans.column("attributes"), _keys(rules))
    is_root = np.zeros(spans.num_rows, dtype=np.int64)
    if not servers:
        is_root = pc.equal(spans.column("kind"), "server").to_numpy().astype(np.int64)
    mixed, which = np.unique((name_of * 2 + is_root) * len(wanted) + wanted_of, return_inverse=True)
    stages = []
    for each in mixed.tolist():
        rest, attributes = divmod(each, len(wanted))
        stages.append(_stage_of(_Look(names[rest // 2], bool(rest % 2), wanted[attributes]), rules))
    return pa.array(stages, pa.string()).take(pa.array(which))


def _keys(rules: Rules) -> set[str]:
    patterns = (pattern for _, patterns in rules for pattern in patterns if pattern.startswith("attr:"))
    return {STAGE_ATTRIBUTE} | {pattern.removeprefix("attr:").partition("=")[0] for pattern in patterns}


def _stage_of(look: _Look, rules: Rules) -> str | None:
    said = look.wanted.get(STAGE_ATTRIBUTE)
    if isinstance(said, str) and said in CLAIMS:
        return said
    return next((stage for stage, _ in _fitting(look, rules)), None)


def _fitting(look: _Look, rules: Rules) -> Iterator[tuple[str, str]]:
    return ((stage, pattern) for stage, patterns in rules for pattern in patterns if _fits(pattern, look))


def _fits(pattern: str, look: _Look) -> bool:
    if look.is_root or not pattern.startswith("attr:"):
        return pattern == look.name or (not look.is_root and fnmatchcase(look.name, pattern))
    key, has_glob, glob = pattern.removeprefix("attr:").partition("=")
    return key in look.wanted and (not has_glob or fnmatchcase(as_text(look.wanted[key]), glob))


def _reason(row: dict[str, str | None], spec: SpanSpec) -> str | None:
    stage, attributes = row["stage"], attributes_of(row["attributes"])
    if stage is None:
        return None
    if attributes.get(DERIVED) is True:
        return f"preset {spec.preset}, derived" if spec.preset else "derived"
    if attributes.get(STAGE_ATTRIBUTE) == stage:
        return f"attribute {STAGE_ATTRIBUTE}"
    name, is_root = str(row["name"]), row["kind"] == "server"
    for why, rules, root in _asked(spec, is_root):
        fit = next((p for s, p in _fitting(_Look(name, root, attributes), rules) if s == stage), None)
        if fit is not None:
            return f"{why}: {fit}"
    return f"preset {spec.preset}" if spec.preset else "as recorded"


def _asked(spec: SpanSpec, is_root: bool) -> Iterator[tuple[str, Rules, bool]]:
    yield "stages", spec.stages, is_root
    if spec.preset is not None:
        preset = BY_NAME[spec.preset]
        yield f"preset {preset.name}", (*preset.rules, *preset.holders), False
