"""Text that tries to leave its place in a report, and summaries full of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from report_builders import a_coverage, a_health, a_request, a_summary, some_counts

from harness.diagnosis import Sentence
from harness.findings import Reading, Summary
from harness.model import RunWarning

SCRIPT = "<script>alert(1)</script>"
ATTRIBUTE = "\" onmouseover='alert(1)' x=\""
TABLE = "a | b\n| c | `d` **e** [f](http://evil.example) ![g](http://evil.example/x.png)"
RIGHT_TO_LEFT = "abc\u202egpj.exe"
NUL = "before\x00after\x1b[31mred"
SURROGATE = "bad\ud800name"
LONG = "x" * 1_000_000
MENTION = "@everyone #1 www.evil.example"
TEMPLATE = "{{ 7 * 7 }} {% raw %}"
MARKUP = "[bold red]loud[/] :skull:"

ALL = (SCRIPT, ATTRIBUTE, TABLE, RIGHT_TO_LEFT, NUL, SURROGATE, LONG, MENTION, TEMPLATE, MARKUP)


def a_hostile_reading(reading: Reading, text: str) -> Reading:
    if reading.name.startswith("lateness"):  # the name is known to the reports, and so are the other fields shown
        return dataclasses.replace(reading, meaning=text, advice=text, worker=text, value=0.03)
    return dataclasses.replace(reading, name=text, meaning=text, advice=text, worker=text, absent=text)


def a_hostile_summary(text: str) -> Summary:
    """A summary that says `text` wherever a text from outside can stand."""
    usual = a_summary()
    renamed: dict[str, Any] = {"run_id": text, "scenario": text, "target": text, "load": text, "span_source": text}
    health = a_health(readings=tuple(a_hostile_reading(r, text) for r in a_health().readings), reasons=(text,))
    return dataclasses.replace(
        usual,
        **renamed,
        reasons=(text,),
        sentences=(Sentence(text),),
        stage_set=text,
        counts=some_counts(errors=((text, 4),)),
        latency=dataclasses.replace(usual.latency, p99=dataclasses.replace(usual.latency.p99, refusal=text)),
        names=tuple(dataclasses.replace(n, name=text) for n in usual.names),
        models=tuple(dataclasses.replace(m, model=text) for m in usual.models),
        slo=tuple(dataclasses.replace(s, expression=text, reason=text) for s in usual.slo),
        health=health,
        waits=tuple(dataclasses.replace(w, resource=text) for w in usual.waits),
        coverage=a_coverage(sentence=text),
        warnings=(RunWarning(text, text, text, True), RunWarning(text, text, text, False)),
        slowest=(dataclasses.replace(a_request(1, 0.5, text), trace_id=text),),
        environment=((text, text),),
    )
