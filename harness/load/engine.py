"""One run of one load process: Locust's runner and users, the open loop, the recorder and the health watch together."""

from __future__ import annotations

import gc
import itertools
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import gevent
import locust
from gevent.event import Event
from locust.env import Environment

from harness.arrivals import Schedule, schedule
from harness.errors import HarnessError
from harness.load.channel import keep_kernel_stamps_on
from harness.load.desk import Desk
from harness.load.health import Health, raise_descriptor_limit
from harness.load.open_loop import MAX_SESSIONS, OpenLoop
from harness.load.order import Order
from harness.load.payloads import Draws, payload_sets
from harness.load.recorder import Recorder
from harness.load.user_file import import_user
from harness.load.users import HarnessUser, Rig, ScenarioUser, job_name, task_draws
from harness.model import Phase, Scenario

FIRST_SESSIONS = 8
PROGRESS_S = 0.5
STOP_DRAIN_S = 2.0
_READY_S = 10.0  # for the on_start of the first sessions
_END_S = 3.0  # for the on_stop of all sessions
_clock = time.perf_counter_ns

Emit = Callable[[dict[str, Any]], None]


class Engine:
    """Runs a scenario once. `stop` may be called from any greenlet."""

    def __init__(self, order: Order, emit: Emit, sink: IO[bytes] | None = None, runner: Any = None) -> None:
        """`sink` takes the sample chunks instead of a file in the run folder; `runner` is Locust's, when there is one
        already (a worker of a master)."""
        scenario, worker, run_id = order.scenario, order.worker, order.run_id
        self._order = order
        self._scenario = scenario
        self._emit = emit
        self._stopped = Event()
        self._schedule: Schedule = schedule(scenario.load, order.share)
        user_class, job_of = _users_and_jobs(scenario, run_id)
        self._health = Health()
        self._recorder = Recorder(Path(order.run_dir) / f"samples-{worker}.arrows", sink)
        self._desk = Desk(run_id, worker, scenario.spans.sampled, self._recorder)
        self._loop = OpenLoop(self._schedule, job_of, self._spawn, self._health, order.max_sessions or MAX_SESSIONS)
        extra = itertools.count(self._schedule.planned + order.share.index, order.share.of)
        self._rig = Rig(self._desk, scenario.target, extra, self._loop, self._no_request)
        self._environment = (
            Environment(events=locust.events, host=scenario.target) if runner is None else runner.environment
        )
        self._environment.user_classes = [user_class]
        self._environment.harness_rig = self._rig
        user_class.host = scenario.target
        self._user_class = user_class
        self._runner = runner or self._environment.create_local_runner()
        self._environment.events.user_error.add_listener(self._task_error)
        self._task_errors: Counter[str] = Counter()
        self._warned: set[str] = set()
        self._t0 = 0
        self._stopped_at: int | None = None
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """No more arrivals; requests in flight get a little time, the rest is kept as censored."""
        if self._stopped_at is None:
            self._stopped_at = _clock()
        self._stopped.set()

    def run(self, wait_for_start: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """The whole run; returns the end line. Raises HarnessError when the run cannot begin.

        `wait_for_start` is called when all is ready for the first arrival, and returns when the others are, too.
        """
        raise_descriptor_limit()
        stamps = keep_kernel_stamps_on()
        events = self._environment.events
        events.init.fire(environment=self._environment, runner=self._runner, web_ui=None)
        events.test_start.fire(environment=self._environment)
        self._open_sessions()
        gc.collect()
        gc.freeze()  # what is loaded by now is never garbage: later collections need not look at it
        wait_for_start()
        self._health.start()
        self._t0 = _clock() + 20_000_000
        chores = gevent.spawn(self._chores)
        try:
            self._send_and_drain()
        finally:
            ended_at = _clock()
            self._health.stop()
            self._end_sessions()
            chores.kill()
            self._recorder.close()
            self._mention_lost_rows()
            if stamps is not None:
                stamps.close()
        return self._end_line(ended_at)

    # --- sessions -----------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        # What runner.spawn_users does, without counting all users for a log line each time.
        user = self._user_class(self._environment)
        greenlet = user.start(self._runner.user_greenlets)
        greenlet.link(lambda _: self._loop.gone(user.seat))

    def _open_sessions(self) -> None:
        for _ in range(min(FIRST_SESSIONS, len(self._schedule))):
            self._loop.spawn()
        until = time.monotonic() + _READY_S
        while self._loop.starting and time.monotonic() < until and not self._stopped.is_set():
            gevent.sleep(0.01)

    def _end_sessions(self) -> None:
        self._rig.over = self._loop.closed = True
        with gevent.Timeout(_END_S, False):
            self._runner.quit()
        for arrival in self._loop.pending:
            self._desk.never_sent(job_name(arrival.job), arrival.slot)
        self._loop.pending.clear()

    def _send_and_drain(self) -> None:
        sender = gevent.spawn(self._send)
        gevent.wait([sender, self._stopped], count=1)
        sender.kill()
        drain_s = self._scenario.load.drain_s
        if self._stopped.is_set():
            drain_s = min(drain_s, STOP_DRAIN_S)
        deadline = _clock() + round(drain_s * 1e9)
        while (self._loop.in_flight or self._loop.pending) and _clock() < deadline:
            gevent.sleep(0.01)
            if self._stopped_at is not None:  # asked to stop while draining
                deadline = min(deadline, self._stopped_at + round(STOP_DRAIN_S * 1e9))

    def _send(self) -> None:
        try:
            self._loop.run(self._t0)
        except HarnessError as error:  # a payload that could be read before, and cannot any more
            self._warn("sender", error.message, error.hint or "", invalidates=True)
            self.stop()

    # --- what is said -------------------------------------------------------------------------------------

    def _task_error(self, user_instance: Any, exception: BaseException, **_: Any) -> None:
        what = f"{type(exception).__name__}: {' '.join(str(exception).split())[:200]}"
        self._task_errors[what] += 1
        if what not in self._warned and len(self._warned) < 50:
            self._warned.add(what)
            traceback.print_exception(exception)  # to the log of this process
            message = f"a task of {self._user_class.__name__} failed: {what}"
            self._warn("task_error", message, "load-*.log in the run folder has the traceback", invalidates=True)

    def _no_request(self, task: str) -> None:
        if task not in self._warned:
            self._warned.add(task)
            self._warn("no_request", f"the task {task} ended without a request", "its arrivals leave no sample")

    def _warn(self, code: str, message: str, hint: str, invalidates: bool = False) -> None:
        self._emit({"kind": "warning", "code": code, "message": message, "hint": hint, "invalidates": invalidates})

    def _chores(self) -> None:
        for turn in itertools.count(1):
            gevent.sleep(PROGRESS_S)
            if turn % 2 == 0:
                self._desk.timebase.reanchor()
                self._recorder.flush()
                self._stop_unless_recorded()
            self._emit(self._progress())

    def _stop_unless_recorded(self) -> None:
        """Requests that nobody can count are not worth sending."""
        if self._recorder.failure is not None and self._stopped_at is None:
            self.stop()

    def _mention_lost_rows(self) -> None:
        recorder = self._recorder
        if recorder.failure is not None:
            message = f"samples cannot be written ({recorder.failure}): the last {recorder.lost:,} are lost"
            self._warn(
                "recorder", message, "free some disk space, or choose another place with --out", invalidates=True
            )

    def _progress(self) -> dict[str, Any]:
        now, last = _clock(), self._loop.last
        return {
            "kind": "progress",
            "elapsed_s": round(min(max(0, now - self._t0) / 1e9, self._schedule.end_s), 3),
            "total_s": self._schedule.end_s,
            "phase": self._phase(now),
            "step": last.step if last else 0,
            "scheduled": self._loop.due,
            "in_flight": self._loop.in_flight,
            "backlog": len(self._loop.pending),
            **self._desk.live.turn(now),
        }

    def _phase(self, now: int) -> str:
        if now - self._t0 > self._schedule.end_s * 1e9:
            return Phase.DRAIN.value
        return self._loop.last.phase if self._loop.last else Phase.WARMUP.value

    def _end_line(self, ended_at: int) -> dict[str, Any]:
        at, load, live = self._desk.timebase.at, self._scenario.load, self._desk.live
        end = self._t0 + round(self._schedule.end_s * 1e9)
        interrupted = self._stopped_at is not None and self._loop.due < len(self._schedule)
        until = min(end, self._stopped_at) if interrupted and self._stopped_at else end
        measured_from = self._t0 + round(load.warmup_s * 1e9)
        return {
            "kind": "end",
            "readings": self._health.readings(self._desk.timebase.drift_ns, live.answers, live.kernel_stamped),
            "started_ns": at(self._t0),
            "measured_from_ns": at(min(measured_from, until)),
            "measured_until_ns": at(until),
            "ended_ns": at(ended_at),
            "interrupted": interrupted,
            "scheduled": self._loop.due,
            **live.totals(),
            "task_errors": dict(self._task_errors.most_common()),
        }


def _users_and_jobs(scenario: Scenario, run_id: str) -> tuple[type[HarnessUser], Callable[[int], Any]]:
    """The Locust user class of a scenario, and what its sessions do for an arrival, by its request id."""
    seed = scenario.load.seed
    if scenario.users is not None:
        user_class = import_user(scenario.users)
        return user_class, task_draws(list(user_class.tasks), seed)
    sets = payload_sets(scenario.requests, scenario.target, run_id)
    return ScenarioUser, Draws(sets, [r.weight for r in scenario.requests], seed)
