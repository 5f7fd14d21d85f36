"""Each load step on its own: whether it is steady, its percentiles, its failures, and how many requests were inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.load_steps.growth import known_stages
from harness.analysis.load_steps.inside import Inside, inside
from harness.analysis.load_steps.steady import Steady, judge
from harness.analysis.statistics.quantiles import CONFIDENCE, effective_size, latency_findings
from harness.diagnosis import Sentence, Steadiness, StepFindings
from harness.findings import Estimate, LatencyFindings
from harness.model import Arrivals, LoadProfile
from harness.units import format_rate, format_share

Values = NDArray[np.float64]

UNSTABLE = "the step is unstable: more requests came than were answered"
"""Why an unstable step has no figures; its sentence says more."""

MOST_CHECKS = 10
TIMEOUT = "timeout"

_GONE_AFTER = 10.0  # mean gaps without a sign of life: the run was stopped


def step_findings(
    requests: pd.DataFrame, split_rows: pd.DataFrame, load: LoadProfile, vitals: pd.DataFrame
) -> tuple[StepFindings, ...]:
    """The steps of the plan in their order, also those that no request was due in.

    `requests` has a row per request that was due in the measured phase, in time order: step, scheduled_ns, ok, ended
    (False: in flight at the end, or never sent), latency_s (NaN when not ended), failed_checks, error, status.
    `split_rows` are the rows of the stage table with scheduled_ns, `vitals` have at_ns, process, name, value.
    """
    begins_ns = _begins(requests, load)
    found = []
    for number, planned in enumerate(load.steps):
        rows = requests[(requests["step"] == number).to_numpy()]
        halves = split_rows[(split_rows["step"] == number).to_numpy()]
        begin_ns = begins_ns[number]
        length_s = _length(rows, begin_ns, planned.duration_s)
        end_ns = begin_ns + round(length_s * 1e9)
        during = vitals[((vitals["at_ns"] >= begin_ns) & (vitals["at_ns"] < end_ns)).to_numpy()]
        found.append(_step(number, load, rows, halves, during, begin_ns, length_s))
    return tuple(found)


def _step(
    number: int,
    load: LoadProfile,
    rows: pd.DataFrame,
    halves: pd.DataFrame,
    vitals: pd.DataFrame,
    begin_ns: int,
    length_s: float,
) -> StepFindings:
    planned, closed = load.steps[number], load.arrivals is Arrivals.USERS
    ok = rows["ok"].to_numpy(dtype=np.bool_)
    ended = rows["ended"].to_numpy(dtype=np.bool_)
    took = rows["latency_s"].to_numpy(dtype=np.float64)
    ranked = np.where(ok, took, np.inf)
    at_s = (rows["scheduled_ns"].to_numpy(dtype=np.int64) - begin_ns) / 1e9
    done_s = np.where(ended, at_s + took, np.nan)
    gave_up = ended & (rows["error"] == TIMEOUT).to_numpy(dtype=np.bool_)
    state = judge(at_s, ranked, done_s, length_s, closed, planned.to is not None, gave_up)
    unstable = state.state is Steadiness.UNSTABLE
    per_s = _per_s(done_s[ok], length_s, unstable) if len(rows) else None
    stages = known_stages(halves)
    counted = inside(stages, vitals, per_s, float(ok.sum()) / max(1, len(rows)))
    return StepFindings(
        step=number,
        level=planned.level if planned.to is None else (planned.level + planned.to) / 2.0,
        scheduled=len(rows),
        ok=int(ok.sum()),
        failed=share_of(~ok[ended]),
        offered_per_s=None if closed or per_s is None else len(rows) / length_s,
        completed_per_s=per_s,
        state=state.state,
        sentence=_sentence(state, counted),
        settled_after_s=state.settled_after_s,
        drift=state.drift,
        latency=_refused(ranked) if unstable else latency_findings(ranked),
        answered=_refused(took[ok]) if unstable else latency_findings(took[ok]),
        stages=tuple((stage, float(values.mean())) for stage, values in stages.items()),
        in_flight=counted.in_flight,
        gauge=counted.gauge,
        checks=_checks(rows[ended & ~ok]),
    )


def _sentence(state: Steady, counted: Inside) -> str:
    return state.sentence if counted.doubt is None else f"{state.sentence}; {counted.doubt}"


def _refused(series: Values) -> LatencyFindings:
    """No percentiles: they would grow with the length of the test."""
    why = Estimate(None, None, None, len(series), CONFIDENCE, refusal=UNSTABLE)
    return LatencyFindings(why, why, why, why, why, None)


def _per_s(done_s: Values, length_s: float, unstable: bool) -> float | None:
    """Ok answers per second; of an unstable step only those that came in its second half, not in the time after it."""
    if not length_s > 0.0:
        return None
    if not unstable:
        return len(done_s) / length_s
    return float(((done_s > length_s / 2.0) & (done_s <= length_s)).sum()) / (length_s / 2.0)


# --- when a step was ---------------------------------------------------------------------------------------


def _begins(requests: pd.DataFrame, load: LoadProfile) -> list[int]:
    """When each step began, ns: as planned, from the request that was due first after the begin of its own step."""
    offsets = np.concatenate(([0.0], np.cumsum([step.duration_s for step in load.steps])))
    offsets_ns = np.rint(offsets * 1e9).astype(np.int64)
    if requests.empty:
        return [0] * len(load.steps)
    step = requests["step"].to_numpy(dtype=np.int64).clip(0, len(load.steps) - 1)
    origin = int((requests["scheduled_ns"].to_numpy(dtype=np.int64) - offsets_ns[step]).min())
    return [origin + int(offset) for offset in offsets_ns[:-1]]


def _length(rows: pd.DataFrame, begin_ns: int, planned_s: float) -> float:
    """How long the step lasted, seconds: shorter than planned when the run was stopped in it."""
    if rows.empty:
        return planned_s
    due_s = (rows["scheduled_ns"].to_numpy(dtype=np.int64) - begin_ns) / 1e9
    took = rows["latency_s"].to_numpy(dtype=np.float64)
    ends = np.where(rows["ended"].to_numpy(dtype=np.bool_) & np.isfinite(took), due_s + took, due_s)
    last, gap = float(ends.max()), float(due_s.max()) / len(rows)
    stopped = len(rows) >= _GONE_AFTER and planned_s - last > _GONE_AFTER * gap
    return max(float(due_s.max()) + gap, min(last, planned_s)) if stopped else planned_s


# --- failures ----------------------------------------------------------------------------------------------


def share_of(failed: NDArray[np.bool_]) -> Estimate:
    """The share that failed, in time order, with Wilson's interval (JASA 22, 1927) on the effective sample size."""
    n = len(failed)
    if not n:
        return Estimate(None, None, None, 0, refusal="no request ended here")
    share = float(failed.mean())
    low, high = _wilson(share, max(1.0, effective_size(failed.astype(np.float64))))
    return Estimate(share, min(share, low), max(share, high), n)


