"""Limits on what the service says of its processes, read about once a second during the measured time.

Of rss, cpu, threads, loop_lag and gc_pause each process has to keep the limit, and the worst one is named. in_flight
and waiting are added up over the processes: the requests of a service are what all of them hold. A process that was
hardly there has a part in peaks alone, as long as others were. Where nothing was read for most of the time, nothing is
known to have been kept.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.evidence import Evidence
from harness.findings import SloFindings, Verdict
from harness.gate.answers import Refusal, Values, answer, fact, in_words, refused
from harness.gate.means import judge_mean
from harness.gate.quantiles import judge_quantile
from harness.model import Phase
from harness.slo import VITALS, Slo
from harness.units import format_count, format_duration

LEAST_READINGS = 5
"""Fewer readings of a process show a limit broken, but never one that is kept."""
MOST_UNREAD = 0.5
"""So much of the measured time may go by without a reading of any process."""
SUMMED = ("in_flight", "waiting")
_SECOND_NS = 1_000_000_000
_GRAVITY = (Verdict.FAILED, Verdict.INVALID, Verdict.NOT_ENOUGH_DATA, Verdict.PASSED)


def judge_vital(slo: Slo, evidence: Evidence, confidence: float) -> SloFindings:
    """peak, max, mean or a percentile of a vital."""
    rows = _rows(slo, evidence)
    if isinstance(rows, Refusal):
        return refused(slo, rows)
    found = _readings(slo, rows, evidence)
    if slo.statistic not in ("peak", "max"):
        found = [(process, values) for process, values in found if len(values) >= LEAST_READINGS] or found
    judged = [(_judge(slo, values, confidence), process) for process, values in found]
    worst, process = min(
        judged, key=lambda each: (_GRAVITY.index(each[0].verdict), -(each[0].observed or 0.0), each[1])
    )
    others = f", the worst of {len(judged)} processes" if len(judged) > 1 else ""
    said = f"{process}{others}: {worst.reason}"
    unread_s, measured_s = _unread(rows, evidence)
    if worst.verdict is Verdict.PASSED and unread_s > MOST_UNREAD * measured_s:
        said += f", and none for {format_duration(unread_s)} of {format_duration(measured_s)}"
        return answer(slo, Verdict.NOT_ENOUGH_DATA, worst.observed, worst.n, said)
    return answer(slo, worst.verdict, worst.observed, worst.n, said)


def _judge(slo: Slo, values: Values, confidence: float) -> SloFindings:
    if slo.statistic == "mean":
        return judge_mean(slo, values, confidence, "readings")
    if slo.quantile is not None:
        return judge_quantile(slo, values, confidence, "readings")
    n, largest = len(values), float(values.values.max())
    verdict = fact(slo, largest)
    said = f"{in_words(slo, largest)} is the largest of {format_count(n)} readings"
    if verdict is Verdict.PASSED and n < LEAST_READINGS:
        return answer(slo, Verdict.NOT_ENOUGH_DATA, largest, n, f"{said}, needs {LEAST_READINGS - n} more")
    return answer(slo, verdict, largest, n, said)


def _rows(slo: Slo, evidence: Evidence) -> pd.DataFrame | Refusal:
    """The readings of the measured time, in time order."""
    vitals, metric = evidence.vitals, VITALS[slo.subject or ""].metric
    if vitals is None or vitals.empty:
        return Refusal(Verdict.INVALID, "the service sent no vitals")
    if not (vitals["name"] == metric).any():
        return Refusal(Verdict.INVALID, f"the service sent no {metric} with its vitals")
    rows = vitals[
        (vitals["name"] == metric).to_numpy(dtype=np.bool_) & np.isfinite(vitals["value"].to_numpy(np.float64))
    ]
    begin_ns, end_ns = _measured(evidence)
    inside = (rows["at_ns"] >= begin_ns) & (rows["at_ns"] <= end_ns)
    during: pd.DataFrame = rows[inside.to_numpy(dtype=np.bool_)]
    if during.empty:
        return Refusal(Verdict.NOT_ENOUGH_DATA, f"no reading of {metric} is from the measured time")
    return during.sort_values(["process", "at_ns", "value"], kind="stable")


def _readings(slo: Slo, rows: pd.DataFrame, evidence: Evidence) -> list[tuple[str, Values]]:
    """(process, its readings), processes by name."""
    if slo.subject in SUMMED:
        return [("all processes", _values(_added(rows), evidence))]
    return [(str(process), _values(own, evidence)) for process, own in rows.groupby("process", sort=True, dropna=False)]


def _measured(evidence: Evidence) -> tuple[int, int]:
    """When the measured time began and ended; where that is not known, the first and the last request. Without one it
    ends before it begins.
    """
    due = evidence.requests["scheduled_ns"]
    measured = [s for s in evidence.stretches if s.phase == Phase.MEASURE.value and s.seconds > 0.0]
    if measured:
        return measured[0].from_ns, measured[-1].until_ns
    return (int(due.min()), int(due.max())) if len(due) else (0, -1)


def _unread(rows: pd.DataFrame, evidence: Evidence) -> tuple[float, float]:
    """(the longest time without a reading of any process, the measured time), seconds."""
    begin_ns, end_ns = _measured(evidence)
    instants = np.concatenate([[begin_ns], np.sort(rows["at_ns"].to_numpy(dtype=np.int64)), [end_ns]])
    return float(np.diff(instants).max()) / 1e9, (end_ns - begin_ns) / 1e9


def _added(rows: pd.DataFrame) -> pd.DataFrame:
    """The sum over the processes in each second, each with the mean of its readings in it."""
    second = (rows["at_ns"] - rows["at_ns"].min()) // _SECOND_NS
    each = rows.groupby([second.rename("second"), rows["process"]], dropna=False)["value"].mean()
    total = each.groupby(level="second").sum()
    return pd.DataFrame(
        {"at_ns": total.index.to_numpy() * _SECOND_NS + int(rows["at_ns"].min()), "value": total.to_numpy()}
    )


def _values(rows: pd.DataFrame, evidence: Evidence) -> Values:
    begins = [s.from_ns for s in evidence.stretches if s.phase == Phase.MEASURE.value and s.seconds > 0.0]
    at_ns = rows["at_ns"].to_numpy(dtype=np.int64)
    steps = np.maximum(np.searchsorted(np.array(begins, np.int64), at_ns, side="right") - 1, 0)
    return Values(rows["value"].to_numpy(dtype=np.float64), steps.astype(np.int64))
