"""python -m sample_service: serve until SIGTERM."""

from __future__ import annotations

import argparse
import inspect
import logging
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any

import uvicorn

from sample_service.app import create_app
from sample_service.faults import with_faults
from sample_service.settings import Settings, SettingsError, read_settings

GRACE_S = 1  # what a running request gets when the service is told to stop
LAST_WORK_S = 0.3  # and then a computation, to come to its end


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 stopped as asked, 1 the models cannot be loaded, 2 bad flag, variable or port."""
    parser = argparse.ArgumentParser(prog="python -m sample_service", description="Serve the document-reading API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_port, default=8000, help="0 takes a free one")
    flags = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = read_settings(os.environ)
        listener = _listen(flags.host, flags.port)
    except (SettingsError, _CannotListen) as error:
        sys.stderr.write(f"sample service: {error}\n")
        return 2
    with listener:
        return _serve(settings, listener)


def _port(text: str) -> int:
    # Checked here: the resolver takes larger numbers and drops their upper bits.
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


class _CannotListen(Exception):  # noqa: N818 - reads as the condition it reports
    """The address cannot be bound."""


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _CannotListen(f"cannot listen on {host}:{port} ({reason}); choose another with --port") from error
    return listener


def _serve(settings: Settings, listener: socket.socket) -> int:
    failures: list[Exception] = []

    def started(failure: Exception | None) -> None:
        if failure is not None:
            failures.append(failure)
            server.should_exit = True
        else:
            host, port = listener.getsockname()[:2]
            sys.stdout.write(f"sample service ready on http://{f'[{host}]' if ':' in host else host}:{port}\n")
            sys.stdout.flush()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    app = create_app(settings, started)
    config = uvicorn.Config(
        with_faults(app, settings.faults),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        **_fresh_contexts(),
    )
    server = uvicorn.Server(config)
    # The server raises the signal again when it has stopped; its default would end the process before exit handlers.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.run(sockets=[listener])
    code = 1 if failures else 0
    if _workers_are_busy():
        logging.getLogger("sample_service").warning("stopped with requests unfinished")
        sys.stderr.flush()
        os._exit(code)  # a computation cannot be interrupted, and leaving normally would wait for it
    return code


def _workers_are_busy() -> bool:
    """Whether a worker thread still computes; idle ones have been told to end and do so at once."""
    until = time.monotonic() + LAST_WORK_S
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                return True
    return False


def _fresh_contexts() -> dict[str, Any]:
    """Each request starts from an empty context, on versions of the server that know how."""
    known = inspect.signature(uvicorn.Config).parameters
    return {"reset_contextvars": True} if "reset_contextvars" in known else {}


if __name__ == "__main__":
    sys.exit(main())
