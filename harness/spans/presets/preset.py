"""What is known of a server's spans: which stage each stands for, and what they do not tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

Rules: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""(stage, patterns) in the order they are tried; a pattern is a glob over span names or an `attr:` test."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One server. `tells` and `silent` are for people: what its spans say, and what they cannot say.

    `rules` are those of a scenario, except that they may claim spans of kind server. `holders` are spans around all
    that the user wrote: they stand for their stage only where nothing below them works for one. `derive` adds spans for
    what the server tells as attributes or events; it returns the table with them behind it and gives back a table
    that has them as it is. It looks at single spans and their parents.
    """

    name: str
    rules: Rules
    tells: str
    silent: str
    known_by: Callable[[pa.Table], bool]
    holders: Rules = ()
    derive: Callable[[pa.Table], pa.Table] | None = None
