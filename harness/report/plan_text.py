"""The plan of a run as text: what `harness check` prints, and the line before a run."""

from __future__ import annotations

from harness.model import Arrivals, Scenario, SpanSpec
from harness.report.text import visible
from harness.scenario import Plan, PlannedSlo, Rule
from harness.units import format_bytes, format_count, format_duration, format_share

LONGEST = 300
"""Characters of a load profile in words."""


def headline(scenario: Scenario, plan: Plan) -> str:
    """One line before a run; for another host it says how much is about to be sent there."""
    what = f"{visible(scenario.name)} -> {visible(plan.target)}: {visible(plan.load, LONGEST)}, {_all_in_all(plan)}"
    if plan.loopback:
        return what
    return f"{what}\nthis is another host ({visible(plan.host)}): every request says who sends it; Ctrl-C stops"


def render(scenario: Scenario, plan: Plan) -> str:
    """The whole plan."""
    load = scenario.load
    lines = [
        f"scenario  {visible(scenario.name)}",
        f"target    {visible(plan.target)}" + ("" if plan.loopback else "  (another host)"),
        f"load      {visible(plan.load, LONGEST)}{f', {plan.length}' if len(plan.steps) > 1 and plan.length else ''}, "
        f"seed {load.seed}",
        f"time      {_warmup(plan)}, {_length(plan.duration_s - plan.warmup_s)} measured, "
        f"up to {_length(plan.drain_s)} to drain",
        f"requests  {_measured(plan)}",
        *_kinds(scenario, plan),
        f"spans     {_spans(scenario)}",
    ]
    if load.abort_above is not None:
        lines.append(
            f"abort     when more than {format_share(load.abort_above)} of the answers of the last seconds failed"
        )
    return "\n".join(lines + _slos(plan))


def _all_in_all(plan: Plan) -> str:
    length = _length(plan.duration_s)
    if plan.requests is None:
        return f"as many requests as the service answers in {length}"
    if plan.warmup_requests is None:  # a recording: how many fall into the warm-up is known when it is sent
        return f"after {_length(plan.warmup_s)} of it to warm up" if plan.warmup_s else "all of it measured"
    return f"about {_count(plan.requests + plan.warmup_requests)} requests in {length}"


def _warmup(plan: Plan) -> str:
    if plan.warmup_s == 0:
        return "no warm-up"
    text = f"{_length(plan.warmup_s)} warm-up"
    if plan.requests is None:
        return f"{text} (not counted)"
    if plan.warmup_requests is None:
        return f"{text} (the first part of the recording, not counted)"
    return f"{text} (about {_count(plan.warmup_requests)} requests, not counted)"


def _measured(plan: Plan) -> str:
    if plan.requests is None:
        return "as many as the service answers: each user waits for its answer (a closed loop), so no rate is promised"
    if plan.arrivals == Arrivals.REPLAY:
        return f"{_count(plan.requests)} measured, each of the kind that is recorded, or drawn by weight if none is"
    return f"about {_count(plan.requests)} measured"


def _length(seconds: float) -> str:
    return format_duration(seconds, trim=True)


def _count(number: float) -> str:
    return format_count(round(number))


def _kinds(scenario: Scenario, plan: Plan) -> list[str]:
    if scenario.users is not None:
        return [f"          chosen by {visible(scenario.users)}"]
    width = min(24, max((len(visible(kind.name)) for kind in plan.kinds), default=0))
    replayed = plan.arrivals == Arrivals.REPLAY
    shares = ["" if replayed else f"{format_share(kind.share):>6}  " for kind in plan.kinds]
    return [
        f"          {visible(kind.name):<{width}}  {share}{kind.method} {visible(kind.path)}"
        + (f"  {format_bytes(kind.body_bytes)} on average" if kind.body_bytes else "")
        + (f", {format_count(kind.payloads)} payloads" if kind.payloads else "")
        for kind, share in zip(plan.kinds, shares, strict=True)
    ]


def _spans(scenario: Scenario) -> str:
    spans = scenario.spans
    if spans.source == "none":
        return "none: latency only, no split"
    share = "" if spans.sampled == 1.0 else f", {format_share(spans.sampled)} of the requests sampled"
    preset = f", preset {spans.preset}" if spans.preset else ""
    return f"{spans.source} ({visible(_where_from(spans))}){preset}{share}"


def _where_from(spans: SpanSpec) -> str:
    if spans.address is not None:
        return spans.address
    ports = {"HTTP": spans.listen, "gRPC": spans.listen_grpc}
    open_ports = [f"OTLP/{protocol} on {address}" for protocol, address in ports.items() if address]
    return ", ".join(open_ports) if open_ports and spans.source != "server-timing" else "no receiver"


def _slos(plan: Plan) -> list[str]:
    if not plan.slos:
        return ["slo       none: the run measures and does not judge"]
    heads = ["slo       ", *["          "] * (len(plan.slos) - 1)]
    lines = [
        f"{head}{visible(slo.expression, LONGEST)}: {_needs(slo)}, {_given(slo)}"
        for head, slo in zip(heads, plan.slos, strict=True)
    ]
    short = {slo.rule for slo in plan.slos if slo.enough is False}
    if short - {Rule.COUNT, Rule.RATE}:
        lines.append(f"          {_more(plan)}, or the answer will be: not enough data")
    if short & {Rule.COUNT, Rule.RATE}:
        lines.append("          what asks for more than is sent cannot be met: lower it, or send more (--rate)")
    return lines


def _needs(slo: PlannedSlo) -> str:
    needs = format_count(slo.needs)
    if slo.rule is Rule.RATE and slo.seconds is not None:
        return f"needs {needs} {slo.of} in {_length(slo.seconds)}"
    if slo.rule is Rule.COUNT:
        return f"needs {needs} {slo.of}" if slo.needs else f"counts {slo.of}"
    if slo.rule is Rule.EACH:
        return f"fails with the first of the {slo.of} against it"
    return f"needs {needs} {slo.of} with none against it" if slo.needs else "decided by an interval"


def _given(slo: PlannedSlo) -> str:
    if slo.expected is None:
        return "how many there will be depends on the service"
    if slo.of == "readings":
        few = "" if slo.enough else ": TOO FEW"
        return f"each instrumented process of the service sends about {_count(slo.expected)}{few}"
    return f"the plan gives about {_count(slo.expected)}{' such' if slo.some else ''}{_doubt(slo, slo.expected)}"


def _doubt(slo: PlannedSlo, expected: float) -> str:
    """A Poisson number of arrivals varies by its square root; twice that is not rare."""
    if not slo.enough:
        return ": TOO FEW"
    return ", which is tight" if slo.needs and expected - 2 * expected**0.5 < slo.needs else ""


def _more(plan: Plan) -> str:
    return (
        "replay a longer recording"
        if plan.arrivals == Arrivals.REPLAY
        else "run longer (--duration) or faster (--rate)"
    )
