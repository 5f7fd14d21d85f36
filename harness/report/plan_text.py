"""The plan of a run as text: what `harness check` prints, and the line before a run."""

from __future__ import annotations

from harness.model import Scenario
from harness.report.text import visible
from harness.scenario import Plan, PlannedSlo
from harness.units import format_bytes, format_count, format_duration, format_rate, format_share


def headline(scenario: Scenario, plan: Plan) -> str:
    """One line before a run; for another host it says how much is about to be sent there."""
    what = (
        f"{visible(scenario.name)} -> {visible(plan.target)}: {plan.arrivals} {_rates(plan)}, "
        f"about {_count(plan.requests + plan.warmup_requests)} requests in {_length(plan.duration_s)}"
    )
    if plan.loopback:
        return what
    return f"{what}\nthis is another host ({visible(plan.host)}): every request says who sends it; Ctrl-C stops"


def render(scenario: Scenario, plan: Plan) -> str:
    """The whole plan."""
    lines = [
        f"scenario  {visible(scenario.name)}",
        f"target    {visible(plan.target)}" + ("" if plan.loopback else "  (another host)"),
        f"load      {plan.arrivals} {_rates(plan)}, seed {scenario.load.seed}",
        f"time      {_length(plan.warmup_s)} warm-up (about {_count(plan.warmup_requests)} requests, not counted), "
        f"{_length(plan.duration_s - plan.warmup_s)} measured, up to {_length(plan.drain_s)} to drain",
        f"requests  about {_count(plan.requests)} measured",
        *_kinds(scenario, plan),
        f"spans     {_spans(scenario)}",
    ]
    return "\n".join(lines + _slos(plan))


def _rates(plan: Plan) -> str:
    return " -> ".join(format_rate(step.rate_per_s) for step in plan.steps)


def _length(seconds: float) -> str:
    return format_duration(seconds, trim=True)


def _count(number: float) -> str:
    return format_count(round(number))


def _kinds(scenario: Scenario, plan: Plan) -> list[str]:
    if scenario.users is not None:
        return [f"          chosen by {visible(scenario.users)}"]
    width = min(24, max((len(visible(kind.name)) for kind in plan.kinds), default=0))
    return [
        f"          {visible(kind.name):<{width}}  {format_share(kind.share):>6}  {kind.method} {visible(kind.path)}"
        + (f"  {format_bytes(kind.body_bytes)} on average" if kind.body_bytes else "")
        + (f", {format_count(kind.payloads)} payloads" if kind.payloads else "")
        for kind in plan.kinds
    ]


def _spans(scenario: Scenario) -> str:
    spans = scenario.spans
    if spans.source == "none":
        return "none: latency only, no split"
    listening = f"OTLP/HTTP on {spans.listen}" if spans.listen and spans.source != "server-timing" else "no receiver"
    share = "" if spans.sampled == 1.0 else f", {format_share(spans.sampled)} of the requests sampled"
    return f"{spans.source} ({listening}){share}"


def _doubt(slo: PlannedSlo) -> str:
    """A Poisson number of arrivals varies by its square root; twice that is not rare."""
    if not slo.enough:
        return ": TOO FEW"
    return ", which is tight" if slo.needs and slo.expected - 2 * slo.expected**0.5 < slo.needs else ""


def _slos(plan: Plan) -> list[str]:
    if not plan.slos:
        return ["slo       none: the run measures and does not judge"]
    lines = []
    for number, slo in enumerate(plan.slos):
        head = "slo       " if number == 0 else "          "
        needs = (
            f"needs {format_count(slo.needs)} requests with none against it" if slo.needs else "decided by an interval"
        )
        expected = f"the plan gives about {_count(slo.expected)}"
        lines.append(f"{head}{visible(slo.expression)}: {needs}, {expected}{_doubt(slo)}")
    if not all(slo.enough for slo in plan.slos):
        lines.append("          run longer (--duration) or faster (--rate), or the answer will be: not enough data")
    return lines
