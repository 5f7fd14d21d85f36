"""Two stored runs side by side: `harness compare`.

Each is concluded from its own record, as a report does it; what is kept of it is small, so that two large runs need no
more memory than one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from harness.analysis.comparing import compare_words, two_runs
from harness.analysis.comparing.likeness import Circumstances, differences, same_draw
from harness.analysis.comparing.mix import Sent
from harness.analysis.comparing.shift import shift
from harness.analysis.comparing.tail_delta import TailDelta, tail_delta
from harness.analysis.comparing.two_runs import Side
from harness.comparison import SCHEMA_VERSION, CompareFindings, MetricChange, RunRef
from harness.conclude import Conclusion, conclude
from harness.findings import HealthState, Summary, Verdict
from harness.model import DoneSource, Phase, Scenario
from harness.record import validated
from harness.run_folder import RunFolder

_PID = re.compile(r" \(pid [0-9]+\)$")


def compare(a: RunFolder, b: RunFolder) -> CompareFindings:
    """B against A. Runs that are not alike are compared all the same, the reasons stand in `differences`.

    The last of `stages` is "latency", what the others add up to. Raises RunFolderError.
    """
    ref_a, around_a, side_a = _taken(a)
    ref_b, around_b, side_b = (ref_a, around_a, side_a) if _same(a, b) else _taken(b)
    metrics = two_runs.metrics(side_a, side_b)
    stages, models = two_runs.stages(side_a, side_b), two_runs.models(side_a, side_b)
    tail = _tail(side_a, side_b, metrics)
    silences = [(name, side.silence) for name, side in (("A", side_a), ("B", side_b)) if side.silence is not None]
    unlike = differences(around_a, around_b)
    return CompareFindings(
        schema_version=SCHEMA_VERSION,
        a=ref_a,
        b=ref_b,
        differences=unlike,
        metrics=metrics,
        stages=stages,
        models=models,
        shifts=shift(side_a.levels, side_b.levels),
        tail=tuple((stage, change.value or 0.0) for stage, change in tail.stages)
        if isinstance(tail, TailDelta)
        else (),
        sentences=(
            *compare_words.sentences(metrics, stages, models, tail, silences),
            *([compare_words.same_draw(around_a.load.seed)] if same_draw(around_a, around_b) else []),
            compare_words.CAVEAT,
        ),
    )


def measured(found: CompareFindings) -> bool:
    """Whether both runs are valid measurements with at least one request answered as expected."""
    valid = Verdict.INVALID not in (found.a.verdict, found.b.verdict)
    return valid and all(m.a is not None and m.b is not None for m in found.metrics if m.metric == "mean")


def _same(a: RunFolder, b: RunFolder) -> bool:
    return a.path.resolve() == b.path.resolve()


def _tail(a: Side, b: Side, metrics: Sequence[MetricChange]) -> TailDelta | str | None:
    """The change of the p95 by stage; in words why not, or None where the p95 or no stage is known."""
    known = any(m.metric == "p95" and m.ratio.value is not None for m in metrics)
    if not known or not a.stages or not b.stages:
        return None
    if isinstance(a.tail, str) or isinstance(b.tail, str):
        return "; ".join(f"{name}: {tail}" for name, tail in (("A", a.tail), ("B", b.tail)) if isinstance(tail, str))
    return tail_delta(a.tail, b.tail)


# --- one run -----------------------------------------------------------------------------------------------


def _taken(folder: RunFolder) -> tuple[RunRef, Circumstances, Side]:
    """What is named, what has to be alike, and what is compared of one run."""
    record = validated(folder.read_json("run.json"), folder.run_json)
    scenario = TypeAdapter(Scenario).validate_python(record["plan"])
    found = conclude(folder, scenario, record)
    seen, summary = found.seen, found.summary
    side = two_runs.side(
        seen.evidence.requests, seen.latency, seen.evidence.split_rows, found.ledger.model_calls,
        seen.counts.completed_per_s, seen.silence,
    )  # fmt: skip
    ref = RunRef(
        run_id=folder.run_id,
        scenario=summary.scenario,
        started_ns=summary.started_ns,
        load=summary.load,
        n=seen.counts.scheduled,
        verdict=summary.verdict,
    )
    return ref, circumstances(folder, scenario, record, found), side


def circumstances(
    folder: RunFolder, scenario: Scenario, record: Mapping[str, object], found: Conclusion
) -> Circumstances:
    """What has to be alike of two runs that are held against each other; `record` is the run's run.json."""
    seen, summary = found.seen, found.summary
    stamped = seen.samples.filter(pc.is_valid(seen.samples.column("status"))).column("done_source")
    return Circumstances(
        place=str(folder.path.resolve()),
        scenario=summary.scenario,
        target=summary.target,
        loopback=bool(record.get("loopback")),
        environment=dict(summary.environment),
        load=scenario.load,
        spans=scenario.spans,
        requests=scenario.requests,
        services=_services(found),
        sent=_sent(seen.samples, seen.evidence.requests),
        offered_per_s=seen.counts.offered_per_s,
        split=dict(seen.counts.split),
        kernel=pc.mean(pc.equal(stamped, DoneSource.KERNEL.value)).as_py() if len(stamped) else None,
        doubts=_doubts(summary),
    )


def _services(found: Conclusion) -> tuple[str, ...]:
    """The service of each process that gave a server half."""
    halves = found.seen.joined.halves
    used = np.unique(halves.process_of[halves.process_of >= 0]).tolist()
    return tuple(_PID.sub("", halves.processes[k]) for k in used)


def _sent(samples: pa.Table, due: pd.DataFrame) -> Sent:
    """By kind of request, over the measured phase."""
    ok = due[due["ok"]]
    answered = samples.filter(
        pc.and_(pc.equal(samples.column("phase"), Phase.MEASURE.value), pc.is_valid(samples.column("status")))
    ).select(["name", "bytes_sent"])
    sizes = answered.to_pandas().groupby("name")["bytes_sent"]
    return Sent(
        counts={str(name): int(n) for name, n in due["name"].value_counts().items()},
        mean_s={str(name): float(mean) for name, mean in ok.groupby("name")["latency_s"].mean().items()},
        sizes={str(name): np.sort(part.to_numpy(np.int64)) for name, part in sizes},
    )


def _doubts(summary: Summary) -> tuple[str, ...]:
    """Why a run is not one to rely on."""
    found = ["was interrupted: less was measured than planned"] if summary.interrupted else []
    if summary.verdict is Verdict.INVALID:
        found.append(f"is an invalid measurement: {'; '.join(summary.reasons) or 'see its report'}")
    elif summary.health.state is HealthState.SUSPECT:
        found.append(f"has a generator that is suspect: {'; '.join(summary.health.reasons) or 'see its report'}")
    if not summary.counts.ok:
        found.append("has no request that was answered as expected")
    return tuple(found)
