"""Servers under test, each in a child of its own on the server's core, on a free port of the loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from support.cores import SERVER, pinned, stop

ROOT = Path(__file__).parent.parent.parent
_CONFIG = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; client_max_body_size 0;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; default_type text/plain;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 ok; }} }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    url: str
    pid: int


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def nginx() -> Iterator[Server]:
    """nginx in one process: 200 and two bytes for every request; a body is read and dropped."""
    binary = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if binary is None:
        sys.exit("nginx is not installed: run scripts/install-bench")
    with tempfile.TemporaryDirectory(prefix="bench-nginx-") as folder:
        port = free_port()
        config = Path(folder) / "nginx.conf"
        config.write_text(_CONFIG.format(folder=folder, port=port))
        with _child([binary, "-p", folder, "-c", str(config), "-e", "stderr"], port) as server:
            yield server


@contextlib.contextmanager
def python(script: str, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A script of this folder that takes a port as its first argument."""
    port = free_port()
    path = Path(__file__).parent / script
    with _child([sys.executable, str(path), str(port), *arguments], port, env) as server:
        yield server


@contextlib.contextmanager
def _child(command: list[str], port: int, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    environ = {**os.environ, **(env or {})}
    child = subprocess.Popen(pinned(command, SERVER), cwd=ROOT, env=environ, start_new_session=True)
    try:
        _await(port, child)
        yield Server(f"http://127.0.0.1:{port}", child.pid)
    finally:
        stop(child)


def _await(port: int, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and child.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.02)
    sys.exit(f"the server did not start: {child.args!r}")


def cpu_s(server: Server) -> float:
    """CPU seconds the server has used so far."""
    times = psutil.Process(server.pid).cpu_times()
    return float(times.user + times.system)
