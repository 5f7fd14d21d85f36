"""Which stage a span stands for: said by the span itself, else by the scenario's rules.

A rule is a glob over span names, `attr:KEY` (the attribute is there) or `attr:KEY=GLOB` (its value matches).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.model import SERVER_STAGES

STAGE_ATTRIBUTE = "harness.stage"

Rules: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
_Wanted: TypeAlias = dict[str, object]  # the attributes the rules ask for, of one span

_CLAIMS = ("upload", *SERVER_STAGES, "download")  # what a span may say about itself
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.\-/]+")


def map_stages(spans: pa.Table, rules: Rules) -> pa.Table:
    """`spans` with its `stage` column filled: attribute `harness.stage`, else the first rule that fits, else null.

    The root of a service (kind server) holds every stage of its request, so that a glob or an attribute must not make
    it one of them: only a rule that is exactly its name does.
    """
    if spans.num_rows == 0:
        return spans
    stages, code = [None, *_CLAIMS], {}
    for stage, _ in rules:
        if stage not in stages:
            stages.append(stage)
    code = {stage: number for number, stage in enumerate(stages)}
    chosen, which = _combinations(spans, rules)
    codes = np.array([code[_stage_of(each, rules)] for each in chosen], dtype=np.int64)[which]
    column = pc.take(pa.array(stages, pa.string()), pa.array(codes))
    return spans.set_column(spans.schema.get_field_index("stage"), spans.schema.field("stage"), column)


def unclaimed(spans: pa.Table) -> list[tuple[str, int]]:
    """(name, count) of mapped spans that stand for no stage, most frequent first; roots are not meant to."""
    names, stages, kinds = (spans.column(column).to_pylist() for column in ("name", "stage", "kind"))
    counts = Counter(
        n for n, stage, kind in zip(names, stages, kinds, strict=True) if stage is None and kind != "server"
    )
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


@dataclass(frozen=True, slots=True)
class _Look:
    """All that the choice of a stage depends on."""

    name: str
    is_root: bool
    wanted: _Wanted


def _stage_of(look: _Look, rules: Rules) -> str | None:
    said = look.wanted.get(STAGE_ATTRIBUTE)
    if isinstance(said, str) and said in _CLAIMS:
        return said
    return next((stage for stage, patterns in rules if any(_fits(pattern, look) for pattern in patterns)), None)


def _fits(pattern: str, look: _Look) -> bool:
    if look.is_root or not pattern.startswith("attr:"):
        return pattern == look.name or (not look.is_root and fnmatchcase(look.name, pattern))
    key, has_glob, glob = pattern.removeprefix("attr:").partition("=")
    return key in look.wanted and (not has_glob or fnmatchcase(_as_text(look.wanted[key]), glob))


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _combinations(spans: pa.Table, rules: Rules) -> tuple[list[_Look], npt.NDArray[np.int64]]:
    """The different looks in the table, and for each span which one is its own: a million spans have a few dozen."""
    names, name_of = _encoded(spans.column("name"))
    wanted, wanted_of = _wanted_attributes(spans.column("attributes"), rules)
    is_root = pc.equal(spans.column("kind"), "server").to_numpy().astype(np.int64)
    mixed, which = np.unique((name_of * 2 + is_root) * len(wanted) + wanted_of, return_inverse=True)
    looks = []
    for each in mixed.tolist():
        rest, attributes = divmod(each, len(wanted))
        looks.append(_Look(names[rest // 2], bool(rest % 2), wanted[attributes]))
    return looks, which


def _wanted_attributes(column: pa.ChunkedArray, rules: Rules) -> tuple[list[_Wanted], npt.NDArray[np.int64]]:
    """The attributes the rules ask for: the different sets of them, and which one each span has."""
    keys = {STAGE_ATTRIBUTE} | {
        pattern.removeprefix("attr:").partition("=")[0]
        for _, patterns in rules
        for pattern in patterns
        if pattern.startswith("attr:")
    }
    texts, text_of = _encoded(column)
    sets: list[_Wanted] = [{}]
    seen = {repr(sets[0]): 0}
    set_of = np.zeros(len(texts), dtype=np.int64)
    # Looking for the key in the text first spares most of the parsing.
    maybe = re.compile(
        "|".join(f'"{re.escape(k)}"' for k in sorted(keys)) if all(map(_PLAIN_KEY.fullmatch, keys)) else ""
    )
    for number, text in enumerate(texts):
        if text is None or not maybe.search(text):
            continue
        attributes = _attributes(text)
        wanted = {key: attributes[key] for key in keys if key in attributes}
        fingerprint = repr(wanted)
        if fingerprint not in seen:
            seen[fingerprint] = len(sets)
            sets.append(wanted)
        set_of[number] = seen[fingerprint]
    return sets, set_of[text_of]


def _attributes(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _encoded(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The different values of a column (null among them) and the number of each row's value."""
    encoded = pc.dictionary_encode(column, null_encoding="encode").combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
