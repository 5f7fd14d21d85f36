"""A stored run -> its conclusions: join, ledger, statistics, SLOs, verdict. The same for a run that just ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from harness import ledger as ledgers
from harness.analysis import doubts, health, sentences
from harness.analysis.quantiles import latency_findings
from harness.analysis.stages import model_findings, name_findings, stage_findings, wait_findings
from harness.analysis.tail import TailAttribution, attribute_tail
from harness.counting import count, duration
from harness.diagnosis import Sentence
from harness.evidence import WHOLE_REQUEST, Evidence, gather, series, why_no_stage
from harness.findings import (
    Bottleneck,
    Health,
    ModelFindings,
    Reading,
    RequestRow,
    Summary,
    WaitFindings,
)
from harness.gate import judge_run, judge_slo
from harness.ingress import LEAST_REQUESTS
from harness.instrument.host import host_key
from harness.join import CHANNELS, SPLITS, Joined, join
from harness.ledger import Ledger, measured, with_server_half
from harness.mapped import mapped_spans, with_preset
from harness.model import STAGES, Arrivals, RunWarning, Sample, Scenario, SpanSpec, Split, Vital
from harness.run_folder import SCHEMA_VERSION, RunFolder
from harness.scenario.load_text import load_text, users_text
from harness.slo import parse_slo
from harness.units import format_duration, format_share

SHOWN_REQUESTS = 5
LEAST_DRIFT_PPM = 1.0
"""A smaller drift of the clocks is not worth a word."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """`rows` are the ledger rows with `scheduled_ns` beside them."""

    summary: Summary
    ledger: Ledger
    rows: pd.DataFrame


def conclude(folder: RunFolder, scenario: Scenario, record: Mapping[str, object]) -> Conclusion:
    """Everything that can be said about a stored run. `record` is its run.json."""
    samples = folder.read_table("samples", Sample).sort_by("scheduled_ns")
    spec = with_preset(folder, scenario.spans)
    joined = join(samples, mapped_spans(folder, spec), spec.source)
    levels = tuple(step.level if step.to is None else (step.level + step.to) / 2 for step in scenario.load.steps)
    ledger = ledgers.build(samples, joined, host_key(), bool(record.get("loopback")), levels)
    joined = replace(joined, leaked=ledger.leaked, outlived=ledger.outlived)
    ended = samples.filter(pa.compute.invert(samples.column("censored")))
    rows = ledger.rows.assign(scheduled_ns=ended.column("scheduled_ns").to_numpy())
    scenario = replace(scenario, spans=spec)
    summary = _summary(scenario, record, samples, rows, ledger, joined, folder.read_table("vitals", Vital))
    return Conclusion(summary, ledger, rows)


def _summary(
    scenario: Scenario,
    record: Mapping[str, object],
    samples: pa.Table,
    rows: pd.DataFrame,
    ledger: Ledger,
    joined: Joined,
    vitals: pa.Table,
) -> Summary:
    in_measure = measured(rows)
    split_rows = with_server_half(rows)
    counts = count(scenario, record, samples, in_measure)
    users = users_text(scenario.load) if scenario.load.arrivals is Arrivals.USERS else None
    own_health = _health(record)
    evidence = gather(scenario, samples, rows, split_rows, ledger, joined.dropping)
    warnings = _warnings(
        record, samples, in_measure, split_rows, ledger, joined, evidence, own_health, vitals, scenario.spans
    )
    late = doubts.upload_is_waiting(warnings, samples)
    slos = tuple(judge_slo(parse_slo(expression), evidence) for expression in scenario.slo)
    verdict, reasons = judge_run(slos, own_health, warnings, counts.ok)
    stages, models = stage_findings(split_rows), model_findings(ledger.model_calls, split_rows)
    tail, waits = attribute_tail(split_rows), wait_findings(ledger.waits, split_rows)
    silence = why_no_stage(evidence) if len(split_rows) else None
    latency, service = (latency_findings(series(evidence, subject)) for subject in WHOLE_REQUEST)
    return Summary(
        schema_version=SCHEMA_VERSION,
        run_id=str(record["run_id"]),
        scenario=scenario.name,
        target=scenario.target,
        started_ns=_int(record.get("started_ns")) or 0,
        duration_s=duration(samples),
        load=load_line(scenario),
        interrupted=record.get("status") == "interrupted",
        verdict=verdict,
        reasons=reasons,
        sentences=tuple(
            map(
                Sentence,
                sentences.write(counts, latency, stages, models, tail, len(split_rows), silence, users, waits, late),
            )
        ),
        counts=counts,
        latency=latency,
        service=service,
        stage_set=_stage_set(split_rows),
        stages=stages,
        names=name_findings(in_measure, split_rows),
        models=models,
        slo=slos,
        bottleneck=_bottleneck(tail, models, waits, late) if silence is None else None,
        health=own_health,
        warnings=warnings,
        slowest=_shown(split_rows.sort_values("latency_s", ascending=False).head(SHOWN_REQUESTS)),
        typical=_shown(_typical(split_rows)),
        environment=_environment(record),
        span_source=_span_source(scenario, joined, ledger),
        coverage=evidence.coverage,
        waits=waits,
    )


def load_line(scenario: Scenario) -> str:
    """The load profile on one line, e.g. `poisson 4/s, 10 s warm-up, 60 s, seed 7`."""
    return load_text(scenario.load)


# --- parts of the summary ----------------------------------------------------------------------------------


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
    if record.get("status") == "running":
        message = "the run was killed before it ended: this is what had been written until then"
        recorded.append(RunWarning("cut_short", message, "run it again for a verdict", invalidates=True))
    found = doubts.find(
        samples, in_measure, split_rows, ledger.offsets, joined, evidence.missing_halves, own_health.readings,
        coverage=evidence.coverage, vitals=vitals, spec=spec,
    )  # fmt: skip
    if any(warning.code == "foreign_client" for warning in recorded):  # that says why there are no kernel stamps
        found = [warning for warning in found if warning.code != "user_stamps"]
    return (*recorded, *found)


def _stage_set(split_rows: pd.DataFrame) -> str:
    if split_rows.empty:
        return "no request has a server half: the latency cannot be split"
    mean = format_duration(float(split_rows["latency_s"].mean()))
    return f"n = {len(split_rows):,} requests (measured, ok, with server half), mean latency {mean}"


def _bottleneck(
    tail: TailAttribution | None, models: tuple[ModelFindings, ...], waits: tuple[WaitFindings, ...], late: bool
) -> Bottleneck | None:
    if tail is None or tail.clear is None:
        return None
    top = tail.clear
    model = models[0].model if top.stage == "inference" and models else None
    return Bottleneck(
        stage=top.stage,
        resource=sentences.main_resource(waits) if top.stage == "queue" else None,
        model=model,
        share_of_tail=top.share,
        interval=(top.low, top.high),
        n=tail.n,
        sentence=sentences.tail_sentence(tail, waits, late),
    )


def _typical(split_rows: pd.DataFrame) -> pd.DataFrame:
    """The requests around the median, nearest first."""
    distance = (split_rows["latency_s"] - split_rows["latency_s"].median()).abs()
    return split_rows.loc[distance.sort_values(kind="stable").index].head(SHOWN_REQUESTS)


def _shown(rows: pd.DataFrame) -> tuple[RequestRow, ...]:
    return tuple(
        RequestRow(
            request_id=int(row["request_id"]),
            trace_id=str(row["trace_id"]),
            name=str(row["name"]),
            latency_s=float(row["latency_s"]),
            stages=tuple((s, None if pd.isna(row[f"{s}_s"]) else float(row[f"{s}_s"])) for s in STAGES),
        )
        for _, row in rows.iterrows()
    )


def _environment(record: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    stored = record.get("environment")
    return tuple((str(k), str(v)) for k, v in stored.items()) if isinstance(stored, dict) else ()


def _span_source(scenario: Scenario, joined: Joined, ledger: Ledger) -> str:
    halves = joined.halves
    known = halves.known
    if not known.any():
        return f"{scenario.spans.source}: no server half arrived"
    counted = sorted(
        zip(np.bincount(halves.channel[known], minlength=len(CHANNELS)), CHANNELS, strict=True), reverse=True
    )
    arrived = ", ".join(f"{channel} for {count:,}" for count, channel in counted if count)
    exact = f"{format_share(float((halves.split[known] == SPLITS.index(Split.MARKS)).mean()))} with marks"
    preset = f"; stages as the preset {scenario.spans.preset} has them" if scenario.spans.preset else ""
    waits = _waits_before(ledger) if len(scenario.load.steps) > 1 else ""
    return f"{scenario.spans.source}: {arrived} requests ({exact}){preset}; {_clock_text(ledger)}{waits}"


def _waits_before(ledger: Ledger) -> str:
    """What queue_est stands on, for a run of several load levels."""
    if ledger.ingress is not None:
        return f". {ledger.ingress.sentence.rstrip('.')}"
    needs = f"{LEAST_REQUESTS} requests at a level of at most half the highest, and upload known apart"
    return f". Waits before the service took a request (queue, estimated) are not known: that takes {needs}"


def _clock_text(ledger: Ledger) -> str:
    known = [offset for _, offset in ledger.offsets if offset is not None]
    if not known:
        return "clock offset unknown: upload and download are not told apart"
    assumed = next((f", if {offset.assumes}" for offset in known if offset.assumes), "")
    if all(offset.same_host for offset in known):
        return f"same host, one clock{assumed}"
    worst = max(known, key=lambda offset: offset.bound_ns)
    drift = f", drifting by {worst.drift_ppm:+.0f} ppm" if abs(worst.drift_ppm) >= LEAST_DRIFT_PPM else ""
    offset, bound = format_duration(worst.offset_ns / 1e9), format_duration(worst.bound_ns / 1e9)
    return f"clock offset {offset} ± {bound}{drift}{assumed}"


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None
