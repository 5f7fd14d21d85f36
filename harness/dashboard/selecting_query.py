"""The address of a page <-> a selection: what is in one can be sent to somebody else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from harness.analysis.selection import ALL, OUTCOMES, Selection
from harness.errors import UsageError, nearest
from harness.model import STAGES, Phase
from harness.units import quoted

PHASES: Mapping[str, str] = {
    Phase.MEASURE.value: "measured phase", Phase.WARMUP.value: "warm-up", Phase.DRAIN.value: "drain", ALL: "all phases",
}  # fmt: skip
SORTED_BY = ("latency", "time", "transfer", *STAGES)
DESCENDING, ASCENDING = "desc", "asc"
_MOST_NAMES, _LONGEST = 50, 300
_LARGEST = 1e9
_KNOWN = (
    "from", "until", "least_ms", "most_ms", "stage", "stage_ms", "stage_share", "name", "outcome", "error", "phase",
    "step", "sort", "order", "page",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """Which page of the selected requests is shown, in which order. `page` counts from 1."""

    sort: str = "latency"
    order: str = DESCENDING
    page: int = 1


def parse(query: QueryParams) -> tuple[Selection, View]:
    """What an address asks for; an empty value is none. Raises UsageError with what is wrong."""
    asked = {name: value for name, value in query.items() if value.strip()}
    unknown = next((name for name in asked if name not in _KNOWN), None)
    if unknown is not None:
        raise UsageError(f"{quoted(unknown)} is nothing one can select by", nearest(unknown[:40], _KNOWN))
    stage = _one_of(asked, "stage", ("transfer", *STAGES))
    stage_s, stage_share = _scaled(_number(asked, "stage_ms"), 1000.0), _scaled(_number(asked, "stage_share"), 100.0)
    if stage is None and (stage_s is not None or stage_share is not None):
        raise UsageError("there is a limit on a stage, but no stage", "add stage=, e.g. stage=inference")
    phase = _one_of(asked, "phase", tuple(PHASES)) or Phase.MEASURE.value
    step = _whole(asked, "step")
    found = Selection(
        from_s=_number(asked, "from"),
        until_s=_number(asked, "until"),
        least_s=_scaled(_number(asked, "least_ms"), 1000.0),
        most_s=_scaled(_number(asked, "most_ms"), 1000.0),
        stage=stage,
        stage_least_s=stage_s,
        stage_least_share=stage_share,
        names=_names(query),
        outcome=_one_of(asked, "outcome", OUTCOMES) or ALL,
        error=_text(asked["error"]) if "error" in asked else None,
        phase=None if phase == ALL else phase,
        step=None if step is None else step - 1,
    )
    _check_limits(found)
    sort = _one_of(asked, "sort", SORTED_BY) or "latency"
    order = _one_of(asked, "order", (ASCENDING, DESCENDING)) or (ASCENDING if sort == "time" else DESCENDING)
    return found, View(sort, order, _whole(asked, "page") or 1)


def written(selection: Selection, view: View = View()) -> str:
    """The query of an address that asks for this, without what goes without saying."""
    pairs: list[tuple[str, str]] = []
    for name, value, factor in (
        ("from", selection.from_s, 1.0),
        ("until", selection.until_s, 1.0),
        ("least_ms", selection.least_s, 1000.0),
        ("most_ms", selection.most_s, 1000.0),
        ("stage_ms", selection.stage_least_s, 1000.0),
        ("stage_share", selection.stage_least_share, 100.0),
    ):
        if value is not None:
            pairs.append((name, f"{value * factor:.12g}"))
    pairs += [("name", name) for name in selection.names]
    phase = ALL if selection.phase is None else selection.phase
    words = (
        ("stage", selection.stage, None),
        ("outcome", selection.outcome, ALL),
        ("error", selection.error, None),
        ("phase", phase, Phase.MEASURE.value),
        ("step", None if selection.step is None else str(selection.step + 1), None),
        ("sort", view.sort, "latency"),
        ("order", view.order, ASCENDING if view.sort == "time" else DESCENDING),
        ("page", str(view.page), "1"),
    )
    pairs += [(name, value) for name, value, usual in words if value is not None and value != usual]
    return urlencode(pairs)


def _check_limits(selection: Selection) -> None:
    for low, high, words in (
        (selection.from_s, selection.until_s, ("from", "until")),
        (selection.least_s, selection.most_s, ("least_ms", "most_ms")),
    ):
        if low is not None and high is not None and low > high:
            raise UsageError(f"'{words[0]}' is larger than '{words[1]}'", "exchange the two")


def _number(asked: Mapping[str, str], name: str) -> float | None:
    if name not in asked:
        return None
    text = asked[name].strip()
    try:
        value = float(text) if len(text) <= 40 else math.nan
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= _LARGEST:
        raise UsageError(f"'{name}' is {quoted(text, 40)}, which is no number from 0 on", f"write e.g. {name}=12.5")
    return value


def _scaled(value: float | None, divisor: float) -> float | None:
    return None if value is None else round(value / divisor, 12)  # the number that the text means, not its neighbour


def _whole(asked: Mapping[str, str], name: str) -> int | None:
    if name not in asked:
        return None
    text = asked[name].strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) >= 1):
        raise UsageError(f"'{name}' is {quoted(text, 40)}, which is no whole number from 1 on", f"write e.g. {name}=2")
    return int(text)


def _one_of(asked: Mapping[str, str], name: str, valid: tuple[str, ...]) -> str | None:
    value = asked.get(name)
    if value is not None and value not in valid:
        raise UsageError(f"'{name}' cannot be {quoted(value, 40)}", nearest(value[:40], valid))
    return value


def _names(query: QueryParams) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_text(name) for name in query.getlist("name") if name))
    if len(names) > _MOST_NAMES:
        raise UsageError(f"{len(names):,} names are too many", f"select at most {_MOST_NAMES}")
    return names


def _text(text: str) -> str:
    if len(text) > _LONGEST:
        raise UsageError(f"{quoted(text, 40)} is too long", "long names are written as the page shows them in its list")
    return text
