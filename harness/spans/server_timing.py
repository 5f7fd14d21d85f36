"""The server half of one request from its `Server-Timing` header. Pure; whatever the header holds, nothing is raised.

Read as the W3C grammar asks a user agent to: entries by comma, parameters by semicolon, both only outside quotes; the
first of repeated parameters wins; what is not understood is skipped. Durations are milliseconds by recommendation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from harness.model import CLAIMS, SERVER_STAGES, Split

OURS = "mlharness"
_STREAMED = "streamed"

# Foreign headers cannot tell transfer from work, so only stages a service can claim have names here.
_FOREIGN = {
    **{stage: stage for stage in SERVER_STAGES},
    "wait": "queue", "queued": "queue", "pre": "preprocess", "preprocessing": "preprocess",
    "infer": "inference", "model": "inference", "predict": "inference",
    "post": "postprocess", "postprocessing": "postprocess",
}  # fmt: skip
_TOTALS = ("total", "server", "app")  # the first that is there wins

_LONGEST_HEADER = 32 * 1024
_LONGEST_DURATION_MS = 24 * 3600 * 1000.0
_LATEST_NS = 2**63 - 1

# Each alternative begins with another character, so the match is linear in the text.
_ENTRY = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_PART = re.compile(r'(?:[^";]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)', re.DOTALL)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_HEAD = re.compile(r"1 ([0-9a-f]{32}) ([0-9a-f]{16}) ([0-9]{1,19}) (\S{1,200})((?: .*)?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServerHalf:
    """What a service said about one request. With split `durations` there are no ids and no instants."""

    split: Split
    trace_id: str | None
    span_id: str | None  # the root span
    window_start_ns: int | None
    host: str | None  # equal keys mean one clock
    total_s: float  # length of the server window
    stages: tuple[tuple[str, float], ...]  # (stage, seconds), each stage once, in the order of the request
    streamed: bool = False  # the header left before the body was made: the split may lack work


def parse(header: str | None) -> ServerHalf | None:
    """The server half, or None when the header says nothing that can be used."""
    if not header:
        return None
    entries = list(_entries(header[:_LONGEST_HEADER]))
    return _ours(entries) or _foreign(entries)


def _ours(entries: list[tuple[str, dict[str, str]]]) -> ServerHalf | None:
    """What our instrumentation said: of several services that a request passed through, the outermost one."""
    starts = [number for number, (name, _) in enumerate(entries) if name == OURS]
    read = (_one_of_ours(entries[begin:end]) for begin, end in pairwise([*starts, len(entries)]))
    return max((half for half in read if half is not None), key=lambda half: half.total_s, default=None)


def _one_of_ours(entries: list[tuple[str, dict[str, str]]]) -> ServerHalf | None:
    """From a head of ours to the entry before the next one. What stands before the head is of somebody else."""
    head = _HEAD.fullmatch(entries[0][1].get("desc", ""))
    total_s = _total(entries, ("total",))
    if head is None or total_s is None:
        return None
    trace_id, span_id, window_start_ns, host = head[1], head[2], int(head[3]), head[4]
    if not 0 < window_start_ns <= _LATEST_NS or not int(trace_id, 16) or not int(span_id, 16):
        return None
    stages = _stages(_firsts(entries), {stage: stage for stage in CLAIMS})
    host_key = None if host == "-" else host
    streamed = _STREAMED in head[5].split()  # later versions may say more behind the host
    return ServerHalf(Split.MARKS, trace_id, span_id, window_start_ns, host_key, total_s, stages, streamed)


def _firsts(entries: list[tuple[str, dict[str, str]]]) -> list[tuple[str, dict[str, str]]]:
    """Our own header names a stage once: what repeats it was added by somebody else."""
    return list({name: (name, params) for name, params in reversed(entries)}.values())


def _foreign(entries: list[tuple[str, dict[str, str]]]) -> ServerHalf | None:
    stages = _stages(entries, _FOREIGN)
    total_s = _total(entries, _TOTALS)
    if total_s is None and not stages:
        return None
    if total_s is None:
        total_s = sum(seconds for _, seconds in stages)
    return ServerHalf(Split.DURATIONS, None, None, None, None, total_s, stages)


def _stages(entries: list[tuple[str, dict[str, str]]], names: dict[str, str]) -> tuple[tuple[str, float], ...]:
    """Seconds per stage; entries that mean the same stage are added up (a chain of models names each call)."""
    found: dict[str, float] = {}
    for name, params in entries:
        stage, seconds = names.get(name), _seconds(params)
        if stage is not None and seconds is not None:
            found[stage] = found.get(stage, 0.0) + seconds
    return tuple((stage, found[stage]) for stage in CLAIMS if stage in found)


def _total(entries: list[tuple[str, dict[str, str]]], names: tuple[str, ...]) -> float | None:
    for wanted in names:
        for name, params in entries:
            seconds = _seconds(params)
            if name == wanted and seconds is not None:
                return seconds
    return None


def _seconds(params: dict[str, str]) -> float | None:
    """The duration of an entry, seconds; None when absent, negative, not finite or longer than a day."""
    text = params.get("dur", "")
    if not _NUMBER.fullmatch(text):
        return None
    milliseconds = float(text)
    return milliseconds / 1000 if milliseconds <= _LONGEST_DURATION_MS else None


def _entries(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(name, parameters) of each entry; names in lower case."""
    for entry in _ENTRY.findall(header):
        if entry.startswith(";"):
            continue  # no name
        name, *parts = _PART.findall(entry)
        params: dict[str, str] = {}
        for part in parts:
            key, has_value, value = part.partition("=")
            if has_value:
                params.setdefault(key.strip(" \t").lower(), _value(value.strip(" \t")))
        if name.strip(" \t"):
            yield name.strip(" \t").lower(), params


def _value(text: str) -> str:
    quoted = _QUOTED.match(text)
    return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL) if quoted else text
