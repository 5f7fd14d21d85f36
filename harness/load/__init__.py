"""Scenario -> samples. gevent lives in here and nowhere else, and only in child processes.

`from harness.load import HarnessUser` is what a Python scenario needs; importing this package alone is free of gevent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.load.users import HarnessUser

__all__ = ["HarnessUser"]


def __getattr__(name: str) -> Any:
    if name == "HarnessUser":
        from harness.load.users import HarnessUser

        return HarnessUser
    raise AttributeError(f"module 'harness.load' has no attribute {name!r}")
