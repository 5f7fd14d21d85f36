"""Answers of a replay, as text and as JSON: `harness whatif`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from harness.analysis.statistics.quantiles import needed
from harness.diagnosis import Level, WhatIfFindings
from harness.report.text import visible
from harness.units import format_count, format_duration, format_rate

ASSUMES = "arrivals, transfer and all other work stay as recorded; requests are served in the order in which they came"

OF_THESE = "the figures are of these, another run varies"


def render(answers: Sequence[WhatIfFindings], run: str, warnings: Sequence[str] = ()) -> str:
    """The sentence, the table when there are several answers, what both stand on, and the doubts."""
    first = answers[0]
    if first.now is None:
        return f"no answer: {first.refusal}"
    lines = [f"what-if, {visible(run)}", "", *_table(answers), "", sentence(first), ""]
    lines += [
        _line("calibration", calibration(first)),
        _line("requests", f"n = {format_count(first.n)} (measured, ok, with server half); {OF_THESE}"),
        _line("assumes", ASSUMES),
    ]
    if first.then is not None and first.then.p99_s is None:
        lines.append(_line("p99", _refused_p99(first.n)))
    lines += [_line("no answer", f"{a.change}: {visible(a.refusal)}") for a in answers[1:] if a.refusal is not None]
    lines += [_line("warning", text) for text in warnings]
    return "\n".join(line.rstrip() for line in lines)


def sentence(found: WhatIfFindings) -> str:
    """One answer in words, with its figures."""
    if found.now is None or found.then is None:
        return f"{found.change}: no answer, {visible(found.refusal or 'nothing is known')}."
    parts = [f"p50 {_change(found.now.p50_s, found.then.p50_s)}"]
    if found.now.p99_s is not None and found.then.p99_s is not None:
        parts.append(f"p99 {_change(found.now.p99_s, found.then.p99_s)}")
    else:
        parts.append(f"mean {_change(found.now.mean_s, found.then.mean_s)}")
    text = f"{found.change}: {' and '.join(parts)}"
    if found.resource is None:
        return f"{text}. Nobody had to wait, so that nothing is gained beyond the work itself."
    return f"{text}. {visible(found.resource)} then carries at most {format_rate(found.most_per_s)} of this mix."


def _change(now_s: float, then_s: float) -> str:
    return f"{format_duration(now_s)} -> {format_duration(then_s)}"


def _table(answers: Sequence[WhatIfFindings]) -> list[str]:
    """A row per answer, columns as wide as they need to be."""
    rows = [("change", "mean", "p50", "p99", "carries at most"), *(_row(found) for found in answers)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _row(found: WhatIfFindings) -> tuple[str, str, str, str, str]:
    if found.now is None or found.then is None:
        return (found.change, "–", "–", "–", "–")
    now, then = found.now, found.then
    p99 = "–" if now.p99_s is None or then.p99_s is None else _change(now.p99_s, then.p99_s)
    most = "–" if found.most_per_s is None else format_rate(found.most_per_s)
    return (found.change, _change(now.mean_s, then.mean_s), _change(now.p50_s, then.p50_s), p99, most)


def _line(name: str, text: str) -> str:
    return f"  {name:<12} {text}"


def calibration(found: WhatIfFindings) -> str:
    """How well the replay gives back what was measured."""
    if found.resource is None:
        return "nobody had to wait, so there was no queue to replay: only the work itself becomes shorter"
    replayed, measured = (
        f"{format_duration(waits[0])} (p50) and {format_duration(waits[1])} (p99)"
        for waits in (found.replayed_wait_s, found.measured_wait_s)
    )
    name = visible(found.resource, 60)
    return f"replayed with nothing changed, requests wait {replayed} for {name}; measured were {measured}"


def _refused_p99(n: int) -> str:
    least = needed(0.99)
    if n >= least:
        return f"needs {least:,} independent requests, these {n:,} are worth fewer: p50 and mean only"
    return f"needs {least:,} requests, has {n:,}: p50 and mean only"


def as_json(answers: Sequence[WhatIfFindings], run: str, warnings: Sequence[str] = ()) -> str:
    """Everything the text says: an object with `changes`, seconds; what is not known is null."""
    shown = {
        "run": run,
        "n": max((found.n for found in answers), default=0),
        "assumes": ASSUMES,
        "changes": [_plain(found) for found in answers],
        "warnings": list(warnings),
    }
    return json.dumps(shown, indent=2, allow_nan=False) + "\n"


def _plain(found: WhatIfFindings) -> dict[str, object]:
    return asdict(found) | {"now": _level(found.now), "then": _level(found.then)}


def _level(level: Level | None) -> dict[str, float | None] | None:
    return None if level is None else asdict(level)
