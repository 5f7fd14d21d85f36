"""Flags -> which processes send the load, and who may join them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.load.order import Crew

TOKEN_VARIABLE = "MLHARNESS_TOKEN"  # noqa: S105 - a name
_DEFAULT_WAIT = "60s"
Command = Callable[..., Any]

_OPTIONS = (
    click.option("--processes", type=int, metavar="N", help="Load processes on this machine; the arrivals are shared."),
    click.option("--master", is_flag=True, help="Have workers on other machines send the load: see `harness worker`."),
    click.option("--expect-workers", type=int, metavar="N", help="With --master: begin with so many workers."),
    click.option("--expect-workers-max-wait", metavar="D", help=f"When to give up.  [default: {_DEFAULT_WAIT}]"),
    click.option(
        "--bind",
        metavar="HOST[:PORT]",
        help="Where the master listens; port 0 takes a free one. Other than loopback it asks for a token. "
        "The link is not encrypted: use a VPN or an ssh tunnel.  [default: 127.0.0.1:5557]",
    ),
    click.option("--token", metavar="T", help=f"What workers have to know, too; better in {TOKEN_VARIABLE}."),
    click.option("--insecure", is_flag=True, help="Let anyone who reaches the master join and see the scenario."),
)


def crew_options(command: Command) -> Command:
    """Adds the flags that `crew_of` reads."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def crew_of(options: dict[str, Any], say: Callable[[str], None]) -> Crew:
    """Takes its flags out of `options`. Raises UsageError for those that do not go together."""
    from harness.load.order import ALONE, Crew

    names = ("processes", "master", "expect_workers", "expect_workers_max_wait", "bind", "token", "insecure")
    given = {name: options.pop(name) for name in names}
    processes = given["processes"]
    if given["master"]:
        return _master(given)
    for name in names[2:]:
        if given[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} is about the workers of a master", "add --master, or leave it out"
            )
    if processes is None:
        return ALONE
    if not 1 <= processes <= 1000:
        raise UsageError(f"--processes {processes} is not a number of processes", "write --processes 2")
    cores = len(os.sched_getaffinity(0))
    if processes > cores:
        say(f"note: {processes} load processes share {cores} cores with everything else; {cores} would do as much")
    return Crew(processes=processes)


def _master(given: Mapping[str, Any]) -> Crew:
    from harness.load.order import Crew
    from harness.units import parse_duration_s

    if given["processes"] is not None:
        raise UsageError("--processes and --master are two ways", "start the workers of a master with `harness worker`")
    expected = given["expect_workers"]
    if expected is None:
        raise UsageError("--master does not know how many workers to wait for", "add --expect-workers 2")
    if not 1 <= expected <= 1000:
        raise UsageError(f"--expect-workers {expected} is not a number of workers", "write --expect-workers 2")
    wait_s = parse_duration_s(given["expect_workers_max_wait"] or _DEFAULT_WAIT)
    host, port = address_of(given["bind"] or "127.0.0.1", "--bind")
    token = token_of(given["token"])
    if not token and not given["insecure"] and not on_loopback(host):
        raise UsageError(
            f"whoever reaches {host} could join the run and read the scenario",
            f"add --token T (or {TOKEN_VARIABLE}), the same at the workers; or --insecure",
        )
    return Crew(expected=expected, max_wait_s=wait_s, host=host, port=port, token=token)


def address_of(text: str, flag: str) -> tuple[str, int]:
    """HOST or HOST:PORT, IPv6 in brackets -> (host as an IP address, port). Raises UsageError."""
    from harness.load.order import MASTER_PORT

    written = text.strip()
    host, colon, port = written.rpartition(":") if written.count(":") == 1 or "]:" in written else (written, "", "")
    host = host.removeprefix("[").removesuffix("]")
    if not host or (colon and not (port.isascii() and port.isdecimal() and int(port) <= 65535)):
        raise UsageError(f"{flag} {written!r} is no address", f"write {flag} 127.0.0.1:{MASTER_PORT}")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UsageError(f"{flag}: the host {host!r} is not known", "check its name, or write its IP address") from None
    return str(sorted(found)[0][4][0]), int(port) if colon else MASTER_PORT


def token_of(given: str | None) -> str:
    """The token of the flag, otherwise of the environment, otherwise ""."""
    return given if given is not None else os.environ.get(TOKEN_VARIABLE, "")


def on_loopback(host: str) -> bool:
    """Whether an address is one of this machine only."""
    from harness.scenario.target import is_loopback

    return is_loopback(host)
