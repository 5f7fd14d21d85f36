"""The `load:` section: arrivals over time."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from harness.errors import HarnessError, ScenarioError, nearest
from harness.model import Arrivals, LoadProfile, Replay, Step
from harness.scenario.document import Block, Entry, Items, Node
from harness.scenario.files import payload_paths
from harness.scenario.load_shapes import (
    HIGHEST_RATE,
    LONGEST_S,
    read_duration,
    read_ramp,
    read_rate,
    read_spike,
    read_steps,
    read_users,
)
from harness.scenario.values import choice_of, fields_of, items_of, number_of, text_of, whole_of
from harness.units import format_count, format_duration, format_rate, parse_share, quoted

WARMUP_S = 5.0
DURATION_S = 30.0
DRAIN_S = 30.0
SEED = 1
MOST_REQUESTS = 10_000_000
MOST_SPEED = 1000.0

_READERS = {
    "rate": read_rate,
    "steps": read_steps,
    "ramp": read_ramp,
    "spike": read_spike,
    "users": read_users,
}
_AMOUNTS = (*_READERS, "replay")
_KEYS = ("arrivals", *_AMOUNTS, "think", "warmup", "duration", "drain", "seed", "abort_on")
_IMPLIED = {"users": Arrivals.USERS, "replay": Arrivals.REPLAY}
_NEEDS = {
    Arrivals.USERS: ("users", "write users: 16 for example"),
    Arrivals.REPLAY: ("replay", "write replay: arrivals.csv, or the folder of a run"),
}
_ABORT = re.compile(r"error_rate\s*>\s*(\S+)")

Fields = Mapping[str, Entry]


def read_load(node: Node, folder: Path = Path(), names: Collection[str] | None = None) -> LoadProfile:
    """The load profile. `names` are those of the requests that a replay may ask for; None when a user class decides.

    Raises ScenarioError, also for a plan that sends nothing or more than can be kept.
    """
    fields = fields_of(node, "load", _KEYS)
    amount = _amount(fields, node)
    arrivals = _arrivals(fields, amount)
    warmup_s = read_duration(fields["warmup"].node, "warmup in load", zero=True) if "warmup" in fields else WARMUP_S
    replay: Replay | None = None
    if amount.key == "replay":
        replay, steps = _replay(fields, folder, names, warmup_s)
    else:
        duration_s = read_duration(fields["duration"].node, "duration in load") if "duration" in fields else DURATION_S
        steps = _READERS[amount.key](amount.node, duration_s)
    load = LoadProfile(
        arrivals=arrivals,
        steps=steps,
        warmup_s=warmup_s,
        drain_s=read_duration(fields["drain"].node, "drain in load", zero=True) if "drain" in fields else DRAIN_S,
        seed=whole_of(fields["seed"].node, "seed in load", 0, 2**63 - 1, "7") if "seed" in fields else SEED,
        think_s=_think(fields, arrivals),
        replay=replay,
        abort_above=_abort_above(fields["abort_on"].node) if "abort_on" in fields else None,
    )
    _check_amount(load, fields["duration"].where if "duration" in fields else _first_line(node))
    return load


def _amount(fields: Fields, node: Node) -> Entry:
    """The one entry that says how much."""
    given = [fields[key] for key in _AMOUNTS if key in fields]
    if len(given) > 1:
        problem = f"load has both {given[0].key} and {given[1].key}"
        raise ScenarioError(problem, "keep one of the two", given[1].where)
    if given:
        return given[0]
    for arrivals, (key, hint) in _NEEDS.items():
        entry = fields.get("arrivals")
        if entry is not None and text_of(entry.node, "arrivals") == arrivals:
            raise ScenarioError(f"arrivals: {arrivals} needs {key} in load", hint, entry.where)
    raise ScenarioError("load does not say how much", "add rate: 4/s (or --rate 4/s), or users: 16", node.where)


def _arrivals(fields: Fields, amount: Entry) -> Arrivals:
    implied = _IMPLIED.get(amount.key)
    if "arrivals" not in fields:
        return implied or Arrivals.POISSON
    node = fields["arrivals"].node
    arrivals = Arrivals(choice_of(node, "arrivals", tuple(Arrivals)))
    if implied is not None and arrivals is not implied:
        hint = f"delete it: {amount.key} means arrivals: {implied}"
        raise ScenarioError(f"arrivals: {arrivals} does not go with {amount.key}", hint, node.where)
    if implied is None and arrivals in _NEEDS:
        hint = f"{_NEEDS[arrivals][1]} instead of {amount.key}, or arrivals: poisson"
        raise ScenarioError(f"arrivals: {arrivals} does not go with {amount.key}", hint, node.where)
    return arrivals


def _think(fields: Fields, arrivals: Arrivals) -> tuple[float, float]:
    """think: 500ms, or [200ms, 2s]: the pause of a user after each answer."""
    if "think" not in fields:
        return 0.0, 0.0
    entry = fields["think"]
    if arrivals is not Arrivals.USERS:
        hint = "delete it, or give users: 16 instead: only users wait for an answer before they send again"
        raise ScenarioError(f"think in load does not go with {arrivals} arrivals", hint, entry.where)
    if not isinstance(entry.node, Items):
        seconds = read_duration(entry.node, "think in load", zero=True)
        return seconds, seconds
    items = items_of(entry.node, "think in load")
    bounds = [read_duration(item, "think in load", zero=True) for item in items]
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        problem = "think in load should be one pause, or the shortest and the longest"
        raise ScenarioError(problem, "write think: 500ms or think: [200ms, 2s]", entry.where)
    return bounds[0], bounds[1]


def _abort_above(node: Node) -> float:
    text = text_of(node, "abort_on in load").strip()
    hint = "write abort_on: error_rate > 50%"
    match = _ABORT.fullmatch(text)
    if match is None:
        raise ScenarioError(f"abort_on in load cannot be {quoted(text)}", hint, node.where)
    try:
        share = parse_share(match[1])
    except HarnessError as error:
        raise ScenarioError(f"abort_on in load: {error.message}", error.hint, node.where) from None
    if share == 1:
        raise ScenarioError("abort_on in load: no more than all can fail", hint, node.where)
    return share


# --- replay ------------------------------------------------------------------------------------------------


def _replay(
    fields: Fields, folder: Path, names: Collection[str] | None, warmup_s: float
) -> tuple[Replay, tuple[Step, ...]]:
    """replay: PATH, or {from: PATH, speed: 2}."""
    entry = fields["replay"]
    if "duration" in fields:
        hint = "delete it; replay: {from: PATH, speed: 2} takes half the time"
        raise ScenarioError(
            "duration does not go with replay, which lasts as long as it did", hint, fields["duration"].where
        )
    node, speed = entry.node, 1.0
    if isinstance(node, Block):
        inner = fields_of(node, "replay in load", ("from", "speed"))
        if "from" not in inner:
            raise ScenarioError(
                "replay in load does not say 'from'", "write replay: {from: PATH, speed: 2}", node.where
            )
        node = inner["from"].node
        speed = _speed(inner["speed"].node) if "speed" in inner else 1.0
    path = _recording_path(node, folder)

    from harness.scenario.replay_file import read_recording  # numpy and pyarrow: only those who replay wait for them

    recorded = read_recording(path, speed, node.where)
    if names is not None:
        _check_names(recorded.names, names, node)
    where = fields["warmup"].where if "warmup" in fields else node.where
    length_s = recorded.length_s
    measured = len(recorded.at_s) - int(recorded.at_s.searchsorted(warmup_s))
    if measured == 0:
        problem = (
            f"the recording ends after {format_duration(length_s, trim=True)}, within the warm-up of "
            f"{format_duration(warmup_s, trim=True)}"
        )
        raise ScenarioError(problem, "write warmup: 0s to measure all of it", where)
    step = Step(measured / (length_s - warmup_s), length_s - warmup_s)
    if not step.level <= HIGHEST_RATE:
        problem = f"the recording has {format_rate(step.level)}, at most {format_rate(HIGHEST_RATE)} can be sent"
        raise ScenarioError(problem, "replay it slower: replay: {from: PATH, speed: 0.1}", node.where)
    return Replay(path, speed), (step,)


def _recording_path(node: Node, folder: Path) -> str:
    written = text_of(node, "replay in load").strip()
    if os.path.isdir(folder / written):
        return os.path.abspath(folder / written)
    if os.path.exists(written) and not os.path.exists(folder / written):  # runs are often stored below where one works
        problem = f"replay in load: {quoted(written, 200)} is not there, seen from the folder of the scenario"
        raise ScenarioError(problem, f"write replay: {os.path.relpath(written, folder)}", node.where)
    paths = payload_paths(node, "replay in load", folder)
    if isinstance(node, Items) or len(paths) != 1:
        raise ScenarioError("replay in load names more than one file", "name one recording", node.where)
    return paths[0]


def _speed(node: Node) -> float:
    speed = number_of(node, "speed in replay", "2")
    if not 1 / MOST_SPEED <= speed <= MOST_SPEED:
        problem = f"speed in replay should lie between {1 / MOST_SPEED:g} and {MOST_SPEED:g}"
        raise ScenarioError(problem, "2 replays in half the time, 0.5 in twice the time", node.where)
    return speed


def _check_names(recorded: Collection[str], names: Collection[str], node: Node) -> None:
    for name in recorded:
        if name not in names:
            problem = f"the recording has requests named {quoted(name)}, the scenario has none"
            raise ScenarioError(problem, nearest(name, names), node.where)


# --- amounts -----------------------------------------------------------------------------------------------


def _check_amount(load: LoadProfile, where: str) -> None:
    if load.measured_s > LONGEST_S:
        raise ScenarioError("the load profile is longer than a week", "lower the duration", where)
    if load.arrivals in _NEEDS:  # nobody knows, or the recording has its own bounds
        return
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
