"""`harness_run(...)`: measure once per session what several tests look at, one load run at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import socket
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import pytest

from harness.errors import HarnessError, Interrupted, UsageError
from harness.interrupt import Interrupt
from harness.model import Scenario
from harness.pytest_plugin import CURRENT, PROPERTY
from harness.pytest_plugin.figure import HIDDEN
from harness.pytest_plugin.limits import fail
from harness.pytest_plugin.measured import Measured
from harness.report import json_report
from harness.run import Outcome, execute
from harness.run_folder import RunFolder
from harness.scenario import Overrides, load_scenario
from harness.services import Start, running, span_port

__tracebackhide__ = HIDDEN

_ELSEWHERE = "http://127.0.0.1:1"
"""Stands for the target of a service that is not started yet."""


class ParallelLoadWarning(pytest.PytestWarning):
    """Load tests run beside other tests."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One run as it was asked for; equal ones are measured once."""

    scenario: Scenario
    start: Start | None
    parent: Path
    accept_suspect: bool

    @property
    def key(self) -> str:
        return hashlib.sha256(repr(self).encode("utf-8", "backslashreplace")).hexdigest()[:24]


class HarnessRun:
    """Runs scenarios. Below `root`, shared by the processes of xdist, stand the run folders and what was measured."""

    def __init__(self, config: pytest.Config, root: Path, *, parallel: bool) -> None:
        self._config = config
        self._root = root / "harness"
        self._parallel = parallel
        self._measured: dict[str, Measured | HarnessError] = {}

    def __call__(
        self,
        scenario: str | Path,
        *,
        target: str | None = None,
        rate: float | str | None = None,
        users: int | str | None = None,
        duration: float | str | None = None,
        warmup: float | str | None = None,
        seed: int | None = None,
        slo: str | Sequence[str] = (),
        service: str | Start | None = None,
        out: str | Path | None = None,
        accept_suspect: bool = False,
        fresh: bool = False,
    ) -> Measured:
        """Run a scenario, or hand out what an equal call measured in this session; `fresh` measures again.

        Flags are those of `harness run`; bare numbers are per second (rate) and seconds. `scenario` is looked for
        below pytest's root folder, then beside the test. `service` is a command with {port} that is started before
        and stopped after the run; its spans come to us. A run that says nothing about the service fails the test: one
        that did not take place, was aborted, or is invalid (unless `accept_suspect`).
        """
        overrides = Overrides(
            target=_ELSEWHERE if service is not None and target is None else target,
            rate=_with_unit(rate, "/s"),
            users=_with_unit(users, ""),
            duration=_with_unit(duration, "s"),
            warmup=_with_unit(warmup, "s"),
            seed=_with_unit(seed, ""),
            slo=(slo,) if isinstance(slo, str) else tuple(slo),
        )
        try:
            if service is not None and target is not None:
                raise UsageError("target and service do not go together", "the service is the target")
            start = Start(service) if isinstance(service, str) else service
            loaded = load_scenario(self._found(scenario), overrides)
            measured = self._once(_Wanted(loaded, start, self._parent(out), accept_suspect), fresh=fresh)
        except Interrupted as error:
            pytest.exit(error.message, returncode=pytest.ExitCode.INTERRUPTED)
        except HarnessError as error:
            fail(error)
        self._note(measured)
        if reasons := measured.unusable(accept_suspect=accept_suspect):
            measured.show()
            hint = "" if accept_suspect else "\nhint: accept_suspect=True judges it nevertheless"
            pytest.fail("\n".join(["the measurement says nothing about the service:", *reasons]) + hint)
        return measured

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"harness_run measures first: harness_run('scenario.yaml').{name}", name=name, obj=self)

    def __repr__(self) -> str:
        return "<harness_run>"

    # --- what is asked for ---------------------------------------------------------------------------------

    def _found(self, scenario: str | Path) -> str:
        """The scenario below the root folder, else beside the test; else as it is, to be refused by its reader."""
        item = self._item()
        folders = [self._config.rootpath, *([item.path.parent] if item is not None else [])]
        file, colon, user = str(scenario).partition(".py:")
        file += ".py" if colon else ""
        found = next((folder / file for folder in folders if (folder / file).exists()), folders[0] / file)
        return f"{found}:{user}" if colon else str(found)

    def _parent(self, out: str | Path | None) -> Path:
        chosen = out or self._config.getoption("harness_out", None)
        return self._config.invocation_params.dir / chosen if chosen else self._root / "runs"

    def _item(self) -> pytest.Item | None:
        return self._config.stash.get(CURRENT, None)

    def _note(self, measured: Measured) -> None:
        item = self._item()
        if item is not None and (PROPERTY, measured.line) not in item.user_properties:
            item.user_properties.append((PROPERTY, measured.line))

    # --- one run -------------------------------------------------------------------------------------------

    def _once(self, wanted: _Wanted, *, fresh: bool) -> Measured:
        known = self._measured.get(wanted.key)
        if known is None or fresh:
            try:
                known = self._shared(wanted, fresh=fresh)
            except Interrupted:
                raise
            except HarnessError as error:
                known = error
            self._measured[wanted.key] = known
        if isinstance(known, HarnessError):
            raise known
        return known

    def _shared(self, wanted: _Wanted, *, fresh: bool) -> Measured:
        """Measured by this process or by another one of the session."""
        if self._parallel:
            message = "load tests that run beside other tests measure those, too: pytest -m harness -n0"
            warnings.warn(ParallelLoadWarning(message), stacklevel=2)
        self._root.mkdir(parents=True, exist_ok=True)
        note = self._root / f"{wanted.key}.json"
        with _alone(self._root / "lock"):
            if fresh or not note.exists():
                outcome = _executed(wanted)
                note.write_text(json.dumps({"folder": str(outcome.folder.path)}))
                return Measured(outcome.folder.path, outcome.summary, self._item)
        folder = RunFolder.open(Path(json.loads(note.read_text())["folder"]))
        return Measured(folder.path, json_report.parse(folder.summary_json.read_text()), self._item)


def _with_unit(value: float | str | None, unit: str) -> str | None:
    return value if value is None or isinstance(value, str) else f"{value}{unit}"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One load run at a time: two of them measure each other."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _executed(wanted: _Wanted) -> Outcome:
    in_main = threading.current_thread() is threading.main_thread()  # signals are delivered there alone
    interrupt = Interrupt()
    with interrupt if in_main else nullcontext():
        outcome = _at_target(wanted, interrupt) if wanted.start is None else _started(wanted, wanted.start, interrupt)
    if outcome.summary.interrupted:
        raise Interrupted(f"interrupted; what was measured until then is in {outcome.folder.path}")
    return outcome


def _at_target(wanted: _Wanted, interrupt: Interrupt, listener: socket.socket | None = None) -> Outcome:
    suspect = wanted.accept_suspect
    return execute(wanted.scenario, wanted.parent, _unseen, interrupt, listener, accept_suspect=suspect)


def _started(wanted: _Wanted, start: Start, interrupt: Interrupt) -> Outcome:
    """The run of a service that is started for it. Its spans go to a free port of ours, unless it was told another."""
    log = wanted.parent / f"service-{wanted.key}.log"
    with (
        span_port(start, wanted.scenario.spans) as (listener, env),
        running(start, log, interrupt, env) as service,
    ):
        there = replace(wanted, scenario=replace(wanted.scenario, target=service.target))
        try:
            return _at_target(there, interrupt, listener)
        finally:
            if (sentence := service.died()) is not None:  # it matters more than what came of it
                raise HarnessError(sentence, f"its whole output is in {log}")


def _unseen(event: object) -> None:
    del event
