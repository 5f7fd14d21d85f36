"""The dashboard on a socket: where it may be reached, who has to show a token, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import psutil
import uvicorn
from fastapi import FastAPI

from harness.dashboard.settings import Settings
from harness.errors import UsageError

LEAST_TOKEN = 12
"""Characters of a token that is asked for; shorter ones can be guessed."""

_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_GRACE_S = 1
"""For answers that are on their way when it ends; streams of events have no end of their own."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str, more: Sequence[str] = ()) -> tuple[str, ...]:
    """The names by which a dashboard bound to `host` is called, the best one first."""
    names = [_bracketed(host), *_LOCAL]
    if is_wildcard(host):
        names = [*_LOCAL, socket.gethostname(), *_own_addresses()]
    return tuple(dict.fromkeys(name.lower().rstrip(".") for name in (*names, *more) if name))


def is_wildcard(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound


def _own_addresses() -> list[str]:
    families = (socket.AF_INET, socket.AF_INET6)
    found = [a.address for each in psutil.net_if_addrs().values() for a in each if a.family in families]
    return [_bracketed(address.split("%")[0]) for address in found]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises UsageError, which names a free port where this one is taken."""
    try:
        family, *_, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        return socket.create_server(address[:2], family=family, backlog=128)
    except socket.gaierror as error:
        raise UsageError(f"'{host}' is no address of this machine", "give --host 127.0.0.1") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f"is a dashboard running already? else give --port {_free_port(host)}"
            raise UsageError(f"port {port} of {host} is taken", hint) from error
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(
            f"nothing can listen on {host}, port {port}: {reason}", "give another --port or --host"
        ) from error
    except OverflowError:
        raise UsageError(f"{port} is no port", "give one of 1 to 65535") from None


def _free_port(host: str) -> int:
    with listen(host, 0) as free:
        return int(free.getsockname()[1])


def address_of(listening: socket.socket, settings: Settings) -> str:
    """Where to open it in a browser."""
    return f"http://{settings.hosts[0]}:{listening.getsockname()[1]}"


def serve(app: FastAPI, listening: socket.socket, *, verbose: bool, ready: Callable[[], None]) -> None:
    """Answer until Ctrl-C or SIGTERM. `ready` is called when it does."""
    config = uvicorn.Config(
        app,
        log_level="info" if verbose else "error",
        access_log=verbose,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        proxy_headers=False,
    )
    server = _Server(config, ready)
    with _ending_like_interrupt(signal.SIGTERM), contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """Says when it answers, and ends without a word of what it cut off."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)


@contextlib.contextmanager
def _ending_like_interrupt(number: signal.Signals) -> Iterator[None]:
    """The server raises the signal again when it has ended; whoever stops a service expects exit code 0."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    try:
        yield
    finally:
        signal.signal(number, before)
