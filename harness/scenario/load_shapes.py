"""The keys of the `load:` section that say how much: rate, steps, ramp, spike, users -> steps of a load profile."""

from __future__ import annotations

from harness.errors import ScenarioError
from harness.model import Step
from harness.scenario.document import Block, Entry, Items, Node
from harness.scenario.values import fields_of, items_of, parsed, whole_of
from harness.units import format_duration, format_rate, parse_duration_s, parse_rate_per_s

LONGEST_S = 7 * 24 * 3600.0
HIGHEST_RATE = 100_000.0
MOST_STEPS = 1000
MOST_USERS = 10_000


def read_rate(node: Node, duration_s: float) -> tuple[Step, ...]:
    """rate: 4/s"""
    return (Step(_rate(node, "rate in load"), duration_s),)


def read_steps(node: Node, duration_s: float) -> tuple[Step, ...]:
    """steps: [2/s, 4/s], each `duration_s` long."""
    return tuple(Step(_rate(item, "steps in load"), duration_s) for item in _steps(node, "steps in load"))


def read_ramp(node: Node, duration_s: float) -> tuple[Step, ...]:
    """ramp: {from: 1/s, to: 8/s}: one step."""
    fields = _all_of(node, "ramp", ("from", "to"), "ramp: {from: 1/s, to: 8/s}")
    low, high = (_rate(fields[key].node, f"{key} in ramp") for key in ("from", "to"))
    return (Step(low, duration_s, high),)


def read_spike(node: Node, duration_s: float) -> tuple[Step, ...]:
    """spike: {base: 5/s, peak: 50/s, at: 10s, for: 5s}: three steps that last `duration_s` together."""
    example = "spike: {base: 5/s, peak: 50/s, at: 10s, for: 5s}"
    fields = _all_of(node, "spike", ("base", "peak", "at", "for"), example)
    base, peak = (_rate(fields[key].node, f"{key} in spike") for key in ("base", "peak"))
    at_s, for_s = (read_duration(fields[key].node, f"{key} in spike") for key in ("at", "for"))
    if peak <= base:
        problem = f"the peak of the spike, {format_rate(peak)}, is not above its base, {format_rate(base)}"
        raise ScenarioError(problem, example, fields["peak"].where)
    rest_s = round(duration_s - at_s - for_s, 9)
    if rest_s <= 0:
        end, whole = (format_duration(seconds, trim=True) for seconds in (at_s + for_s, duration_s))
        problem = f"the spike ends {end} after it all began, the duration is {whole}"
        hint = "duration is base, peak and base again together: raise it, or let the spike come earlier"
        raise ScenarioError(problem, hint, fields["for"].where)
    return Step(base, at_s), Step(peak, for_s), Step(base, rest_s)


def read_users(node: Node, duration_s: float) -> tuple[Step, ...]:
    """users: 16, or [4, 8, 16] (each `duration_s` long), or {from: 1, to: 32} (one step)."""
    if isinstance(node, Block):
        fields = _all_of(node, "users in load", ("from", "to"), "users: {from: 1, to: 32}")
        low, high = (_users(fields[key].node, f"{key} of users in load") for key in ("from", "to"))
        return (Step(low, duration_s, high),)
    items = _steps(node, "users in load") if isinstance(node, Items) else (node,)
    return tuple(Step(_users(item, "users in load"), duration_s) for item in items)


def read_duration(node: Node, what: str, *, zero: bool = False) -> float:
    """Seconds, at most a week."""
    seconds = parsed(node, what, parse_duration_s)
    if seconds <= 0 and not zero:
        raise ScenarioError(f"{what} must be above 0", "write 30s for example", node.where)
    if seconds > LONGEST_S:
        raise ScenarioError(f"{what} is longer than a week", "write 30s or 10min for example", node.where)
    return seconds


def _rate(node: Node, what: str) -> float:
    rate = parsed(node, what, parse_rate_per_s)
    if rate <= 0:
        raise ScenarioError(f"{what} must be above 0", "write 4/s, or 30/min for less than one a second", node.where)
    if rate > HIGHEST_RATE:
        problem = f"{what} is above {format_rate(HIGHEST_RATE)}, more than one machine can send"
        raise ScenarioError(problem, "lower it", node.where)
    return rate


def _users(node: Node, what: str) -> float:
    return float(whole_of(node, what, 1, MOST_USERS, "16"))


def _steps(node: Node, what: str) -> tuple[Node, ...]:
    items = items_of(node, what)
    if len(items) > MOST_STEPS:
        raise ScenarioError(f"{what} has more than {MOST_STEPS} steps", None, node.where)
    return items


def _all_of(node: Node, what: str, keys: tuple[str, ...], example: str) -> dict[str, Entry]:
    fields = fields_of(node, what, keys)
    for key in keys:
        if key not in fields:
            raise ScenarioError(f"{what} does not say '{key}'", f"write {example}", node.where)
    return fields
