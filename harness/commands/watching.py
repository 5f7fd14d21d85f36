"""Flags -> a run that tells of itself while it is on: to Prometheus, to an OTLP receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from harness.errors import UsageError

Command = Callable[..., Any]

_OPTIONS = (
    click.option(
        "--metrics", metavar="[HOST:]PORT", help="Serve Prometheus metrics at /metrics while the run is on, e.g. 9464."
    ),
    click.option(
        "--metrics-token", metavar="TOKEN", envvar="MLHARNESS_METRICS_TOKEN",
        help="Bearer token for that; needed where other machines can connect. Or MLHARNESS_METRICS_TOKEN.",
    ),
    click.option(
        "--metrics-linger", metavar="D", default="15s", show_default=True,
        help="How long whoever reads --metrics may take to read the end; the result is printed before.",
    ),
    click.option("--metrics-otlp", metavar="URL", help="Send metrics to an OTLP/HTTP receiver, e.g. http://host:4318."),
)  # fmt: skip


def metrics_options(command: Command) -> Command:
    """Adds the flags that `metrics_of` reads."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@contextmanager
def metrics_of(options: dict[str, Any], runs: Path, announce: Callable[[str], None]) -> Iterator[None]:
    """Takes its flags out of `options`; in the block the run tells of itself, if that was asked for.

    Raises UsageError.
    """
    address, push = options.pop("metrics"), options.pop("metrics_otlp")
    token, linger = options.pop("metrics_token"), options.pop("metrics_linger")
    if address is None and push is None:
        yield
        return
    from harness.metrics.pushed import endpoint
    from harness.metrics.start import Wanted, published
    from harness.units import UnitError, parse_duration_s

    try:
        linger_s = parse_duration_s(linger)
    except UnitError as error:
        raise UsageError(f"--metrics-linger: {error.message}", error.hint) from None
    wanted = Wanted(address, None if push is None else endpoint(push), token or None, linger_s)
    with published(wanted, runs, announce):
        yield
