"""Fixtures for tests that run the whole harness, the order of the files, and bytecode for all child processes."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import pytest

from tests.browser_support import browser, open_page, running_browser  # noqa: F401 - fixtures
from tests.sample_server import ROOT, start_sample_service

LONGEST = (
    "test_run", "test_ab_command", "test_acceptance_known_delay", "test_run_until_decided", "test_acceptance_verdict",
    "test_bench", "test_load_health", "test_instrument_export", "test_acceptance_channels", "test_acceptance_foreign",
    "test_instrument_vitals", "test_ci_files", "test_pytest_plugin_sessions", "test_load_master", "test_load_locust",
    "test_load_process", "test_sample_service_situations", "test_sample_service_faults", "test_services",
    "test_load_lost", "test_load_blocked", "test_edges", "test_coverage", "test_browser_dashboard",
    "test_hostile_pages", "test_browser_report", "test_browser_live", "test_watched_run", "test_dashboard_live",
)  # fmt: skip
"""Files that take long, mostly to wait: they come first, so that no worker is left alone with one at the end."""


def keep_bytecode() -> None:
    """Where Python is told to write no bytecode, every child process would compile all it imports, for seconds."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        kept = str(ROOT / ".pytest_cache" / "bytecode")
        os.environ.setdefault("PYTHONPYCACHEPREFIX", kept)
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]
        sys.dont_write_bytecode = False


keep_bytecode()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; `--no-loadscope-reorder` keeps that order, which is by number of tests otherwise."""
    rank = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


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
