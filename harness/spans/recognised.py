"""A preset that nobody asked for: what its stages stand for must be said, since it is a guess about the service."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.model import RunWarning
from harness.spans.presets import BY_NAME
from harness.spans.presets.derive import parents
from harness.units import quoted

CODE = "preset_recognised"
SHOWN_NAMES = 6


def warning(spans: pa.Table, name: str) -> RunWarning:
    """The warning for the recognised preset `name`. `spans` are some of the run's, with their stages filled."""
    preset = BY_NAME[name]
    message = (
        f"the spans look like those of {name}, so its preset says which stage they are: it tells {preset.tells}; it "
        f"cannot tell more: {preset.silent}"
    )
    below = unclaimed_below(spans, name)
    if not below:
        hint = f"keep it with `spans: {{preset: {name}}}`, and name the spans of your own code in `stages:`"
        return RunWarning(CODE, message, hint)
    shown = ", ".join(quoted(each) for each in below[:SHOWN_NAMES])
    more = f" and {len(below) - SHOWN_NAMES:,} more" if len(below) > SHOWN_NAMES else ""
    return RunWarning(
        CODE,
        f"{message}; below it stand {shown}{more}, which no stage claims",
        f"name them in `stages:` beside `preset: {name}`; `harness check SCENARIO --spans` writes the block",
    )


def unclaimed_below(spans: pa.Table, name: str) -> list[str]:
    """The names of spans without a stage right below one around all of the user's code, the most frequent first."""
    patterns = [pattern for _, each in BY_NAME[name].holders for pattern in each]
    free = np.flatnonzero(pc.is_null(spans.column("stage")).to_numpy())
    if not patterns or not len(free):
        return []
    above = parents(spans, free, np.arange(spans.num_rows))
    free, above = free[above >= 0], above[above >= 0]
    mothers = spans.column("name").take(pa.array(above)).to_pylist()
    held = np.array([any(fnmatchcase(mother, p) for p in patterns) for mother in mothers], dtype=np.bool_)
    names = spans.column("name").take(pa.array(free[held])) if len(free) else pa.chunked_array([], pa.string())
    counted = pc.value_counts(names).to_pylist()
    return [each["values"] for each in sorted(counted, key=lambda each: (-each["counts"], each["values"]))]
