"""What is missing or odd in the spans of single requests, with what to do about each."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd

from harness.model import SERVER_STAGES, SpanSpec, Split
from harness.report.text import visible
from harness.spans.arrived import Arrived, Left
from harness.spans.guess import BODY_WAIT, guess, is_framework
from harness.units import format_count, format_duration

SHOWN_NAMES = 12


def render(arrived: Arrived, ledger: pd.DataFrame, spec: SpanSpec) -> list[str]:
    """Lines of text, each doubt after an empty one; none when all is well."""
    return [*_missing(arrived, ledger, spec), *_torn(arrived), *_left(arrived), *_guess(arrived, spec)]


def _missing(arrived: Arrived, ledger: pd.DataFrame, spec: SpanSpec) -> list[str]:
    answered = ledger[ledger["ok"]]
    without = int((answered["split"] == Split.NONE.value).sum())
    if not without or spec.source == "none":
        return []
    if spec.source == "server-timing":
        return ["", *_no_header(without, len(answered))]
    if arrived.traces:
        sentence = f"{format_count(without)} of {format_count(len(answered))} answered requests have no server half"
        return ["", f"{sentence}: their spans were not sampled, were dropped by a full exporter, or are still to come"]
    return ["", *(_elsewhere(arrived) if arrived.foreign_spans else _nothing(spec))]


def _no_header(without: int, answered: int) -> list[str]:
    return [
        f"{format_count(without)} of {format_count(answered)} answers carried no Server-Timing. To check:",
        "  - the service has `instrument(app)` from harness.instrument, or writes a Server-Timing of its own",
        "  - no proxy in between drops that header",
        "  - if it sends spans instead: `source: auto`, and `harness check SCENARIO --connect` for the lines",
    ]


def _elsewhere(arrived: Arrived) -> list[str]:
    """Spans came, but the service did not take up our trace."""
    services = ", ".join(visible(name, 60) for name in arrived.foreign_services[:5]) or "a service without a name"
    return [
        f"spans came, {format_count(arrived.foreign_spans)} of them from {services}, but of other traces than those of "
        "these requests:",
        "the context of the request is not taken up. To check:",
        "  - the service's HTTP server is instrumented (spans made by hand alone begin traces of their own)",
        "  - it reads W3C `traceparent`: OTEL_PROPAGATORS=tracecontext,baggage",
        "  - no proxy in between replaces or drops the `traceparent` header",
    ]


def _nothing(spec: SpanSpec) -> list[str]:
    if spec.address is not None:
        return [f"no spans of these requests were found at {visible(spec.address)}: does the service send there?"]
    grpc = f"OTLP over gRPC to {spec.listen_grpc}" if spec.listen_grpc else "not over gRPC (`listen_grpc` is off)"
    return [
        "no spans came. To check, where the service runs (`harness check SCENARIO --connect` has the lines):",
        f"  - it sends to us: OTEL_EXPORTER_OTLP_ENDPOINT=http://{spec.listen}",
        f"  - it speaks what we hear: OTLP over HTTP to {spec.listen}, {grpc}; some exporters use gRPC unless",
        "    OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        *(
            ["  - it is asked to record: `sampled: 0` in spans asks for none"]
            if spec.sampled == 0
            else ["  - it records what it is asked to: OTEL_TRACES_SAMPLER=parentbased_always_on"]
        ),
        "  - it exports soon enough: OTEL_BSP_SCHEDULE_DELAY=500",
    ]


def _torn(arrived: Arrived) -> list[str]:
    lines = []
    if arrived.orphans:
        names = ", ".join(f"{visible(name, 60)} ({format_count(count)})" for name, count in arrived.orphans[:5])
        lines += [
            "",
            f"without the span above them: {names}",
            "their parents never came: sampled away, dropped by a full exporter (OTEL_BSP_MAX_QUEUE_SIZE), or sent "
            "elsewhere by a service in between",
        ]
    if arrived.several_roots:
        lines += [
            "",
            f"several requests one after the other in {format_count(arrived.several_roots)} of "
            f"{format_count(len(arrived.traces))} traces: something in between tries again,",
            "or the context leaks from request to request of a connection (uvicorn: --reset-contextvars)",
        ]
    return lines


def _left(arrived: Arrived) -> list[str]:
    if not arrived.left:
        return []
    lines = ["", "claimed by no stage:"]
    for each in arrived.left[:SHOWN_NAMES]:
        total = format_duration(each.total_s)
        lines.append(
            f"  {visible(each.name, 60):<42} {format_count(each.count):>5} x  {total:>9} in all, {_part(each)}"
        )
    if len(arrived.left) > SHOWN_NAMES:
        lines.append(f"  and {format_count(len(arrived.left) - SHOWN_NAMES)} more names")
    return lines


def _part(left: Left) -> str:
    if left.open_s:
        return f"{format_duration(left.open_s)} of it in no stage"
    if left.held_s:
        return f"{format_duration(left.held_s)} of it counted with the span around it"
    return "all of it in other stages"


def _guess(arrived: Arrived, spec: SpanSpec) -> list[str]:
    """A block to paste, with what the scenario says already."""
    names = [each.name for each in arrived.left if each.open_s > 0 or each.held_s > 0]
    guessed = guess(names)
    waits_for_bodies = spec.preset is None and any(BODY_WAIT.search(name) for name in names)
    if not guessed and not waits_for_bodies:
        unmapped = not all(map(is_framework, names))
        return ["if one of them is work, map it: `spans: {stages: {inference: [NAME]}}`"] if unmapped else []
    said = {stage: list(patterns) for stage, patterns in spec.stages}
    order = sorted({*said, *guessed}, key=SERVER_STAGES.index)
    merged = {stage: [*said.get(stage, []), *guessed.get(stage, [])] for stage in order}
    why = "; `preset: fastapi` calls `http receive` upload" if waits_for_bodies else ""
    return [
        "",
        f"a guess by the words in their names alone, to correct and paste into the scenario{why}:",
        "spans:",
        *_as_said(replace(spec, preset="fastapi") if waits_for_bodies else spec),
        *(["  stages:"] if merged else []),
        *(f"    {stage}: {json.dumps(names, ensure_ascii=False)}" for stage, names in merged.items()),
    ]


def _as_said(spec: SpanSpec) -> list[str]:
    """What the block must repeat of the scenario's, so that pasting it loses nothing; what is usual goes unsaid."""
    usual = SpanSpec()
    where = (
        spec.source if spec.address is None else f"{{{spec.source}: {json.dumps(spec.address, ensure_ascii=False)}}}"
    )
    lines = [
        ("source", where, spec.source != usual.source),
        ("listen", spec.listen or "none", spec.listen != usual.listen),
        ("listen_grpc", spec.listen_grpc, spec.listen_grpc is not None),
        ("sampled", f"{spec.sampled:g}", spec.sampled != usual.sampled),
        ("preset", spec.preset, spec.preset is not None),
    ]
    return [f"  {key}: {value}" for key, value, is_said in lines if is_said]
