"""Spans around everything the user wrote: they stand for a stage only where nothing below them says more."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.spans.looks import encoded
from harness.spans.presets.derive import Rows, containing, parents, values
from harness.spans.presets.preset import Rules

_WORK = ("preprocess", "inference", "postprocess")
_FUNCTION = "code.function.name"


def with_holders(spans: pa.Table, holders: Rules) -> pa.Table:
    """The spans, with those that `holders` name claimed as far as they are free.

    Decided for all calls of a function (or for all spans of one name) together: one that sometimes calls a model with
    a span of its own would otherwise count as inference just when it does not.
    """
    stages = spans.column("stage")
    names, name_of = encoded(spans.column("name"))
    stage_of = [_stage(name, holders) for name in names]
    held = np.array([stage is not None for stage in stage_of], dtype=np.bool_)
    candidates = held[name_of] & pc.is_null(stages).to_numpy() if len(names) else np.zeros(0, np.bool_)
    rows = np.flatnonzero(candidates)
    if not len(rows):
        return spans
    working = pc.is_in(stages, value_set=pa.array(_WORK)).to_numpy()
    above = _above(spans, np.flatnonzero(working | candidates))
    group = _groups(spans, rows, name_of[rows])
    busy = np.zeros(int(group.max()) + 1, dtype=np.bool_)
    busy[group[above[rows]]] = True
    free = rows[~busy[group]]
    chosen = np.zeros(spans.num_rows, dtype=np.bool_)
    chosen[free] = True
    filled = pc.replace_with_mask(
        stages.combine_chunks(), pa.array(chosen), pa.array([stage_of[code] for code in name_of[free]], pa.string())
    )
    return spans.set_column(spans.schema.get_field_index("stage"), spans.schema.field("stage"), filled)


def _stage(name: str, holders: Rules) -> str | None:
    return next((stage for stage, patterns in holders if any(fnmatchcase(name, p) for p in patterns)), None)


def _groups(spans: pa.Table, rows: Rows, name_of: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Which spans are of one name and one function."""
    told = containing(spans, f'"{_FUNCTION}"')[rows]
    functions = np.full(len(rows), "", dtype=object)
    functions[told] = [str(each) for each in values(spans, rows[told], _FUNCTION)[0]]
    _, function_of = encoded(pa.chunked_array([pa.array(functions, pa.string())]))
    return name_of * (int(function_of.max()) + 1) + function_of


def _above(spans: pa.Table, rows: Rows) -> npt.NDArray[np.bool_]:
    """Which spans have one of `rows` somewhere below them."""
    mother = parents(spans, np.arange(spans.num_rows), np.arange(spans.num_rows))
    found = np.zeros(spans.num_rows, dtype=np.bool_)
    while len(rows):
        rows = np.unique(mother[rows])
        rows = rows[rows >= 0]
        rows = rows[~found[rows]]
        found[rows] = True
    return found
