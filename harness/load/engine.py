"""One run of one load process: Locust's runner and users, the loop, the recorder and the health watch together."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import gevent
import locust
from gevent.event import Event
from locust.env import Environment

from harness.arrivals import phase_at
from harness.errors import HarnessError
from harness.load import stack
from harness.load.channel import keep_kernel_stamps_on
from harness.load.closed_loop import ClosedLoop
from harness.load.desk import Desk
from harness.load.foreign import Foreign
from harness.load.health import Health, raise_descriptor_limit
from harness.load.held import Held
from harness.load.jobs import Jobs, jobs_of
from harness.load.notices import FailureWatch, Notices
from harness.load.open_loop import MAX_SESSIONS, OpenLoop
from harness.load.order import Order
from harness.load.place import Rig
from harness.load.recorder import Recorder
from harness.load.sessions import Sessions
from harness.load.user_file import kind_of, options_of_file
from harness.load.users import job_name, send_in_turn, serve_arrivals
from harness.model import Arrivals

FIRST_SESSIONS = 8
PROGRESS_S = 0.5
STOP_DRAIN_S = 2.0
_clock = time.perf_counter_ns

Emit = Callable[[dict[str, Any]], None]


class Engine:
    """Runs a scenario once. `stop` may be called from any greenlet."""

    def __init__(self, order: Order, emit: Emit, sink: IO[bytes] | None = None, runner: Any = None) -> None:
        """`sink` takes the sample chunks instead of a file in the run folder; `runner` is Locust's, when there is one
        already (a worker of a master)."""
        self._order = order
        self._load = order.scenario.load
        self._emit = emit
        self._stopped, self._enough = Event(), Event()
        self._notices = Notices(emit)
        self._watch = FailureWatch(self._load.abort_above)
        self._health = Health()
        self._jobs = jobs = jobs_of(order)
        self._recorder = Recorder(Path(order.run_dir) / f"samples-{order.worker}.arrows", sink)
        sampled = order.scenario.spans.sampled
        self._desk = Desk(order.run_id, order.worker, sampled, self._recorder)
        self._rig = self._new_rig(jobs, Held(self._desk, sampled, self._recorder))
        target = order.scenario.target
        self._rig.origin(target)  # certificates that cannot be read are refused before anything is sent
        self._environment = Environment(events=locust.events, host=target) if runner is None else runner.environment
        self._environment.user_classes = list(jobs.users)
        self._environment.harness_rig = self._rig
        if jobs.payload is None and self._environment.parsed_options is None:
            self._environment.parsed_options = options_of_file()
        for user_class in jobs.users:
            user_class.host = target
        self._runner = runner or self._environment.create_local_runner()
        self._foreign = self._watch_foreign(jobs, sampled)
        closed = self._load.arrivals is Arrivals.USERS
        task = serve_arrivals if not closed else send_in_turn(jobs.payload) if jobs.payload is not None else None
        self._sessions = Sessions(self._environment, self._runner, jobs.users, self._rig, task, self._foreign)
        self._loop = self._new_loop(jobs)
        self._t0 = 0
        self._stopped_at: int | None = None
        self._aborted = self._ending = False
        self._doubts: list[dict[str, object]] = []

    def _new_rig(self, jobs: Jobs, held: Held) -> Rig:
        order, load = self._order, self._load
        return Rig(
            self._desk,
            held,
            order.scenario.target,
            itertools.count(jobs.planned + order.share.index, order.share.of),
            no_request=self._notices.no_request,
            give_up=self._give_up,
            think_s=load.think_s,
            seed=load.seed,
            share=order.share,
            quiet_with=1,  # Locust's own statistics
            tls=order.scenario.tls,
        )

    def _new_loop(self, jobs: Jobs) -> OpenLoop | ClosedLoop:
        order, rig, sessions = self._order, self._rig, self._sessions
        if jobs.schedule is None:
            rig.closed_loop = ClosedLoop(
                self._load, order.share, self._desk.live, sessions.spawn, sessions.retire, self._health
            )
            if self._foreign is not None:
                rig.closed_loop.unjudged = self._foreign.unreported
            return rig.closed_loop
        cap = order.max_sessions or MAX_SESSIONS
        rig.open_loop = OpenLoop(jobs.schedule, jobs.job_of, sessions.spawn, self._health, cap)
        return rig.open_loop

    def _watch_foreign(self, jobs: Jobs, sampled: float) -> Foreign | None:
        kinds = [kind_of(user) for user in jobs.users if jobs.payload is None]
        kinds = sorted({kind for kind in kinds if kind != "HarnessUser"})
        if not kinds:
            return None
        self._notices.foreign_clients(kinds)
        foreign = Foreign(self._desk, sampled, self._recorder)
        self._environment.events.request.add_listener(foreign.on_request)
        self._rig.quiet_with += 1
        return foreign

    def stop(self) -> None:
        """No more arrivals; requests in flight get a little time, the rest is kept as censored."""
        if self._stopped_at is None:
            self._stopped_at = _clock()
        self._stopped.set()

    def enough(self, until_s: float) -> None:
        """No more arrivals, and the usual drain: the plan ends `until_s` seconds after the start of the load, which may
        be a little in the past. What was sent since then is recorded like the rest."""
        *others, last = self._load.steps
        cut = replace(last, duration_s=last.duration_s - (self._load.end_s - until_s))
        if self._stopped_at is None and 0 < cut.duration_s < last.duration_s:
            self._load = replace(self._load, steps=(*others, cut))
            self._enough.set()

    def run(self, wait_for_start: Callable[[], int | None] = lambda: None) -> dict[str, Any]:
        """The whole run; returns the end line. Raises HarnessError when the run cannot begin.

        `wait_for_start` is called when all is ready for the first arrival, and returns when the others are, too: the
        instant to begin at (monotonic ns; we are late when it is past), or None for as soon as may be.
        """
        raise_descriptor_limit()
        stack.say_when_asked()
        stamps = keep_kernel_stamps_on()
        self._announce()
        self._open_sessions()
        gc.collect()
        gc.freeze()  # what is loaded by now is never garbage: later collections need not look at it
        begin_at = wait_for_start()
        self._health.start()
        self._t0 = _clock() + 20_000_000 if begin_at is None else begin_at
        chores = gevent.spawn(self._chores)
        try:
            self._send_and_drain()
        finally:
            ended_at = _clock()
            self._health.stop()
            self._end_sessions()
            chores.kill()
            self._recorder.close()
            self._notices.lost_rows(self._recorder)
            if stamps is not None:
                stamps.close()
        return self._end_line(ended_at)

    def _announce(self) -> None:
        """Tell the listeners of user code what Locust tells them."""
        events = self._environment.events
        events.user_error.add_listener(self._task_error)
        events.test_stopping.add_listener(self._stop_of_users)
        events.init.fire(environment=self._environment, runner=self._runner, web_ui=None)
        events.test_start.fire(environment=self._environment)

    def _task_error(self, user_instance: Any, exception: BaseException, **about: Any) -> None:
        self._notices.task_error(user_instance, exception, **about)
        user = user_instance if hasattr(user_instance, "harness_place") else user_instance.user  # of a TaskSet
        user.harness_place.settle()

    def _stop_of_users(self, **_: Any) -> None:
        if not self._ending:  # user code has called runner.quit()
            self.stop()

    # --- sending ------------------------------------------------------------------------------------------

    def _open_sessions(self) -> None:
        loop = self._loop
        if isinstance(loop, ClosedLoop):
            loop.open_first()
        else:
            for _ in range(min(FIRST_SESSIONS, len(self._jobs.schedule or ()))):
                loop.spawn()
        self._sessions.await_ready(loop, self._stopped.is_set)

    def _send_and_drain(self) -> None:
        sender = gevent.spawn(self._send)
        gevent.wait([sender, self._stopped, self._enough], count=1)
        sender.kill()
        self._health.stop()  # an idle drain would dilute its shares
        if isinstance(self._loop, ClosedLoop):
            self._loop.finish()
        drain_s = self._load.drain_s
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
        except HarnessError as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """A payload that could be read before, and cannot any more, or a user that cannot be made."""
        known = error if isinstance(error, HarnessError) else HarnessError(f"{type(error).__name__}: {error}")
        if self._stopped_at is None:
            self._notices.warn("sender", known.message, known.hint or "", invalidates=True)
        self.stop()

    def _end_sessions(self) -> None:
        self._ending = self._rig.over = self._loop.closed = True
        self._sessions.end()
        for arrival in self._loop.pending:
            self._desk.never_sent(job_name(arrival.job), arrival.slot)
        self._loop.pending.clear()
        if isinstance(self._loop, ClosedLoop):
            self._notices.left_early(self._loop.left_early)

    # --- meanwhile ----------------------------------------------------------------------------------------

    def _chores(self) -> None:
        for turn in itertools.count(1):
            gevent.sleep(PROGRESS_S)
            if turn % 2 == 0:
                self._desk.timebase.reanchor()
                self._notices.clock_steps(self._desk.timebase, self._desk.timebase.at(self._t0))
                self._recorder.flush()
                live = self._desk.live
                self._doubts = self._health.doubts(self._desk.timebase.drift_ns, live.answers, live.out_of_resources)
                if self._recorder.failure is not None:  # requests that nobody can count are not worth sending
                    self.stop()
            self._abort_if_failing()
            self._emit(self._progress())

    def _abort_if_failing(self) -> None:
        found, after_s = self._watch.look(self._desk.live), (_clock() - self._t0) / 1e9
        if found is None or self._stopped_at is not None or after_s > self._load.end_s:
            return
        assert self._watch.above is not None  # noqa: S101 - nothing is found without a limit
        self._aborted = True
        self._notices.aborted(after_s, *found, self._watch.above, self._desk.live.errors)
        self.stop()

    def _progress(self) -> dict[str, Any]:
        now = _clock()
        elapsed_s = max(0, now - self._t0) / 1e9
        phase, step = phase_at(self._load, elapsed_s)
        return {
            "kind": "progress",
            "started_ns": self._desk.timebase.at(self._t0),
            "elapsed_s": round(min(elapsed_s, self._load.end_s), 3),
            "total_s": round(self._load.end_s, 6),
            "phase": phase.value,
            "step": step,
            "scheduled": self._loop.due,
            "in_flight": self._loop.in_flight,
            "backlog": len(self._loop.pending),
            **self._desk.live.turn(now),
            "doubts": self._doubts,
        }

    def _end_line(self, ended_at: int) -> dict[str, Any]:
        at, load, live = self._desk.timebase.at, self._load, self._desk.live
        end = self._t0 + round(load.end_s * 1e9)
        until = min(end, self._stopped_at) if self._cut_short() and self._stopped_at else end
        return {
            "kind": "end",
            "readings": self._health.readings(
                self._desk.timebase.drift_ns, live.answers, live.kernel_stamped, out_of_resources=live.out_of_resources
            ),
            "started_ns": at(self._t0),
            "measured_from_ns": at(min(self._t0 + round(load.warmup_s * 1e9), until)),
            "measured_until_ns": at(until),
            "ended_ns": at(ended_at),
            "interrupted": self._cut_short(),
            **({"aborted": True} if self._aborted else {}),
            "scheduled": self._loop.due,
            **live.totals(),
            "task_errors": dict(self._notices.task_errors.most_common()),
        }

    def _cut_short(self) -> bool:
        """Whether the run was stopped while something was still to be sent."""
        if self._stopped_at is None or self._enough.is_set():
            return False
        if self._jobs.schedule is not None:
            return self._loop.due < len(self._jobs.schedule)
        return self._stopped_at < self._t0 + round(self._load.end_s * 1e9)
