"""What several load processes say, as if one had said it. Counts add up; of percentiles the worst one stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]

_LARGEST = {"elapsed_s", "total_s", "step"}
_ADDED = {"rate_per_s"}
_EARLIEST = {"started_ns", "measured_from_ns"}


def merged_progress(lines: Sequence[Line]) -> dict[str, Any]:
    """One progress line of the newest of each worker: counts summed, p50 and p95 those of the worst worker."""
    return _merged(lines, max(lines, key=lambda line: line["elapsed_s"]))


def merged_end(lines: Mapping[str, Line]) -> dict[str, Any]:
    """One end line from those of the workers, by name: readings are kept, each with its worker."""
    readings = [{**reading, "worker": name} for name, line in lines.items() for reading in line.get("readings", ())]
    bare = [{k: v for k, v in line.items() if k != "readings"} for line in lines.values()]
    return {**_merged(bare, bare[0]), "readings": readings}


def _merged(lines: Sequence[Line], first: Line) -> dict[str, Any]:
    names = list(dict.fromkeys(name for line in (first, *lines) for name in line))
    return {name: _one(name, first, [line[name] for line in lines if line.get(name) is not None]) for name in names}


def _one(name: str, first: Line, values: Sequence[Any]) -> Any:
    """The merged value of one field, by its name where that decides, otherwise by its kind."""
    if not values:
        return None
    if name == "doubts":
        return _worst(doubt for doubts in values for doubt in doubts)
    if name in _EARLIEST:
        return min(values)
    if all(isinstance(value, bool) for value in values):
        return any(values)
    if all(isinstance(value, int | float) for value in values):
        largest = name in _LARGEST or name.endswith("_ns")
        added = name in _ADDED or all(isinstance(value, int) for value in values)
        return sum(values) if added and not largest else max(values)
    if all(isinstance(value, Mapping) for value in values):
        return _summed(values)
    if all(isinstance(value, list) for value in values):
        return [item for value in values for item in value]
    return first.get(name, values[0])


def _worst(doubts: Iterable[Line]) -> list[Line]:
    """Of each reading the worst one: a worker that lags is not healed by three that do not."""
    found: dict[str, Line] = {}
    for doubt in sorted(doubts, key=lambda doubt: (doubt["state"] == "invalid", doubt["value"])):
        found[doubt["name"]] = doubt
    return list(found.values())


def _summed(counts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts by name, the most frequent first; what is no count is taken from the first that has it."""
    total: Counter[str] = Counter()
    others: dict[str, Any] = {}
    for count in counts:
        for name, value in count.items():
            if isinstance(value, int) and not isinstance(value, bool):
                total[name] += value
            else:
                others.setdefault(name, value)
    return {**dict(total.most_common()), **others}
