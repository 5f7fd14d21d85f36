"""What is said of a selection, as JSON for its page: every figure is written here, the page only places it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.analysis.selection import ANSWERED, Columns, Flags, Selected, Selection, mask, ordered
from harness.dashboard.selecting_query import DESCENDING, PHASES, View, written
from harness.errors import UsageError
from harness.estimates import Estimate, LatencyFindings
from harness.findings import Counts
from harness.model import Phase
from harness.report.figures import decimals_for, interval, ms, share
from harness.report.lines import stage_label
from harness.report.palette import stage_variable
from harness.report.text import visible

PER_PAGE = 50
MOST_ROWS = 100_000
"""Of a CSV file."""
_STATISTICS = ("mean", "p50", "p90", "p95", "p99")
_ATTRIBUTES = {
    "name": "request", "step": "load step", "outcome": "outcome", "phase": "phase", "worker": "load process",
    "connection": "connection", "attempts": "attempts", "payload": "payload",
}  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def answer(
    columns: Columns, selection: Selection, view: View, selected: Flags, found: Selected, counts: Counts
) -> dict[str, Any]:
    """Everything that the page shows of a selection, one page of its requests with it. Raises UsageError.

    `counts` are those of the run: requests that had not ended when it did have no row in the columns.
    """
    if view.sort not in ("latency", "time", *columns.stage_names):
        raise UsageError(f"no request of this run has time in '{view.sort}'", "sort by latency")
    pages = max(1, -(-found.n // PER_PAGE))
    view = replace(view, page=min(view.page, pages))
    everything = replace(selection, phase=None) == Selection()
    return {
        "query": written(selection, view),
        "everything": everything,
        "n": found.n,
        "of": found.of,
        "summary": _summary(selection, found, everything),
        "hint": _hint(columns, selection, found),
        "unended": unended(counts) if selection.phase in (None, Phase.MEASURE.value) else None,
        "latency": _latency(found),
        "stages": _stages(found, everything),
        "attributes": _attributes(found),
        "table": _table(columns, view, selected, pages),
    }


def unended(counts: Counts) -> str | None:
    """What became of those that have no latency; None when there are none."""
    if not counts.censored:
        return None
    rest = "it has no latency and is not here" if counts.censored == 1 else "they have no latency and are not here"
    planned = f"of {counts.scheduled:,} scheduled, {counts.sent:,} were sent"
    return f"{counts.censored:,} more had not ended when the run did; {rest} ({planned})."


def _summary(selection: Selection, found: Selected, everything: bool) -> str:
    phase = "" if selection.phase is None else f" of the {PHASES.get(selection.phase, selection.phase)}"
    failed = f", {found.failed:,} of them failed" if found.failed and not found.all_failed else ""
    failed = ", all of them failed" if found.all_failed else failed
    if everything and found.n:
        return f"All {found.n:,} requests{phase}{failed}; select some to see what they have in common"
    return f"{found.n:,} of {found.of:,} requests{phase} selected{failed}"


def _hint(columns: Columns, selection: Selection, found: Selected) -> str | None:
    """Where the requests are, when none of this phase is selected."""
    if found.n:
        return None
    if not len(columns):
        return "This run has no request that ended."
    if selection.phase is not None:
        elsewhere = int(np.count_nonzero(mask(columns, replace(selection, phase=None))))
        if elsewhere:
            return f"Of the other phases there are {elsewhere:,}: choose all phases to see them."
    return "No request is like that: widen or clear the selection."


def _latency(found: Selected) -> dict[str, Any]:
    findings = found.latency
    if found.all_failed:
        title, note = "Time until they failed", "From the scheduled instant to the instant of giving up."
    else:
        title, note = "Latency", "From the scheduled instant; in brackets the 95% interval."
        if found.failed:
            note += " A failed request is slower than any in the percentiles, and left out of mean and max."
    decimals = decimals_for(findings.p50.value if findings.p50.value is not None else findings.mean.value)
    rows = [_statistic(name, getattr(findings, name), decimals) for name in _STATISTICS]
    rows.append({"name": "max", "value": ms(findings.max_s, decimals), "interval": "", "refusal": "", "n": ""})
    return {"title": title, "note": note, "rows": rows, "n": f"{_n(findings):,}"}


def _n(findings: LatencyFindings) -> int:
    return findings.p50.n


def _statistic(name: str, estimate: Estimate, decimals: int) -> dict[str, str]:
    return {
        "name": name,
        "value": ms(estimate.value, decimals),
        "interval": interval(estimate, decimals),
        "refusal": estimate.refusal or "",
        "n": f"{estimate.n:,}",
    }


def _stages(found: Selected, everything: bool) -> dict[str, Any]:
    """Means of both sets, and how wide their bars are, 0..1 of the longest."""
    known = [s for s in found.stages if s.selected_s is not None or s.rest_s is not None]
    longest = max((max(s.selected_s or 0.0, s.rest_s or 0.0) for s in known), default=0.0) or 1.0
    decimals = decimals_for(max(found.mean_s or 0.0, found.rest_mean_s or 0.0) or None)
    rows = [
        {
            "label": stage_label(s.stage),
            "variable": stage_variable(s.stage),
            "selected": ms(s.selected_s, decimals),
            "rest": ms(s.rest_s, decimals),
            "difference": _signed(s.difference_s, decimals),
            "widths": [(s.selected_s or 0.0) / longest, (s.rest_s or 0.0) / longest],
        }
        for s in known
    ]
    difference = None if found.mean_s is None or found.rest_mean_s is None else found.mean_s - found.rest_mean_s
    total = [ms(found.mean_s, decimals), ms(found.rest_mean_s, decimals), _signed(difference, decimals)]
    such = "answered as expected and have a server half"
    of = f"the {found.split_n:,} selected ones that were {such}, and of the {found.split_rest_n:,} others like that"
    of = f"the {found.split_n:,} that were {such}" if everything else of
    note = f"Mean per request of {of}: what these requests took, not an estimate."
    return {"note": note, "rows": rows, "total": total, "n": found.split_n, "rest_n": found.split_rest_n}


def _signed(seconds: float | None, decimals: int) -> str:
    shown = ms(seconds, decimals)
    return f"+{shown}" if seconds is not None and seconds > 0 and shown.strip("0.,") else shown


def _attributes(found: Selected) -> dict[str, Any]:
    rows = [
        {
            "attribute": _ATTRIBUTES.get(each.attribute, each.attribute),
            "value": visible(each.value),
            "share": share(each.n / each.of),
            "rest_share": share(each.rest_n / each.rest_of),
            "counts": f"{each.n:,} of {each.of:,}",
            "rest_counts": f"{each.rest_n:,} of {each.rest_of:,}",
            "widths": [each.n / each.of, each.rest_n / each.rest_of],
        }
        for each in found.attributes
    ]
    return {"rows": rows, "none": found.no_attributes}


def _table(columns: Columns, view: View, selected: Flags, pages: int) -> dict[str, Any]:
    at = ordered(columns, selected, view.sort, view.order == DESCENDING)
    shown = at[(view.page - 1) * PER_PAGE : view.page * PER_PAGE]
    stages = [
        {"name": name, "label": stage_label(name), "variable": stage_variable(name)} for name in columns.stage_names
    ]
    return {
        "stages": stages,
        "rows": [_row(columns, position) for position in shown.tolist()],
        "sort": view.sort,
        "order": view.order,
        "page": view.page,
        "pages": pages,
        "first": (view.page - 1) * PER_PAGE + 1 if len(at) else 0,
        "last": (view.page - 1) * PER_PAGE + len(shown),
    }


def _row(columns: Columns, position: int) -> dict[str, Any]:
    latency = float(columns.latency_s[position])
    seconds = [float(s) if known else None for s, known in zip(*_stage_cells(columns, position), strict=True)]
    decimals = decimals_for(latency)
    return {
        "id": int(columns.request_id[position]),
        "time": f"{columns.at_s[position]:,.3f}",
        "name": visible(columns.name.text(position) or "", 60),
        "latency": ms(latency, decimals),
        "ok": bool(columns.ok[position]),
        "outcome": visible(columns.outcome.text(position) or ANSWERED, 120),
        "stages": [ms(s, decimals) for s in seconds],
        "widths": [max(0.0, s or 0.0) / latency if latency > 0.0 and np.isfinite(latency) else 0.0 for s in seconds],
    }


def _stage_cells(columns: Columns, position: int) -> tuple[Sequence[float], Sequence[bool]]:
    return columns.stages[:, position].tolist(), columns.known[:, position].tolist()


# --- CSV ---------------------------------------------------------------------------------------------------


def csv_lines(columns: Columns, view: View, selected: Flags) -> Iterator[str]:
    """The selected requests in the order of the table, at most MOST_ROWS of them; seconds, with nothing for unknown."""
    heads = ["request_id", "at_s", "name", "phase", "step", "ok", "outcome", "latency_s"]
    yield _line([*heads, *(f"{stage}_s" for stage in columns.stage_names)])
    for position in ordered(columns, selected, view.sort, view.order == DESCENDING)[:MOST_ROWS].tolist():
        texts = [kinds.text(position) or "" for kinds in (columns.name, columns.phase, columns.step, columns.outcome)]
        name, phase, step, outcome = texts
        seconds, known = _stage_cells(columns, position)
        yield _line(
            [
                int(columns.request_id[position]), f"{columns.at_s[position]:.6f}", _plain(name), phase, step,
                str(bool(columns.ok[position])).lower(), _plain(outcome), f"{columns.latency_s[position]:.6f}",
                *(f"{s:.6f}" if is_known else "" for s, is_known in zip(seconds, known, strict=True)),
            ]
        )  # fmt: skip


def _plain(text: str) -> str:
    """A spreadsheet takes these for formulas."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
