"""The SLO language: one line of text -> limits on statistics, the same in scenarios, flags and Python.

    list       := clause { "and" clause }              every clause is an SLO of its own
    clause     := statistic "(" subject { "," argument } ")" comparison limit
                | figure [ "(" argument { "," argument } ")" ] comparison limit
    argument   := ("name" | "step" | "phase" | "model") "=" value, each once, in any order
    value      := a word, or text in 'single' or "double" quotes (the quote itself is written twice)
    comparison := "<" | "<=" | ">" | ">=" | "≤" | "≥"

Words are case-sensitive, blanks are free outside quotes.

Statistics and what they can be of:
    pNN                  a duration; p1 to p99.99 (p99 needs 299 requests, p99.9 2,995, p99.99 29,956)
    mean, max            a duration, or a vital
    cv                   a duration: standard deviation / mean, a plain number
    peak                 a vital: the largest reading
    share(STAGE)         of the mean latency; share(ok): of the requests
    count(COLUMN)        requests of which the column is known, count(ok): that were ok
    rate(COLUMN)         the same per second of measured time

Subjects:
    durations            latency, service, every stage of the ledger, transfer, clipped; with or without `_s`
    call                 each single model call: p95(call, model=det)
    yes or no            ok
    vitals               rss, cpu (of one core: it may exceed 100%), threads, loop_lag, gc_pause, in_flight, waiting:
                         read once a second of each process of the service

Figures, which need no subject:
    error_rate           share of the requests that failed
    completed            share of what was offered that got an answer
    check_rate           share of the answered requests whose checks passed
    throughput           ok answers per second
    coverage             share of the ok requests with a server half

Arguments narrow the requests down: `name` of the request, `step` of the load profile (from 0), `phase` (warmup,
measure, drain; the measured one if not given). `model` goes with inference (per request, the time of that model's
calls) and with call, but not with count and rate.

Limits: a duration (200ms), a share (25%), a rate (20/s), a size (2GiB), a plain number (500). Upper limits take < or
<=; completed, check_rate, throughput, coverage, rate and share(ok) are floors and take > or >=; count takes both.
"""

from __future__ import annotations

from harness.slo.names import SLO_STAGES, SLO_SUBJECTS, VITALS, Vital, needs_server_half
from harness.slo.needs import requests_needed
from harness.slo.read import LONGEST_LIST, LONGEST_SLO, check_names, parse_slo, parse_slos
from harness.slo.words import Slo, SloError, Where

GRAMMAR = """\
p95(latency) < 200ms                    p1 to p99.99, mean, max, cv of latency, service, a stage or transfer
p95(latency, name=receipt) < 1s         only those requests; also step=2 (from 0), phase=warmup
p95(inference, model=det) < 80ms        that model's time in each request; p95(call, model=det): each single call
share(transfer) < 25%                   of the mean latency; share(ok) > 99%: of the requests
count(ok) > 500, rate(ok) > 18/s        requests that are ok, or of which a column is known; and per second
error_rate < 1%, completed > 98%        of what was offered; error_rate(name=receipt) < 1%
check_rate > 99%, coverage > 98%        answers whose checks passed; ok requests with a server half
throughput > 20/s                       ok answers per second
peak(rss) < 2GiB, mean(cpu) < 80%       of a process of the service; cpu of one core. Also threads, loop_lag,
                                        gc_pause, in_flight, waiting
... and ...                             several in one line
"""
"""The SLO language by example, for people."""

__all__ = [
    "GRAMMAR",
    "LONGEST_LIST",
    "LONGEST_SLO",
    "SLO_STAGES",
    "SLO_SUBJECTS",
    "VITALS",
    "Slo",
    "SloError",
    "Vital",
    "Where",
    "check_names",
    "needs_server_half",
    "parse_slo",
    "parse_slos",
    "requests_needed",
]
