"""Fixtures for tests that run the whole harness."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.sample_server import start_sample_service


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="session")
def exporting_service() -> Iterator[tuple[str, str]]:
    """A sample service that exports spans: (its URL, the address it exports to)."""
    listen = f"127.0.0.1:{free_port()}"
    environ = {"READER_THREADS": "2", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{listen}"}
    with start_sample_service(environ) as url:
        yield url, listen
