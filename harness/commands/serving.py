"""Flags -> a service that is started for a measurement and stopped after it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.common import say, shown
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.interrupt import Interrupt
    from harness.load.order import Crew
    from harness.model import Scenario
    from harness.services import Start

Command = Callable[..., Any]
LOG = "service.log"
ELSEWHERE = "http://127.0.0.1:1"
"""Stands for the target of a service that is not started yet."""

_STARTING = (
    click.option(
        "--ready",
        metavar="PATH",
        help="Path that answers 2xx once it is ready, e.g. /readyz.  [as soon as its port accepts]",
    ),
    click.option("--ready-within", metavar="D", default="60s", show_default=True, help="How long to wait for that."),
)
_SERVICE = (
    click.option("--cmd", metavar="CMD", help="Or how it is started, with {port} in it; no shell. Stopped afterwards."),
    click.option("--dir", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Where --cmd is started."),
    *_STARTING,
)


def start_options(command: Command) -> Command:
    """Adds the flags about a service that is started by a command."""
    for option in reversed(_STARTING):
        command = option(command)
    return command


def service_options(command: Command) -> Command:
    """Adds the flags that `service_of` reads."""
    for option in reversed(_SERVICE):
        command = option(command)
    return command


def start(command: str, folder: Path | None, ready: str | None, within: str) -> Start:
    """How a service is started, from the flags about it. Raises UsageError."""
    from harness.services import Start, parse_command
    from harness.units import UnitError, parse_duration_s

    parse_command(command)
    try:
        within_s = parse_duration_s(within)
    except UnitError as error:
        raise UsageError(f"--ready-within: {error.message}", error.hint) from None
    if ready is not None and not ready.startswith("/"):
        raise UsageError(f"--ready {ready!r} is no path", "write it like /readyz")
    return Start(command, ready, within_s, folder)


def service_of(options: dict[str, Any], crew: Crew) -> Start | None:
    """Takes the flags about a service that is started for the run out of `options`. Raises UsageError."""
    command, folder = options.pop("cmd"), options.pop("folder")
    ready, within = options.pop("ready"), options.pop("ready_within")
    if command is None:
        if folder is not None or ready is not None:
            flag = "--dir" if folder is not None else "--ready"
            raise UsageError(f"{flag} is about a service that is started", "give --cmd 'COMMAND {port}', too")
        return None
    if options.get("target") is not None:
        raise UsageError("--target and --cmd do not go together", "what --cmd starts is the target")
    if crew.expected:
        raise UsageError("--cmd and --master do not go together", "workers elsewhere cannot reach what is started here")
    options["target"] = ELSEWHERE
    return start(command, folder, ready, within)


@contextmanager
def served(
    service: Start | None, scenario: Scenario, out: Path, interrupt: Interrupt, announce: Callable[[str], None]
) -> Iterator[tuple[str, socket.socket | None]]:
    """The target, and where its spans are to arrive; what is started here is stopped at the end."""
    if service is None:
        yield scenario.target, None
        return
    from harness.services import running, span_port

    log = out / LOG
    announce(f"starting {service.command} ...")
    with span_port(service, scenario.spans) as (listener, env), running(service, log, interrupt, env) as started:
        yield started.target, listener
        if (died := started.died()) is not None:
            say(f"warning: {died}; its output is in {shown(log)}")
