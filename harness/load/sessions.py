"""Starts Locust users as the sessions of a run, and ends them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent

from harness.errors import HarnessError, ScenarioError
from harness.load.foreign import Foreign
from harness.load.place import Place, Rig
from harness.load.users import ScenarioUser, think_time

_READY_S = 10.0  # for the on_start of the first sessions
_END_S = 3.0  # for the on_stop of all sessions
_KILL_S = 0.5  # for what is still in an on_stop then


class Sessions:
    """The users of one load process, of one class or of several in the proportion of their weights.

    `task` replaces the tasks of a user; without one they stay, and Locust runs them.
    """

    def __init__(
        self,
        environment: Any,
        runner: Any,
        classes: Sequence[Any],
        rig: Rig,
        task: Callable[[Any], None] | None,
        foreign: Foreign | None,
    ) -> None:
        self._environment = environment
        self._runner = runner
        self._rig = rig
        self._task = task
        self._foreign = foreign
        self._classes = list(classes)
        self._order: list[Any] = []  # the class of each user of the run, by its number
        self._counts: Counter[Any] = Counter()

    def spawn(self, number: int = 0) -> Any:
        """Start one more user; `number` counts the sessions of this load process.

        What runner.spawn_users does, without counting all users for a log line each time. Raises ScenarioError when
        the class cannot be instantiated.
        """
        kind = self._class_of(number)
        try:
            user = kind(self._environment)
        except HarnessError:
            raise
        except Exception as error:
            message = f"a user of class {kind.__name__} cannot be made: {type(error).__name__}: {error}"
            raise ScenarioError(message, "look at its __init__") from error
        place = getattr(user, "harness_place", None)
        if place is None:
            place = user.harness_place = Place(self._rig)
        place.number = number
        if self._foreign is not None:
            self._foreign.adopt(user)
        self._enlist(user, place)
        user.start(self._runner.user_greenlets).link(lambda _: self._gone(place))
        return user

    def _enlist(self, user: Any, place: Place) -> None:
        """Put the run around what the class's author wrote."""
        on_start, on_stop, loop = user.on_start, user.on_stop, self._rig.closed_loop

        def started() -> None:
            on_start()
            place.started = True
            if loop is not None:
                loop.begin()

        def stopped() -> None:
            place.ended = True
            try:
                on_stop()
            finally:
                close_client(user, place)

        user.on_start, user.on_stop = started, stopped
        if self._task is not None:
            user.tasks = [self._task]
        elif (pause := think_time(place)) is not None:
            user.wait_time = pause

    def _gone(self, place: Place) -> None:
        if self._rig.open_loop is not None:
            self._rig.open_loop.gone(place.seat)
        if self._rig.closed_loop is not None:
            self._rig.closed_loop.gone(place.number, place.started)

    def _class_of(self, number: int) -> Any:
        if len(self._classes) == 1:
            return self._classes[0]
        share = self._rig.share
        wanted = number * share.of + share.index
        while len(self._order) <= wanted:
            self._order.append(next_class(self._classes, self._counts))
            self._counts[self._order[-1]] += 1
        return self._order[wanted]

    @staticmethod
    def retire(user: Any) -> None:
        """Ask a user of a closed loop to end when its present task is over, or at once when it only waits."""
        if not isinstance(user, ScenarioUser):  # that one looks by itself, before each request
            gevent.spawn(user.stop)

    def await_ready(self, loop: Any, stopped: Callable[[], bool]) -> None:
        """Wait for the on_start of the sessions opened so far."""
        until = time.monotonic() + _READY_S
        while loop.starting and time.monotonic() < until and not stopped():
            gevent.sleep(0.01)

    def end(self) -> None:
        """End all users, with their on_stop; whatever hangs is killed."""
        with gevent.Timeout(_END_S, False):
            self._runner.quit()
        self._runner.user_greenlets.kill(timeout=_KILL_S)


def close_client(user: Any, place: Place) -> None:
    """What a user leaves behind is recorded, its connections are dropped."""
    place.settle()
    close = getattr(getattr(user, "client", None), "close", None)
    if close is not None:
        close()


def next_class(classes: Sequence[Any], counts: Mapping[Any, int]) -> Any:
    """The class of the next user: first those with a `fixed_count`, then whichever is most behind its weight.

    `counts`: how many users of each class there are already.
    """
    for kind in classes:
        if counts[kind] < kind.fixed_count:
            return kind
    weighted = [kind for kind in classes if not kind.fixed_count] or list(classes)
    return min(weighted, key=lambda kind: (counts[kind] + 1) / (kind.weight or 1e-9))