def _wilson(share: float, worth: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2.0)
    middle = (share + z * z / (2.0 * worth)) / (1.0 + z * z / worth)
    half = z * math.sqrt(share * (1.0 - share) / worth + z * z / (4.0 * worth * worth)) / (1.0 + z * z / worth)
    return max(0.0, middle - half), min(1.0, middle + half)


def _checks(failed: pd.DataFrame) -> tuple[tuple[str, int], ...]:
    """What the answers failed by, most frequent first. Each answer counts once, so that these add up.

    One that failed several checks counts under all of them together, as `a,b`.
    """
    told = failed[(failed["failed_checks"].notna() & failed["error"].isna()).to_numpy()]
    counted = told.groupby(["failed_checks", "status"], dropna=False, sort=False).size().reset_index(name="n")
    by_name: dict[str, int] = {}
    for check, status, count in counted.itertuples(index=False, name=None):
        name = f"status {status:.0f}" if check == "status" and not pd.isna(status) else str(check)
        by_name[name] = by_name.get(name, 0) + int(count)
    listed = sorted(by_name.items(), key=lambda item: -item[1])
    rest = listed[MOST_CHECKS:]
    others = [(f"{len(rest):,} others", sum(count for _, count in rest))] if rest else []
    return (*listed[:MOST_CHECKS], *others)


# --- do answers get worse with load ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answers:
    """How one step ended: `wrong` answers failed their checks, `none` got no answer (timeout, connection error)."""

    level: str
    ended: int
    wrong: int
    none: int
    step: StepFindings

    @property
    def answers(self) -> int:
        return self.ended - self.none


