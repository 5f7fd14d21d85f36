"""What a run says of itself in its lines of progress, as figures and words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import RunFolderError
from harness.findings import HealthState
from harness.following.figures import Figures
from harness.following.lines import ENDED
from harness.run_folder import RunFolder
from harness.units import format_duration, format_share

_COUNTS = ("ok", "failed", "censored")
_LONGEST = 200


def number(value: object) -> float | None:
    """A finite number; None for anything else."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
    return float(value) if usable and isinstance(value, int | float) else None


def whole(value: object) -> int | None:
    """A number that counts; None for anything else."""
    found = number(value)
    return None if found is None or found < 0 else int(found)


def counts_of(said: Mapping[str, Any], figures: Figures, ended: RunFolder | None) -> tuple[int, int, int]:
    """Requests that were ok, failed, censored: as the load process counts them, else as they were read."""
    said = _load_of(ended) if ended is not None else said
    found = tuple(whole(said.get(name)) for name in _COUNTS)
    own = (figures.ok, figures.failed, figures.censored)
    ok, failed, censored = (mine if told is None else told for told, mine in zip(found, own, strict=True))
    return ok, failed, censored


def status_of(folder: RunFolder) -> str:
    """How a run ended that did not say so itself: one that is not marked as ended was killed."""
    status = _record(folder).get("status")
    return status if status in ENDED else "broken"


def doubts_of(said: Mapping[str, Any]) -> tuple[HealthState | None, tuple[str, ...]]:
    """The worst state of the load process by its own readings, and those beyond a limit in words."""
    doubts = said.get("doubts")
    if not isinstance(doubts, list):
        return None, ()
    usable = [each for each in doubts if isinstance(each, dict) and number(each.get("value")) is not None]
    bad = any(each.get("state") == HealthState.INVALID.value for each in usable)
    state = HealthState.INVALID if bad else HealthState.SUSPECT if usable else HealthState.HEALTHY
    return state, tuple(_words(each) for each in usable)


def _words(doubt: Mapping[str, Any]) -> str:
    unit = str(doubt.get("unit", ""))
    value, limit = _shown(doubt.get("value"), unit), _shown(doubt.get("limit"), unit)
    words = f"{doubt.get('name')} is {value}, beyond {limit} ({doubt.get('meaning')})"
    advice = doubt.get("advice")
    return f"{words[: 2 * _LONGEST]}: {str(advice)[:_LONGEST]}" if advice else words[: 2 * _LONGEST]


def _shown(value: object, unit: str) -> str:
    found = number(value)
    if found is None:
        return "its limit"
    if unit == "s":
        return format_duration(found, trim=True)
    return format_share(found) if unit == "ratio" else f"{found:.4g} {unit}".rstrip()


def _load_of(folder: RunFolder) -> Mapping[str, Any]:
    load = _record(folder).get("load")
    return load if isinstance(load, Mapping) else {}


def _record(folder: RunFolder) -> Mapping[str, Any]:
    try:
        record = folder.read_json("run.json")
    except RunFolderError:
        return {}
    return record if isinstance(record, Mapping) else {}
