"""The judge of a run that is on: `python -m harness.deciding.judging RUN_FOLDER`, of the lowest priority.

stdin: an Asked as a JSON line for each look; the end of stdin is the end. stdout: a JSON line for each of them, with
its "look" and either "slos" (a list of [expression, verdict, reason]) or "failed" (a sentence); "cpu_s" is what this
look took, "total_cpu_s" what the process has used so far.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import TypeAdapter

from harness import ledger as ledgers
from harness.arrivals import schedule
from harness.chunks import schema_of
from harness.deciding.cohort import GUARD_NS, cut
from harness.deciding.looks import Asked
from harness.evidence import Evidence, beside_of, gather
from harness.findings import SloFindings, Verdict
from harness.gate import agreed, judge_slo
from harness.instrument.host import host_key
from harness.join import join
from harness.ledger import with_server_half
from harness.mapped import mapped_spans, with_preset
from harness.model import Arrivals, Phase, Sample, Scenario, Vital
from harness.record import validated
from harness.run_folder import RunFolder
from harness.slo import Slo, parse_slos


def judged(
    folder: RunFolder, scenario: Scenario, record: Mapping[str, object], asked: Asked
) -> tuple[SloFindings, ...]:
    """The SLOs on what is recorded so far.

    A request that is not recorded yet may end well or badly: what depends on it is not decided.
    """
    samples = folder.read_table("samples", Sample)
    end_ns = asked.started_ns + round(asked.at_s * 1e9)
    early = samples.filter(pc.less(samples.column("scheduled_ns"), end_ns - GUARD_NS))
    instants = {
        "measured_from_ns": asked.started_ns + round(scenario.load.warmup_s * 1e9),
        "measured_until_ns": end_ns,
    }
    record, so_far = {**record, "load": instants}, cut(scenario, asked.at_s)

    def slos(of: pa.Table) -> tuple[SloFindings, ...]:
        evidence = _evidence(folder, so_far, record, of.sort_by("scheduled_ns"), asked.stages)
        clauses = [slo for line in scenario.slo for slo in parse_slos(line)]
        return tuple(_so_far(slo, judge_slo(slo, evidence, asked.confidence)) for slo in clauses)

    open_ids = _open_ids(scenario, early, asked.at_s)
    if not len(open_ids):
        return slos(early)
    return tuple(map(agreed, slos(early), slos(pa.concat_tables([early, _unfinished(open_ids, end_ns - GUARD_NS)]))))


def _evidence(
    folder: RunFolder, scenario: Scenario, record: Mapping[str, object], samples: pa.Table, stages: bool
) -> Evidence:
    """As it is gathered when a run is concluded; without the server's side where no SLO asks for it."""
    spec = with_preset(folder, scenario.spans) if stages else scenario.spans
    spans: Iterable[pa.Table] = mapped_spans(folder, spec) if stages else ()
    joined = join(samples, spans, spec.source if stages else "none")
    ledger = ledgers.build(samples, joined, host_key(), bool(record.get("loopback")), (scenario.load.steps[0].level,))
    ended = samples.filter(pc.invert(samples.column("censored")))
    rows = ledger.rows.assign(scheduled_ns=ended.column("scheduled_ns").to_numpy())
    beside = beside_of(scenario, record, samples, joined, ledger, folder.read_table("vitals", Vital))
    return gather(scenario, samples, rows, with_server_half(rows), ledger, joined.dropping, beside)


def _open_ids(scenario: Scenario, recorded: pa.Table, at_s: float) -> NDArray[np.int64]:
    """Ids of the measured arrivals that were due and are not recorded.

    Nobody knows them in a closed loop, which plans none, nor with user code, which may answer an arrival by nothing.
    """
    if scenario.load.arrivals is Arrivals.USERS or scenario.users is not None:
        return np.empty(0, np.int64)
    planned = schedule(scenario.load)
    due = planned.measured & (planned.at_s < at_s - GUARD_NS / 1e9)
    found: NDArray[np.int64] = np.setdiff1d(planned.request_id[due], recorded.column("request_id").to_numpy())
    return found


def _unfinished(ids: NDArray[np.int64], at_ns: int) -> pa.Table:
    """Samples of requests that may never end."""
    known: dict[str, object] = {"phase": Phase.MEASURE.value, "censored": True, "scheduled_ns": at_ns}
    of_type: dict[pa.DataType, object] = {pa.int64(): 0, pa.string(): "", pa.bool_(): False}
    columns = {
        field.name: pa.repeat(
            pa.scalar(known.get(field.name, None if field.nullable else of_type[field.type]), field.type), len(ids)
        )
        for field in schema_of(Sample)
    }
    columns["request_id"] = pa.array(ids, pa.int64())
    columns["trace_id"] = pa.array([f"{-1 - number & (1 << 128) - 1:032x}" for number in range(len(ids))], pa.string())
    return pa.table(columns, schema=schema_of(Sample))


def _so_far(slo: Slo, found: SloFindings) -> SloFindings:
    """A count that has to be reached is not missed as long as requests come."""
    if slo.statistic == "count" and slo.op[0] == ">" and found.verdict is Verdict.FAILED:
        return replace(found, verdict=Verdict.NOT_ENOUGH_DATA, reason=f"{found.reason} so far")
    return found


def serve(folder: RunFolder, lines: Iterable[str], out: int) -> None:
    """Answer each line until there are no more."""
    record = validated(folder.read_json("run.json"), folder.run_json)
    scenario = TypeAdapter(Scenario).validate_python(record["plan"])
    for line in lines:
        asked, began_s = TypeAdapter(Asked).validate_json(line), time.process_time()
        try:
            slos = judged(folder, scenario, record, asked)
            found: dict[str, object] = {"slos": [(s.expression, s.verdict.value, s.reason) for s in slos]}
        except Exception as error:  # the run goes on to its longest, and says why
            traceback.print_exc()
            found = {"failed": f"{type(error).__name__}: {error}"}
        used_s = time.process_time()
        cost = {"cpu_s": used_s - began_s, "total_cpu_s": used_s}
        os.write(out, json.dumps({"look": asked.look, **found, **cost}).encode() + b"\n")


def main() -> None:
    """Answer until the parent is gone, in one thread: the cores belong to the service and the load."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    out = os.dup(1)
    os.dup2(2, 1)
    serve(RunFolder(Path(sys.argv[1])), sys.stdin, out)


if __name__ == "__main__":
    main()
