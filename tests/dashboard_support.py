"""A dashboard that answers on a real socket, and a client for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import httpx
import uvicorn

from harness.dashboard import loading
from harness.dashboard.app import create_app
from harness.dashboard.settings import Settings

for name in loading.PAGES:  # seconds that no test should have to wait for
    import_module(f"harness.dashboard.pages.{name}")

TOKEN = "a-token-of-the-tests-0123456789"  # noqa: S105 - of the tests


def settings_of(runs: Path, **changes: object) -> Settings:
    return replace(Settings(runs=runs, scenarios=runs, token=TOKEN), **changes)  # type: ignore[arg-type]


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The dashboard on a free port of loopback, in a thread; gives its URL without a slash at the end."""
    config = uvicorn.Config(
        create_app(settings), host="127.0.0.1", port=0, log_level="warning", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    give_up = time.monotonic() + 20
    while not server.started and thread.is_alive() and time.monotonic() < give_up:
        time.sleep(0.005)
    assert server.started, "the dashboard did not start"
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@contextmanager
def dashboard(runs: Path, **changes: object) -> Iterator[httpx.Client]:
    """A client of a dashboard over `runs`; `post` is for what changes something."""
    with served(settings_of(runs, **changes)) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


def post(client: httpx.Client, path: str, content: object) -> httpx.Response:
    """As a page of ours posts: with the token and our own origin."""
    origin = str(client.base_url).rstrip("/")
    return client.post(path, json=content, headers={"X-Harness-Token": TOKEN, "Origin": origin})
