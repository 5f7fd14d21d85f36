"""The HTTP end of metrics: GET /metrics, nothing else."""

from __future__ import annotations

import hmac
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from harness import __version__

Answer: TypeAlias = Callable[[str], tuple[bytes, str]]
"""An Accept header -> the body of a scrape and its content type."""

_MOST_AT_ONCE = 32
_MOST_READERS = 32
_IDLE_S = 60.0
"""Prometheus keeps its connection from scrape to scrape."""


class Server:
    """Answers on a listening socket, in threads of its own. `readers` are those who read, and how often."""

    def __init__(self, sock: socket.socket, answer: Answer, token: str | None) -> None:
        self.readers: dict[tuple[str, str], int] = {}
        self._server = _Server(sock, self, answer, token)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True)
        self._thread.start()

    def was_read(self, address: str, agent: str) -> None:
        reader = address, agent[:200]
        if reader in self.readers or len(self.readers) < _MOST_READERS:
            self.readers[reader] = self.readers.get(reader, 0) + 1

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, sock: socket.socket, counted: Server, answer: Answer, token: str | None) -> None:
        super().__init__(sock.getsockname()[:2], _Request, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.counted, self.answer = counted, answer
        self.authorization = None if token is None else f"Bearer {token}".encode()
        self._room = threading.BoundedSemaphore(_MOST_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left in the middle is nobody's concern."""


class _Request(BaseHTTPRequestHandler):
    server: _Server
    server_version = f"harness/{__version__}"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    def do_GET(self) -> None:
        wanted = self.server.authorization
        given = (self.headers.get("Authorization") or "").encode("latin-1", "replace")
        if self.path.partition("?")[0] != "/metrics":
            self._send(HTTPStatus.NOT_FOUND, b"only /metrics is here\n", "text/plain; charset=utf-8")
        elif wanted is not None and not hmac.compare_digest(wanted, given):
            self._send(HTTPStatus.UNAUTHORIZED, b"this needs the token of the run\n", "text/plain; charset=utf-8")
        else:
            body, content_type = self.server.answer(self.headers.get("Accept") or "")
            self._send(HTTPStatus.OK, body, content_type)
            self.server.counted.was_read(self.client_address[0], self.headers.get("User-Agent") or "")

    do_HEAD = do_GET  # noqa: N815 - as http.server calls them

    def _send(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads a log of scrapes."""
