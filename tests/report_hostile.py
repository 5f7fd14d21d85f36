"""Text that tries to leave its place in a report, and summaries full of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from report_builders import NOTHING, a_coverage, a_health, a_request, some_counts
from report_diagnosed import a_diagnosed_summary

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


def hostile_diagnosis(usual: Summary, text: str) -> dict[str, Any]:
    """The fields that explain the run, with `text` in each that a service, a scenario or a damaged file fills."""
    assert usual.tail is not None
    refused = dataclasses.replace(NOTHING, refusal=text)
    latency = dataclasses.replace(usual.latency, p50=refused, p99=refused)
    whole = dataclasses.replace(latency, p95=refused)
    steps = [dataclasses.replace(s, sentence=text, checks=((text, 3),), latency=latency) for s in usual.steps]
    steps[-1] = dataclasses.replace(steps[-1], sentence="unstable", latency=whole)
    shares = tuple(dataclasses.replace(s, stage=text) for s in usual.tail.shares)
    return {
        "steps": tuple(steps),
        "tail": dataclasses.replace(usual.tail, of=text, shares=shares),
        "work": tuple(dataclasses.replace(w, stage=text) for w in usual.work),
        "growth": tuple(dataclasses.replace(g, stage=text, change=refused) for g in usual.growth),
        "blame": tuple(
            dataclasses.replace(b, resource=text, stage=b.stage and text, model=b.model and text, name=b.name and text)
            for b in usual.blame
        ),
        "contrasts": tuple(dataclasses.replace(c, attribute=text, value=text, sentence=text) for c in usual.contrasts),
        "causes": tuple(
            dataclasses.replace(c, code=text, stage=text, resource=text, model=text, sentence=text, remedy=text,
                                evidence=(text, text))
            for c in usual.causes
        ),
    }  # fmt: skip


def a_hostile_summary(text: str) -> Summary:
    """A summary that says `text` wherever a text from outside can stand."""
    usual = a_diagnosed_summary()
    renamed: dict[str, Any] = {"run_id": text, "scenario": text, "target": text, "load": text, "span_source": text}
    health = a_health(readings=tuple(a_hostile_reading(r, text) for r in a_health().readings), reasons=(text,))
    return dataclasses.replace(
        usual,
        **renamed,
        reasons=(text,),
        sentences=(Sentence(text, (text, text)), Sentence(text)),
        **hostile_diagnosis(usual, text),
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
