"""What a dashboard is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """`runs` is the folder of runs; scenarios that may be started from a page lie below `scenarios`.

    `token` has to come with whatever changes something; with `guarded` with every request. `hosts` are the values of
    the Host header that are answered. `trace_link` is a URL with {trace_id}.
    """

    runs: Path
    scenarios: Path
    token: str
    guarded: bool = False
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    trace_link: str | None = None
