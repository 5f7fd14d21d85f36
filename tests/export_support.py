"""A stored run to export, and what formats demand of a file: each rule written down without looking at the exporter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.chunks import schema_of
from harness.model import LedgerRow, ModelCall, Sample, Span
from harness.run_folder import RunFolder
from tests.builders import T0, a_root, a_sample, a_span, at, samples_table, spans_table, trace

ROOT = "b00000000000000{}"
BATCH = "ba7c000000000000"
HOSTILE = "<script>alert(1)</script>\x00\n\u202e=2+5\"'"


def store(path: Path, samples: Sequence[Sample], spans: Sequence[Span] = (), **tables: pa.Table) -> RunFolder:
    """A run folder with these rows, without a summary."""
    path.mkdir(parents=True)
    folder = RunFolder(path)
    record = {
        "schema_version": 1, "run_id": path.name, "status": "finished", "started_ns": T0, "loopback": True,
        "plan": {
            "name": "read", "target": "http://127.0.0.1:8000", "requests": [], "users": None, "slo": [],
            "load": {
                "arrivals": "constant", "steps": [{"level": 20.0, "duration_s": 10.0, "to": None}], "warmup_s": 0.0,
                "drain_s": 1.0, "seed": 1,
            },
            "spans": {"source": "otlp"},
        },
        "environment": {}, "warnings": [],
    }  # fmt: skip
    folder.write_json("run.json", record)
    folder.write_table("samples", samples_table(*samples))
    folder.write_table("spans", spans_table(*spans))
    for name, table in tables.items():
        folder.write_table(name, table)
    return folder


def two_in_a_batch(path: Path) -> RunFolder:
    """Requests 0 and 1, 20 ms apart, share a batch from 40 to 60 ms; 1 fails. One span has an event, one no service."""
    samples = [
        a_sample(0),
        a_sample(1, scheduled_ns=at(20), start_ns=at(20), send_ns=at(22), sent_ns=at(23), error="timeout", status=None),
    ]
    spans = []
    for number, start in ((0, 10), (1, 30)):
        root = ROOT.format(number)
        spans.append(a_root(start, 90, number, span_id=root, parent_id=samples[number].span_id, pid=7 + number))
        told = {"harness.stage": "inference", "harness.batch_id": BATCH, "otel.events": [["oom", at(50)]]}
        spans.append(
            a_span("infer", 40, 60, number=number, parent_id=root, stage="inference", attributes=told, pid=7 + number)
        )
    links = {"otel.links": [[trace(0), ROOT.format(0)], [trace(1), ROOT.format(1)]], "batch_size": 2}
    spans.append(a_span("batch", 40, 60, number=98, span_id=BATCH, parent_id=None, attributes=links, pid=9))
    spans.append(a_span("elsewhere", 0, 500, number=99, service=None, pid=None, parent_id=None, kind="unspecified"))
    return store(path, samples, spans)


def a_ledger(*rows: Mapping[str, Any]) -> pa.Table:
    """Ledger rows; what is not given is null, or something plain."""
    plain: dict[str, Any] = {
        "trace_id": trace(0), "name": "read", "phase": "measure", "step": 0, "ok": True, "split": "marks",
        "latency_s": 0.1, "service_s": 0.1, "backlog_s": 0.0,
    }  # fmt: skip
    return pa.Table.from_pylist([{**plain, **row} for row in rows], schema=schema_of(LedgerRow))


def some_calls(*rows: ModelCall) -> pa.Table:
    names = schema_of(ModelCall).names
    return pa.Table.from_pylist([dict(zip(names, astuple(r), strict=True)) for r in rows], schema=schema_of(ModelCall))


# --- trace events ----------------------------------------------------------------------------------------------------


def events_of(text: str, phase: str) -> list[dict[str, Any]]:
    return [event for event in json.loads(text)["traceEvents"] if event["ph"] == phase]


def broken_nesting(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Pairs of complete events on one (pid, tid) of which neither holds the other, though they overlap. Whole
    nanoseconds; every pair is looked at.
    """
    threads: dict[tuple[int, int], list[tuple[int, int, str]]] = {}
    for event in events:
        start = round(event["ts"] * 1000)
        threads.setdefault((event["pid"], event["tid"]), []).append(
            (start, start + round(event["dur"] * 1000), event["name"])
        )
    return [
        f"{one} crosses {other} on {thread}"
        for thread, found in threads.items()
        for number, one in enumerate(found)
        for other in found[:number]
        if one[0] < other[1] and other[0] < one[1] and not _holds(one, other) and not _holds(other, one)
    ]


def _holds(outer: tuple[int, int, str], inner: tuple[int, int, str]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


# --- speedscope ------------------------------------------------------------------------------------------------------

_INDEX = {"type": "integer", "minimum": 0}
_COMMON = {
    "name": {"type": "string"},
    "unit": {"enum": ["none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"]},
    "startValue": {"type": "number"},
    "endValue": {"type": "number"},
}
_EVENT = {
    "type": "object", "required": ["type", "at", "frame"], "additionalProperties": False,
    "properties": {"type": {"enum": ["O", "C"]}, "at": {"type": "number"}, "frame": _INDEX},
}  # fmt: skip
_EVENTED = {
    "type": "object", "required": ["type", *_COMMON, "events"], "additionalProperties": False,
    "properties": {"type": {"const": "evented"}, **_COMMON, "events": {"type": "array", "items": _EVENT}},
}  # fmt: skip
_SAMPLED = {
    "type": "object", "required": ["type", *_COMMON, "samples", "weights"], "additionalProperties": False,
    "properties": {
        "type": {"const": "sampled"}, **_COMMON,
        "samples": {"type": "array", "items": {"type": "array", "items": _INDEX}},
        "weights": {"type": "array", "items": {"type": "number", "minimum": 0}},
    },
}  # fmt: skip
_FRAME = {
    "type": "object", "required": ["name"], "additionalProperties": False,
    "properties": {
        "name": {"type": "string"}, "file": {"type": "string"}, "line": {"type": "number"}, "col": {"type": "number"},
    },
}  # fmt: skip
SPEEDSCOPE = {
    "type": "object", "required": ["$schema", "shared", "profiles"], "additionalProperties": False,
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "shared": {
            "type": "object", "required": ["frames"], "additionalProperties": False,
            "properties": {"frames": {"type": "array", "items": _FRAME}},
        },
        "profiles": {"type": "array", "items": {"oneOf": [_EVENTED, _SAMPLED]}},
        "name": {"type": "string"}, "exporter": {"type": "string"}, "activeProfileIndex": _INDEX,
    },
}  # fmt: skip
"""The file format of speedscope 1.25, stricter: nothing that the format does not name."""


def unbalanced(profile: Mapping[str, Any]) -> list[str]:
    """What is wrong with the events of an evented profile: order, balance, range."""
    wrong: list[str] = []
    still_open: list[int] = []
    last = profile["startValue"]
    for event in profile["events"]:
        if event["at"] < last:
            wrong.append(f"{event} is before {last}")
        last = event["at"]
        if event["type"] == "O":
            still_open.append(event["frame"])
        elif not still_open or still_open.pop() != event["frame"]:
            wrong.append(f"{event} closes what is not innermost")
    if still_open:
        wrong.append(f"{still_open} stay open")
    return wrong if last <= profile["endValue"] else [*wrong, f"{last} is behind the end"]
