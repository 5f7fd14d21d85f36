"""What a scenario's sessions do: which user classes there are, and the payload or task of each request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.arrivals import Schedule, schedule
from harness.errors import ScenarioError
from harness.load.order import Order
from harness.load.payloads import Draws, Payload, PayloadSet, payload_sets
from harness.load.user_file import import_users
from harness.load.users import ScenarioUser, task_draws
from harness.model import Arrivals, Scenario
from harness.scenario.replay_file import read_recording


@dataclass(frozen=True, slots=True)
class Jobs:
    """The work of one load process. `schedule` is None in a closed loop, where `planned` is 0.

    `payload` gives the payload of a request id, None when a user class decides; `job_of` the payload or the task of an
    arrival.
    """

    users: tuple[Any, ...]
    schedule: Schedule | None
    payload: Callable[[int], Payload] | None
    job_of: Callable[[int], Any]

    @property
    def planned(self) -> int:
        """Arrivals of the whole run: ids from here on are free."""
        return 0 if self.schedule is None else self.schedule.planned


def jobs_of(order: Order) -> Jobs:
    """Read what is needed. Raises ScenarioError for a file or class that cannot be used."""
    scenario, load = order.scenario, order.scenario.load
    closed = load.arrivals is Arrivals.USERS
    recorded = None if load.replay is None else read_recording(load.replay.path, load.replay.speed)
    arrivals = None if closed else schedule(load, order.share, recorded)
    if scenario.users is not None:
        users = tuple(import_users(scenario.users, closed))
        return Jobs(users, arrivals, None, task_draws(list(users[0].tasks), load.seed))
    sets = payload_sets(scenario.requests, scenario.target, order.run_id)
    draws = Draws(sets, [r.weight for r in scenario.requests], load.seed)
    payload: Callable[[int], Payload] = always(sets) or draws
    if arrivals is not None and arrivals.kind is not None:
        payload = _replayed(draws, arrivals, scenario)
    return Jobs((ScenarioUser,), arrivals, payload, payload)


def always(sets: Sequence[PayloadSet]) -> Callable[[int], Payload] | None:
    """The only payload there is, without a draw; None when there are several, or one that is made anew each time."""
    only = sets[0]
    if len(sets) > 1 or only.size != 1 or only.make is not None or only.kind.expect.sampled < 1:
        return None
    payload = only.get(0)
    return (lambda _request_id: payload) if only.get(0) is payload else None


def _replayed(draws: Draws, arrivals: Schedule, scenario: Scenario) -> Callable[[int], Payload]:
    """Payloads of the kind that each recorded request had."""
    assert arrivals.kind is not None  # noqa: S101 - the caller looked
    own = {request.name: index for index, request in enumerate(scenario.requests)}
    unknown = [name for name in arrivals.kind_names if name not in own]
    if unknown:
        raise ScenarioError(
            f"the recording has requests that the scenario has not: {', '.join(unknown[:5])}",
            "name the scenario's requests as they are named in the recording",
        )
    index_of = [own[name] for name in arrivals.kind_names]
    ids, kinds = arrivals.request_id, arrivals.kind

    def payload(request_id: int) -> Payload:
        return draws(request_id, index_of[kinds[int(ids.searchsorted(request_id))]])

    return payload
