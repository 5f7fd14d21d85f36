"""One worker of a master: `python -m harness.load.worker --connect HOST:PORT`, the token in MLHARNESS_TOKEN.

It presents itself, gets its share of the arrivals and the files it lacks, prepares, begins when the master says so,
and reports. stderr says what it does. Exit codes: 0 the run is over, 2 refused, or the scenario cannot be run,
3 no master, or the master is gone, 4 stopped here, 1 a bug.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

import gevent
import locust
from gevent.queue import Empty, Queue
from locust.env import Environment
from pydantic import ValidationError

from harness import __version__
from harness.errors import HarnessError, Interrupted, NothingMeasured, UsageError
from harness.load import order as orders
from harness.load import trust
from harness.load.engine import Engine
from harness.load.fetch import fetch
from harness.load.lines import watch
from harness.load.order import Order
from harness.load.port import Fields, Worker
from harness.load.remote_chunks import ChunkSink
from harness.load.shipping import parsed_list, placed, relocated
from harness.load.start import await_instant

CONNECT_S = 60.0
_ANSWER_S = 30.0
_GONE_S = 10.0  # without a word of the master
_TAKEN_S = 10.0  # for the last samples to be written there
_PINGS = 8
_STOP_S = 8.0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - it is what this process is watched by


class Recruit:
    """The conversation with one master."""

    def __init__(self, host: str, port: int, token: str, local: bool) -> None:
        self._at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._host, self._port, self._token, self._local = host, port, token, local
        self._inbox: Queue = Queue()
        self._sink: ChunkSink | None = None
        self._engine: Engine | None = None
        self._link: Worker
        self._offset_ns = 0
        self._bound_ns: int | None = None
        self.ended: HarnessError | None = None  # why the run ends early, when it is not the master's wish

    # --- what arrives --------------------------------------------------------------------------------------

    def _hear(self, kind: str, fields: Fields, at_ns: int) -> None:
        if kind in ("ml_taken", "ml_again") and self._sink is not None:
            if isinstance(fields.get("below"), int):
                self._sink.taken(fields["below"])
            if kind == "ml_again":
                self._sink.send_again()
        elif kind == "ml_stop" and self._engine is not None:
            self._engine.stop()
        elif kind == "ml_enough" and self._engine is not None:
            self._engine.enough(float(fields["until_s"]))
        else:
            self._inbox.put((kind, fields, at_ns))
            if kind == "ml_leave" and self._engine is not None:
                self._engine.stop()

    def _next(self, *kinds: str, within_s: float | None = _ANSWER_S) -> tuple[str, Fields, int]:
        """The next message of these kinds. Raises HarnessError when the master sends us away, is gone or is silent."""
        deadline = None if within_s is None else time.monotonic() + within_s
        while True:
            try:
                kind, fields, at_ns = self._inbox.get(
                    timeout=None if deadline is None else max(0.0, deadline - time.monotonic())
                )
            except Empty:
                raise NothingMeasured(f"the master at {self._at} does not answer", "is it a harness master?") from None
            if self.ended is not None:
                raise self.ended
            if kind in kinds:
                return kind, fields, at_ns
            if kind == "ml_refused":
                hint = fields.get("hint")
                message = f"the master at {self._at} refused: {_line_of(fields.get('message'))}"
                raise UsageError(message, _line_of(hint) if hint else None)
            if kind == "ml_leave":
                raise NothingMeasured(f"the master at {self._at} ended the run before it began", "its side says why")

    def end_early(self, why: HarnessError) -> None:
        """Stop what goes on, for a reason of our own. May be called from any greenlet."""
        if self.ended is None:
            self.ended = why
        if self._engine is not None:
            self._engine.stop()
        self._inbox.put(("ended", {}, 0))

    def leave(self) -> None:
        """The user of this machine wants it back."""
        if self.ended is not None or not hasattr(self, "_link"):  # nobody knows of us yet
            _say("stopped before a master was found" if self.ended is None else "left at once")
            os._exit(int(Interrupted.exit_code))
        _say("leaving the run; once more to leave at once")
        self._link.tell("ml_leaving")
        self.end_early(Interrupted("stopped here before the run was over"))

    def fail(self, message: str, hint: str | None) -> None:
        """Tell the master that we cannot go on."""
        if hasattr(self, "_link") and self.ended is None:
            self._link.tell("ml_failed", message=message, hint=hint)
            gevent.sleep(0.2)  # so that it leaves before we do

    def _watch_master(self) -> None:
        """A master that fell silent is gone; time we were blocked ourselves does not count."""
        before = time.monotonic()
        while self.ended is None:
            gevent.sleep(1.0)
            now = time.monotonic()
            if now - before > 3.0:
                self._link.heard_at = now
            before = now
            if now - self._link.heard_at > _GONE_S:
                self.end_early(
                    NothingMeasured(f"the master at {self._at} is gone", "what was sent to it is kept there")
                )

    # --- the steps -----------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Find the master. Raises NothingMeasured when none answers."""
        _say(f"connecting to {self._at} (for up to {CONNECT_S:.0f} s)")
        with gevent.Timeout(
            CONNECT_S, NothingMeasured(f"no master answers at {self._at}", "is it started, and --bind?")
        ):
            self._link = Worker(Environment(events=locust.events), self._host, self._port, self._hear)
        gevent.spawn(self._watch_master)

    def present(self) -> tuple[Order, Any]:
        """Show the token and get the order and the list of files."""
        mine, identity = trust.nonce(), self._link.client_id
        cpus = len(os.sched_getaffinity(0))
        self._link.tell(
            "ml_hello", version=__version__, nonce=mine, host=socket.gethostname(), pid=os.getpid(), cpus=cpus
        )
        _, challenge, _ = self._next("ml_challenge")
        theirs = challenge.get("nonce")
        if not isinstance(theirs, bytes) or not trust.proves(
            challenge.get("proof"), self._token, trust.MASTER, theirs, mine, identity
        ):
            raise self._wrong_token(bool(challenge.get("token_wanted")))
        shown = trust.proof(self._token, trust.WORKER, theirs, mine, identity)
        self._link.tell("ml_proof", proof=shown)
        _, told, _ = self._next("ml_order")
        try:
            return orders.loaded(told.get("order")), told.get("files")
        except ValidationError:
            raise UsageError(
                "the master sent an order that cannot be read", "install the same version on both"
            ) from None

    def _wrong_token(self, wanted: bool) -> UsageError:
        if not wanted:
            return UsageError(
                f"the master at {self._at} has no token, this worker has one", "leave it out, or give it to both"
            )
        what = "knows another token" if self._token else "wants a token"
        return UsageError(f"the master at {self._at} {what}", "give both the same --token (or MLHARNESS_TOKEN)")

    def compare_clocks(self) -> None:
        """Our clock less the master's, from the fastest of some round trips."""
        for _ in range(_PINGS):
            sent_ns = time.time_ns()
            self._link.tell("ml_ping", at=sent_ns)
            _, pong, at_ns = self._next("ml_pong")
            trip, theirs = at_ns - sent_ns, pong.get("master_ns")
            if isinstance(theirs, int) and (self._bound_ns is None or trip // 2 < self._bound_ns):
                self._bound_ns = trip // 2
                self._offset_ns = (sent_ns + at_ns) // 2 - theirs

    def settle(self, order: Order, files: object, folder: Path) -> Order:
        """The order with its files on this machine, fetched where they are missing."""
        try:
            announced = parsed_list(files)
        except (ValueError, TypeError) as error:
            raise UsageError(f"the master's list of files cannot be used: {error}") from None
        look_here = os.environ.get("MLHARNESS_FETCH_ALL") != "1"
        wanted, at = gevent.get_hub().threadpool.apply(placed, (announced, folder, look_here))
        if wanted:
            _say(f"fetching {len(wanted)} files, {sum(file.size for file in wanted):,} bytes")
            fetch(wanted, at, self._ask_piece, lambda: self._next("ml_piece")[1])
        return replace(order, scenario=relocated(order.scenario, at), run_dir=str(folder))

    def _ask_piece(self, path: str, offset: int) -> None:
        self._link.tell("ml_fetch", path=path, offset=offset)

    def work(self, order: Order) -> None:
        """Run the order to its end and hand everything over."""
        self._sink = None if self._local else ChunkSink(self._send_piece)
        self._engine = engine = Engine(order, self._emit, cast("IO[bytes] | None", self._sink), self._link)
        _say(f"worker {order.worker} of run {order.run_id} is ready")
        end = engine.run(self._await_start)
        self._hand_over(end)
        if self.ended is not None:
            raise self.ended
        _say(f"the run is over: {end.get('sent', 0):,} requests sent")

    def _send_piece(self, number: int, piece: bytes) -> None:
        self._link.tell("ml_samples", number=number, piece=piece)

    def _emit(self, line: dict[str, Any]) -> None:
        if line.get("kind") == "warning":
            _say(f"warning: {line.get('message')}")
        self._link.tell("ml_line", line=line)

    def _await_start(self) -> int | None:
        bound_s = None if self._bound_ns is None else self._bound_ns / 1e9
        self._link.tell("ml_ready", offset_s=self._offset_ns / 1e9, bound_s=bound_s)
        _, go, _ = self._next("ml_go", within_s=None)
        return await_instant(go.get("at_ns"), self._offset_ns, self._bound_ns)

    def _hand_over(self, end: dict[str, Any]) -> None:
        """Until the master has written all samples and knows that we are done; not for ever."""
        if isinstance(self.ended, NothingMeasured):  # it is gone
            return
        deadline = time.monotonic() + _TAKEN_S
        while self._sink is not None and self._sink.untaken_bytes and time.monotonic() < deadline:
            gevent.sleep(0.1)
            if time.monotonic() > deadline - _TAKEN_S / 2:
                self._sink.send_again()
        self._link.tell("ml_over", line=end)
        with gevent.Timeout(_ANSWER_S / 6, False):
            while self._inbox.get()[0] != "ml_leave":
                pass


def _line_of(text: object) -> str:
    return " ".join(str(text).split())[:500]


def serve(connect: str) -> int:
    """Join a master, work for it, say how it went. The exit code.

    `connect` is HOST:PORT, with the token in MLHARNESS_TOKEN; or "stdin": started by the master, which writes one line
    "HOST:PORT TOKEN" and whose end is the end of stdin.
    """
    local, rest = connect == "stdin", b""
    token = os.environ.pop("MLHARNESS_TOKEN", "")
    if local:
        line, rest = orders.first_line(0)
        connect, _, token = line.decode().partition(" ")
    host, _, port = connect.rpartition(":")
    if not host:
        return int(NothingMeasured.exit_code)  # the master ended before it had an address
    recruit = Recruit(host.strip("[]"), int(port), token, local)
    os.dup2(2, 1)  # whatever user code prints
    gevent.signal_handler(signal.SIGTERM, recruit.leave)
    if local:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gevent.spawn(watch, 0, rest, lambda: _master_died(recruit))
    else:
        gevent.signal_handler(signal.SIGINT, recruit.leave)
    with TemporaryDirectory(prefix="harness-worker-", ignore_cleanup_errors=True) as folder:
        return _served(recruit, Path(folder), local)


def _served(recruit: Recruit, folder: Path, local: bool) -> int:
    try:
        recruit.connect()
        order, files = recruit.present()
        recruit.compare_clocks()
        recruit.work(order if local else recruit.settle(order, files, folder))
    except HarnessError as error:
        recruit.fail(error.message, error.hint)
        _say(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""))
        return int(error.exit_code)
    except BaseException as bug:
        traceback.print_exc()
        recruit.fail(f"the load process failed: {type(bug).__name__}: {bug}", None)
        return 1
    return 0


def _master_died(recruit: Recruit) -> None:
    recruit.end_early(NothingMeasured("the master is gone"))
    gevent.spawn_later(_STOP_S, os._exit, int(NothingMeasured.exit_code))
