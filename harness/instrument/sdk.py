"""The SDK of OpenTelemetry, imported so that a service which would start without it starts with it, too."""

from __future__ import annotations

import os

from harness.instrument.quiet import LOG


def load() -> None:
    """Import what reads limits from the environment as it is imported, and raises where one is not a number.

    Such a limit is kept from that one import. A provider that is made later still refuses it.
    """
    try:
        import opentelemetry.sdk.trace
    except ValueError as error:
        hidden = {name: os.environ.pop(name) for name in list(os.environ) if _is_limit(name)}
        try:
            import opentelemetry.sdk.trace  # noqa: F401
        finally:
            os.environ.update(hidden)
        LOG.warning("OpenTelemetry does not understand its environment, so spans are not exported: %s", error)


def _is_limit(name: str) -> bool:
    return name.startswith("OTEL_") and name.endswith("_LIMIT")


load()
