"""Flags -> the two sides of a comparison, and what all its runs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.serving import start
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.pairs import Side

Command = Callable[..., Any]

_OVERRIDES = (
    click.option("--rate", metavar="R", help="Arrivals per second or minute, e.g. 20/s; replaces the load's shape."),
    click.option("--users", metavar="N", help="Users of a closed loop, e.g. 16; replaces rate, ramp, replay."),
    click.option("--duration", metavar="D", help="Measured time of each run, e.g. 20s."),
    click.option("--warmup", metavar="D", help="Time before the measured part of each run, e.g. 5s."),
    click.option("--seed", metavar="N", help="Seed of the first pair; the others count on from it."),
)


def load_options(command: Command) -> Command:
    """Adds the flags that change the scenario's load."""
    for option in reversed(_OVERRIDES):
        command = option(command)
    return command


def side(
    name: str, flag: str, url: str | None, command: str | None, folder: Path | None, ready: str | None, within: str
) -> Side:
    """One side of a comparison. `flag` is how its URL is called, e.g. `--a`. Raises UsageError."""
    from harness.pairs import Side
    from harness.scenario.target import parse_target

    cmd_flag = "--cmd" if flag == "--target" else f"{flag}-cmd"
    if (url is None) == (command is None):
        both = "are both given" if url is not None else "are both missing"
        raise UsageError(f"{flag} and {cmd_flag} {both}", f"give one: {flag} URL, or {cmd_flag} 'COMMAND {{port}}'")
    if url is not None:
        if folder is not None:
            raise UsageError(f"{flag}-dir is where {cmd_flag} is started", f"leave it out, or give {cmd_flag}")
        return Side(name, target=parse_target(url))
    assert command is not None  # noqa: S101 - checked above
    return Side(name, start=start(command, folder, ready, within))