def worse_answers(steps: Sequence[StepFindings]) -> Sentence | None:
    """Whether more answers fail their checks, or requests their answer, at a higher load; None when that may be chance.

    Each step is held against all steps of lower load together, by Fisher's exact test on the number of independent
    requests they are worth, corrected for the number of tests (Bonferroni).
    """
    ended = [step for step in sorted(steps, key=lambda s: s.level) if step.failed.n]
    told = [_answers(step) for step in ended]
    wrong = _first_worse(told, [(t.wrong, t.answers) for t in told])
    none = _first_worse(told, [(t.none, t.ended) for t in told])
    evidence = tuple(_evidence(each) for each in told)
    if wrong is not None:
        before, after = _up_to(told, wrong), told[wrong]
        text = (
            f"Answers get worse beyond {before[-1].level}: "
            f"{_share(sum(t.wrong for t in before), sum(t.answers for t in before))} of them failed their checks up to "
            f"there, {_share_with_interval(after.wrong, after.answers, after.step)} at {after.level}"
        )
        apart = f"; beside them {_share(after.none, after.ended)} of the requests got no answer" if after.none else ""
        return Sentence(f"{text}{apart}.", evidence)
    if none is not None:
        before, after = _up_to(told, none), told[none]
        return Sentence(
            f"Requests fail beyond {before[-1].level}: "
            f"{_share(sum(t.none for t in before), sum(t.ended for t in before))} of them got no answer (timeouts, "
            f"connection errors) up to there, {_share_with_interval(after.none, after.ended, after.step)} at "
            f"{after.level}.",
            evidence,
        )
    return None


def _answers(step: StepFindings) -> _Answers:
    level = f"{step.level:g} users" if step.offered_per_s is None else format_rate(step.level)
    failed = round((step.failed.value or 0.0) * step.failed.n)
    wrong = min(failed, sum(count for _, count in step.checks))
    return _Answers(level, step.failed.n, wrong, failed - wrong, step)


def _up_to(told: Sequence[_Answers], position: int) -> list[_Answers]:
    """The steps of lower load than that of this position."""
    return [t for t in told[:position] if t.step.level < told[position].step.level]


def _first_worse(told: Sequence[_Answers], counts: Sequence[tuple[int, int]]) -> int | None:
    """The first step, in order of load, that fails more than those below it; `counts` are (failed, of) of each."""
    tests = 2 * max(1, len(told) - 1)
    # Failures that come in bursts count as the few independent ones they are worth.
    worth = [
        tuple(round(count * _worth(t.step.failed)) for count in pair) for t, pair in zip(told, counts, strict=True)
    ]
    for position, (failed, of) in enumerate(worth):
        below = worth[: len(_up_to(told, position))]
        failed_below, of_below = (sum(pair[i] for pair in below) for i in range(2))
        more = failed * of_below > failed_below * of
        if of and of_below and more and fisher(failed, of, failed_below, of_below) * tests < 1.0 - CONFIDENCE:
            return position
    return None


def fisher(failed: int, of: int, other_failed: int, other_of: int) -> float:
    """Two-sided p of Fisher's exact test that two shares are the same: all tables at most as likely as this one."""
    total = failed + other_failed
    least, most = max(0, total - other_of), min(total, of)
    k = np.arange(least, most, dtype=np.float64)
    ratios = np.log((of - k) * (total - k)) - np.log((k + 1.0) * (other_of - total + k + 1.0))
    logs = np.concatenate(([0.0], np.cumsum(ratios)))
    likely = np.exp(logs - logs.max())
    return min(1.0, float(likely[likely <= likely[failed - least] * (1.0 + 1e-7)].sum() / likely.sum()))


def _share(count: int, of: int) -> str:
    return format_share(count / of if of else None)


def _share_with_interval(count: int, of: int, step: StepFindings) -> str:
    """A part of the failures has the interval of as many independent requests as all failures of the step are worth."""
    low, high = _wilson(count / of, max(1.0, of * _worth(step.failed)))
    return f"{_share(count, of)} ({format_share(low)} to {format_share(high)})"


def _worth(failed: Estimate) -> float:
    """How many independent requests one is worth, 0..1, from the interval of the share that failed."""
    if failed.value is None or failed.low is None or failed.high is None or failed.high <= failed.low:
        return 1.0
    plain = _wilson(failed.value, float(failed.n))
    return min(1.0, ((plain[1] - plain[0]) / (failed.high - failed.low)) ** 2)


def _evidence(told: _Answers) -> str:
    named = ", ".join(f"{name} {count:,}" for name, count in told.step.checks[:3])
    wrong = f"{told.wrong:,} of {told.answers:,} answers failed their checks ({_share(told.wrong, told.answers)})"
    return (
        f"{told.level}: {wrong}{f': {named}' if named else ''}; {told.none:,} of {told.ended:,} requests got no answer"
    )
