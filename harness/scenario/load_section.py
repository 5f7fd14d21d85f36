"""The `load:` section: arrivals over time."""

from __future__ import annotations

from harness.errors import ScenarioError
from harness.model import Arrivals, LoadProfile, Step
from harness.scenario.document import Block, Node
from harness.scenario.values import choice_of, fields_of, items_of, parsed, whole_of
from harness.units import format_count, format_rate, parse_duration_s, parse_rate_per_s

WARMUP_S = 5.0
DURATION_S = 30.0
DRAIN_S = 30.0
SEED = 1
LONGEST_S = 7 * 24 * 3600.0
HIGHEST_RATE = 100_000.0
MOST_STEPS = 1000
MOST_REQUESTS = 10_000_000

_KEYS = ("arrivals", "rate", "steps", "warmup", "duration", "drain", "seed")
_STEPS = "write the rates one by one: steps: [2/s, 4/s, 6/s]"
_LATER = {"ramp": _STEPS, "spike": _STEPS, "users": "give a rate of arrivals: rate: 4/s"}
_OPEN_LOOP = "arrivals: poisson with rate: 4/s works"


def read_load(node: Node) -> LoadProfile:
    """The load profile. Raises ScenarioError, also for a plan that sends nothing or more than can be kept."""
    fields = fields_of(node, "load", _KEYS, _LATER)
    arrivals = Arrivals.POISSON
    if "arrivals" in fields:
        later = {"users": _OPEN_LOOP, "replay": _OPEN_LOOP}
        arrivals = Arrivals(
            choice_of(fields["arrivals"].node, "arrivals", (Arrivals.POISSON, Arrivals.CONSTANT), later)
        )
    if "rate" in fields and "steps" in fields:
        raise ScenarioError("load has both rate and steps", "keep one of the two", fields["steps"].where)
    if "steps" in fields:
        items = items_of(fields["steps"].node, "steps in load")
        if len(items) > MOST_STEPS:
            raise ScenarioError(f"steps in load has more than {MOST_STEPS} steps", None, fields["steps"].where)
        rates = tuple(_rate(item, "steps in load") for item in items)
    elif "rate" in fields:
        rates = (_rate(fields["rate"].node, "rate in load"),)
    else:
        raise ScenarioError("load does not say how much", "add rate: 4/s (or --rate 4/s)", node.where)
    duration_s = _duration(fields["duration"].node, "duration in load") if "duration" in fields else DURATION_S
    load = LoadProfile(
        arrivals=arrivals,
        steps=tuple(Step(rate, duration_s) for rate in rates),
        warmup_s=_duration(fields["warmup"].node, "warmup in load", zero=True) if "warmup" in fields else WARMUP_S,
        drain_s=_duration(fields["drain"].node, "drain in load", zero=True) if "drain" in fields else DRAIN_S,
        seed=whole_of(fields["seed"].node, "seed in load", 0, 2**63 - 1, "7") if "seed" in fields else SEED,
    )
    _check_amount(load, fields["duration"].where if "duration" in fields else _first_line(node))
    return load


def _rate(node: Node, what: str) -> float:
    rate = parsed(node, what, parse_rate_per_s)
    if rate <= 0:
        raise ScenarioError(f"{what} must be above 0", "write 4/s, or 30/min for less than one a second", node.where)
    if rate > HIGHEST_RATE:
        problem = f"{what} is above {format_rate(HIGHEST_RATE)}, more than one machine can send"
        raise ScenarioError(problem, "lower it", node.where)
    return rate


def _duration(node: Node, what: str, *, zero: bool = False) -> float:
    seconds = parsed(node, what, parse_duration_s)
    if seconds <= 0 and not zero:
        raise ScenarioError(f"{what} must be above 0", "write 30s for example", node.where)
    if seconds > LONGEST_S:
        raise ScenarioError(f"{what} is longer than a week", "write 30s or 10min for example", node.where)
    return seconds


def _check_amount(load: LoadProfile, where: str) -> None:
    measured = sum(step.expected for step in load.steps)
    total = measured + load.steps[0].level * load.warmup_s
    if measured < 1:
        problem = (
            f"less than one request would be measured: {format_rate(load.steps[0].level)} is too slow for the duration"
        )
        raise ScenarioError(problem, "raise the rate or the duration", where)
    if total > MOST_REQUESTS:
        problem = f"{format_count(round(total))} requests are planned, at most {format_count(MOST_REQUESTS)} can be"
        raise ScenarioError(problem, "lower the rate or the duration", where)


def _first_line(node: Node) -> str:
    return node.entries[0].where if isinstance(node, Block) and node.entries else node.where
