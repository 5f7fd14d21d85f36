"""The span receiver as its parent sees it: bind the port, start the child, follow its counts, stop it."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import UsageError

SPANS_FILE = "spans.arrows"
VITALS_FILE = "vitals.arrows"
LOG_FILE = "receiver.log"
_BACKLOG = 1024
_ASK_EVERY_S = 0.1
_COUNTS = ("spans", "rejected", "bytes", "requests", "points", "points_rejected")
_GRPC_START_S = 15.0
_USUAL = {"listen": 4318, "listen_grpc": 4317}


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """What the receiver said last. `error` is one sentence when spans were lost or the child is gone unasked."""

    spans: int = 0
    rejected: int = 0
    bytes: int = 0
    requests: int = 0
    points: int = 0  # of metrics
    points_rejected: int = 0
    ended: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class GrpcPort:
    """A port that is kept for the gRPC server of the receiver until that has bound it."""

    host: str
    port: int
    kept: socket.socket


def bind(address: str) -> socket.socket:
    """A listening socket on a loopback `HOST:PORT`; port 0 takes a free one. Raises UsageError."""
    return _bound(address, "listen")


def bind_grpc(address: str) -> GrpcPort:
    """Keep a loopback `HOST:PORT` for OTLP over gRPC; port 0 takes a free one. Raises UsageError.

    gRPC for Python binds by itself and takes no open socket. Sockets of one user that all ask for SO_REUSEPORT may
    share a port. So it is bound without: a port that anybody has is refused; and asked for from then on: the child
    can join while nobody else gets in between.
    """
    sock = _bound(address, "listen_grpc")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    host, port = sock.getsockname()[:2]
    return GrpcPort(host, port, sock)


def _bound(address: str, key: str) -> socket.socket:
    host, port = _parse(address, key)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused(host, port, family, error, key) from error
    return sock


def _parse(address: str, key: str) -> tuple[str, int]:
    found = re.fullmatch(r"\s*(?:\[([^\[\]]*)\]|([^\[\]:]*)):([0-9]{1,5})\s*", address, re.ASCII)
    if found is None or int(found[3]) > 65535:
        raise UsageError(f"'{address}' is no address to listen on", f"write HOST:PORT, e.g. 127.0.0.1:{_USUAL[key]}")
    host = found[1] if found[1] is not None else found[2]
    host = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        hint = f"listen on 127.0.0.1:{found[3]}: other machines could send spans without a token, and tokens are not"
        raise UsageError(f"'{address}' is not a loopback address", f"{hint} supported yet")
    return host, int(found[3])


def _refused(host: str, port: int, family: socket.AddressFamily, error: OSError, key: str) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        free = _address(host, _free_port(host, port, family))
        if key == "listen_grpc":
            hint = f"leave `listen_grpc` out of spans, or write `listen_grpc: {free}`, which is free"
        else:
            hint = f"{free} is free: write `spans: {{listen: {free}}}` and have the service send there"
        return UsageError(
            f"{_address(host, port)} is taken",
            f"{hint}. A service sends its spans to one place: of two runs against one service, one needs "
            "`source: server-timing`, which opens no port",
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return UsageError(
        f"cannot listen on {_address(host, port)}: {reason}",
        f"try 127.0.0.1:{_USUAL[key]}, or port 0 for any free port",
    )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _free_port(host: str, taken: int, family: socket.AddressFamily) -> int:
    """A free port, near the taken one if there is one: easier to remember, and stable from run to run."""
    for port in (*range(taken + 1, min(taken + 20, 65536)), 0):
        with socket.socket(family, socket.SOCK_STREAM) as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            return int(sock.getsockname()[1])
    return 0


def start(sock: socket.socket, run_dir: Path, grpc: GrpcPort | None = None) -> ReceiverProcess:
    """Start the receiver on a socket of `bind`, and on `grpc` when it is given.

    It writes `spans.arrows`, `vitals.arrows` and `receiver.log` into `run_dir`. The sockets are handed over: they are
    closed here, so that a receiver that dies refuses connections. With `grpc` it is waited for: before the child has
    bound this port a connection is reset, and some exporters drop what they were sending; why it could not be bound
    is the error of the first `poll`.
    """
    host, port = sock.getsockname()[:2]
    command = [
        sys.executable, "-P", "-m", "harness.spans.receiver",
        "--fd", str(sock.fileno()), "--out", str(run_dir / SPANS_FILE),
    ]  # fmt: skip
    fds = [sock.fileno()]
    if grpc is not None:
        fds.append(grpc.kept.fileno())
        command += ["--grpc", _address(grpc.host, grpc.port), "--grpc-fd", str(grpc.kept.fileno())]
    with sock, grpc.kept if grpc is not None else contextlib.nullcontext(), (run_dir / LOG_FILE).open("ab") as log:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0,
            pass_fds=fds, start_new_session=True,
        )  # fmt: skip
    endpoint = f"http://{_address(host, port)}"
    if grpc is None:
        return ReceiverProcess(child, endpoint, run_dir)
    receiver = ReceiverProcess(child, endpoint, run_dir, f"http://{_address(grpc.host, grpc.port)}")
    receiver.await_grpc(_GRPC_START_S)
    return receiver


class ReceiverProcess:
    """The running child. `endpoint` is what OTEL_EXPORTER_OTLP_ENDPOINT is set to; with gRPC, `grpc_endpoint`."""

    def __init__(
        self, child: subprocess.Popen[bytes], endpoint: str, run_dir: Path, grpc_endpoint: str | None = None
    ) -> None:
        self.endpoint = endpoint
        self.grpc_endpoint = grpc_endpoint
        self._child = child
        self._run_dir = run_dir
        self._unread = b""
        self._status: ReceiverStatus | None = None
        self._stopping = False
        self._serves_grpc = False
        assert child.stdin is not None  # noqa: S101 - both are pipes
        assert child.stdout is not None  # noqa: S101
        self._asks, self._says = child.stdin, child.stdout
        os.set_blocking(self._says.fileno(), False)

    @property
    def pid(self) -> int:
        return self._child.pid

    def poll(self) -> ReceiverStatus | None:
        """The newest status, without waiting; None while the child has said nothing."""
        gone = self._child.poll() is not None  # looked at first: what it said before it went is read below
        self._read()
        if gone and not self._stopping:
            self._note_death()
        return self._status

    def await_grpc(self, deadline_s: float) -> bool:
        """Wait until gRPC is served; False when it is not and will not be, or not in time."""
        deadline = time.monotonic() + deadline_s
        while not self._serves_grpc and time.monotonic() < deadline:
            status = self.poll()
            if self._child.poll() is not None or (status is not None and status.error is not None):
                break
            self._wait_for_word(_ASK_EVERY_S)
        return self._serves_grpc

    def drained(self, quiet_s: float, deadline_s: float) -> bool:
        """Wait until no new span arrived for `quiet_s`. False when `deadline_s` passed first or the child is gone."""
        if self._stopping:
            return False
        deadline = time.monotonic() + deadline_s
        seen: tuple[int, int, int] | None = None
        quiet_since = time.monotonic()
        while time.monotonic() < deadline:
            answered = self._ask()
            status = self.poll()
            if self._child.poll() is not None:
                return False
            counts = (status.spans, status.rejected, status.requests) if status and answered else None
            if counts is None or counts != seen:
                seen, quiet_since = counts, time.monotonic()
            elif time.monotonic() - quiet_since >= quiet_s:
                return True
            time.sleep(min(_ASK_EVERY_S, max(0.0, deadline - time.monotonic())))
        return False

    def stop(self, timeout_s: float = 10.0) -> ReceiverStatus:
        """Let the child finish open requests and close its file; kill it after `timeout_s`. May be called again."""
        if not self._stopping:
            self.poll()
            self._stopping = True
            with contextlib.suppress(OSError):
                self._asks.close()
            try:
                self._child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._child.send_signal(signal.SIGKILL)
                self._child.wait()
            self._read()
            self._says.close()
            if not (self._status and self._status.ended):
                self._note_death()
        return self._status or ReceiverStatus()

    def _ask(self) -> bool:
        """Have the counts said now; True when the answer came within a second."""
        try:
            self._asks.write(b"?")
        except OSError:
            return False
        return self._wait_for_word(1.0)

    def _wait_for_word(self, timeout_s: float) -> bool:
        waiting = select.poll()
        waiting.register(self._says, select.POLLIN)
        return bool(waiting.poll(timeout_s * 1000))

    def _read(self) -> None:
        if self._says.closed:
            return
        with contextlib.suppress(OSError):
            while piece := self._says.read(65536):
                self._unread += piece
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            self._hear(line)

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return
        before = self._status or ReceiverStatus()
        if said.get("kind") == "grpc":
            self._serves_grpc = True
            return
        if said.get("kind") == "error":
            self._status = replace(before, error=said["message"])
            return
        counts = {name: said[name] for name in _COUNTS}
        self._status = replace(before, **counts, ended=said.get("kind") == "end")

    def _note_death(self) -> None:
        before = self._status or ReceiverStatus()
        if before.error is None:
            code = self._child.returncode
            how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
            log = self._run_dir / LOG_FILE
            self._status = replace(
                before, error=f"the span receiver stopped early ({how}); its last words are in {log}"
            )
