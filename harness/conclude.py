"""A stored run -> its conclusions: join, ledger, statistics, SLOs, verdict. The same for a run that just ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from harness import described
from harness import ledger as ledgers
from harness.analysis import doubts, health
from harness.analysis.bottleneck import bottleneck
from harness.analysis.load_steps.steps import worse_answers
from harness.analysis.stages import model_findings, name_findings, stage_findings, wait_findings
from harness.analysis.statistics.quantiles import latency_findings
from harness.analysis.verdict import Around, write
from harness.counting import count, duration
from harness.diagnose import Observed, diagnose, levels
from harness.errors import RunFolderError
from harness.evidence import WHOLE_REQUEST, Evidence, beside_of, gather, series, steps_of, why_no_stage
from harness.findings import Health, LatencyFindings, Reading, SloFindings, Summary
from harness.gate import CONFIDENCE, CUT_SHORT, agreed, judge_run, judge_slo
from harness.join import Joined, join
from harness.ledger import Ledger, measured, with_server_half
from harness.mapped import mapped_spans, with_preset
from harness.model import Arrivals, RunWarning, Sample, Scenario, SpanSpec, Vital
from harness.record import own_host
from harness.run_folder import SCHEMA_VERSION, RunFolder
from harness.scenario.load_text import users_text
from harness.slo import parse_slos


@dataclass(frozen=True, slots=True)
class Conclusion:
    """`rows` are the ledger rows with `scheduled_ns` beside them; `seen` is what the summary was made of."""

    summary: Summary
    ledger: Ledger
    rows: pd.DataFrame
    seen: Observed


def conclude(
    folder: RunFolder, scenario: Scenario, record: Mapping[str, object], *, strict: bool = False
) -> Conclusion:
    """Everything that can be said about a stored run. `record` is its run.json; `strict`: see gate.judge_run."""
    samples = _each_once(folder, _stored(folder, record)).sort_by("scheduled_ns")
    spec = with_preset(folder, scenario.spans)
    joined = join(samples, mapped_spans(folder, spec), spec.source)
    ledger = ledgers.build(samples, joined, own_host(record), bool(record.get("loopback")), levels(scenario.load))
    joined = replace(joined, leaked=ledger.leaked, outlived=ledger.outlived)
    ended = samples.filter(pa.compute.invert(samples.column("censored")))
    rows = ledger.rows.assign(scheduled_ns=ended.column("scheduled_ns").to_numpy())
    scenario = replace(scenario, spans=spec)
    seen = observed(scenario, record, samples, rows, ledger, joined, folder.read_table("vitals", Vital))
    return Conclusion(summarised(seen, scenario, record, measured(rows), strict), ledger, rows, seen)


def _stored(folder: RunFolder, record: Mapping[str, object]) -> pa.Table:
    """The samples. A run that ended by itself has the file, if only to say that there were none."""
    samples = folder.read_table("samples", Sample)
    ended = record.get("status") in ("finished", "interrupted")
    if ended and not samples.num_rows and not (folder.path / "samples.parquet").exists():
        raise RunFolderError(f"{folder.path} has no table 'samples'", "restore samples.parquet, or run it again")
    return samples


def _each_once(folder: RunFolder, samples: pa.Table) -> pa.Table:
    """Every table of a run is joined by request_id: a folder where two requests share one was edited or mixed up."""
    if pa.compute.count_distinct(samples.column("request_id")).as_py() < samples.num_rows:
        message = f"the table 'samples' of {folder.path} has several requests with one request_id"
        raise RunFolderError(message, "was it edited or joined by hand? restore it, or run the scenario again")
    return samples


def summarised(
    seen: Observed, scenario: Scenario, record: Mapping[str, object], in_measure: pd.DataFrame, strict: bool = False
) -> Summary:
    """What was seen, explained and judged: `in_measure` are the ledger rows of the measured phase."""
    evidence, split_rows = seen.evidence, seen.evidence.split_rows
    slos = _slos(scenario, evidence, record)
    accept = record.get("accept_suspect") is True
    judged = judge_run(slos, seen.health, seen.warnings, seen.counts.ok, accept, strict)
    diagnosis = diagnose(seen)
    facts = diagnosis.facts
    around = Around(
        silence=seen.silence,
        users=users_text(scenario.load) if scenario.load.arrivals is Arrivals.USERS else None,
        taken_late=doubts.upload_is_waiting(seen.warnings, seen.samples),
        worse=worse_answers(facts.steps),
    )
    return Summary(
        schema_version=SCHEMA_VERSION,
        run_id=str(record["run_id"]),
        scenario=scenario.name,
        target=scenario.target,
        started_ns=_int(record.get("started_ns")) or 0,
        duration_s=duration(seen.samples),
        load=described.load_line(scenario),
        interrupted=record.get("status") == "interrupted",
        verdict=judged.verdict,
        reasons=judged.reasons,
        sentences=write(facts, diagnosis.causes, diagnosis.gains, around),
        counts=seen.counts,
        latency=seen.latency,
        service=seen.service,
        stage_set=described.stage_set(split_rows),
        stages=seen.stages,
        names=name_findings(in_measure, split_rows),
        models=seen.models,
        slo=slos,
        bottleneck=bottleneck(facts, diagnosis.causes, around.taken_late),
        health=seen.health,
        warnings=seen.warnings,
        slowest=described.slowest(split_rows),
        typical=described.typical(split_rows),
        environment=described.environment(record),
        span_source=described.span_source(scenario, seen.joined, seen.ledger),
        coverage=evidence.coverage,
        waits=seen.resources,
        answered=_answered(evidence),
        steps=facts.steps,
        work=facts.work,
        growth=facts.growth,
        tail=facts.tail,
        blame=facts.blame,
        contrasts=facts.contrasts,
        causes=diagnosis.causes,
        gains=diagnosis.gains,
        decided=described.decided(record),
        accepted=judged.accepted,
    )


def _answered(evidence: Evidence) -> LatencyFindings:
    ok = evidence.requests[evidence.requests["ok"]]
    return latency_findings(ok["latency_s"].to_numpy(np.float64), ok["step"].to_numpy(np.int64))


# --- parts of the summary ----------------------------------------------------------------------------------


def observed(
    scenario: Scenario,
    record: Mapping[str, object],
    samples: pa.Table,
    rows: pd.DataFrame,
    ledger: Ledger,
    joined: Joined,
    vitals: pa.Table,
) -> Observed:
    """Everything that is counted and doubted before it is explained."""
    in_measure, split_rows = measured(rows), with_server_half(rows)
    own_health = _health(record)
    beside = beside_of(scenario, record, samples, joined, ledger, vitals)
    evidence = gather(scenario, samples, rows, split_rows, ledger, joined.dropping, beside)
    latency, service = (
        latency_findings(series(evidence, subject), steps_of(evidence, subject)) for subject in WHOLE_REQUEST
    )
    return Observed(
        load=scenario.load,
        samples=samples,
        joined=joined,
        ledger=ledger,
        evidence=evidence,
        vitals=vitals,
        counts=count(scenario, record, samples, in_measure),
        latency=latency,
        service=service,
        stages=stage_findings(split_rows),
        models=model_findings(ledger.model_calls, split_rows),
        resources=wait_findings(ledger.waits, split_rows),
        health=own_health,
        warnings=_warnings(
            record, samples, in_measure, split_rows, ledger, joined, evidence, own_health, vitals, scenario.spans
        ),
        silence=why_no_stage(evidence) if len(split_rows) else None,
    )


def _health(record: Mapping[str, object]) -> Health:
    load = record.get("load")
    readings = load.get("readings", []) if isinstance(load, dict) else []
    return health.judge([Reading(**reading) for reading in readings])


def _warnings(
    record: Mapping[str, object],
    samples: pa.Table,
    in_measure: pd.DataFrame,
    split_rows: pd.DataFrame,
    ledger: Ledger,
    joined: Joined,
    evidence: Evidence,
    own_health: Health,
    vitals: pa.Table,
    spec: SpanSpec,
) -> tuple[RunWarning, ...]:
    stored = record.get("warnings")
    recorded = [RunWarning(**w) for w in stored] if isinstance(stored, list) else []
    explained = any(warning.invalidates and warning.code in CUT_SHORT for warning in recorded)
    if record.get("status") in ("running", "broken") and not explained:
        message = "the run was killed before it ended: this is what had been written until then"
        recorded.append(RunWarning("cut_short", message, "run it again for a verdict", invalidates=True))
    found = doubts.find(
        samples, in_measure, split_rows, ledger.offsets, joined, evidence.missing_halves, own_health.readings,
        coverage=evidence.coverage, vitals=vitals, spec=spec,
    )  # fmt: skip
    if any(warning.code == "foreign_client" for warning in recorded):  # that says why there are no kernel stamps
        found = [warning for warning in found if warning.code != "user_stamps"]
    return (*recorded, *found)


def _slos(scenario: Scenario, evidence: Evidence, record: Mapping[str, object]) -> tuple[SloFindings, ...]:
    """Each SLO judged. What was in flight when the user ended the run may have ended well or badly."""
    clauses = [slo for line in scenario.slo for slo in parse_slos(line)]
    confidence, ended = _confidence(record), evidence.requests["ended"].to_numpy(dtype=np.bool_)
    found = tuple(judge_slo(slo, evidence, confidence) for slo in clauses)
    if record.get("status") != "interrupted" or ended.all():
        return found
    others = replace(evidence, requests=evidence.requests[ended].reset_index(drop=True))
    return tuple(agreed(judge_slo(slo, others, confidence), worst) for slo, worst in zip(clauses, found, strict=True))


def _confidence(record: Mapping[str, object]) -> float:
    """Of each SLO: of a run that was looked at several times the looks share the chance to be wrong."""
    decided = record.get("decided")
    return float(decided["confidence"]) if isinstance(decided, dict) else CONFIDENCE


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None
