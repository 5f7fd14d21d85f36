"""Random ids from a generator of our own: the service may have seeded the common one."""

from __future__ import annotations

import os
import random

_random = random.Random(os.urandom(16))  # noqa: S311 - ids need to differ, not to be secret


def _forget_parent() -> None:
    """A forked child must not draw the parent's ids."""
    global _random
    _random = random.Random(os.urandom(16))  # noqa: S311


os.register_at_fork(after_in_child=_forget_parent)


def new_trace_id() -> int:
    return _random.getrandbits(128) or 1


def new_span_id() -> int:
    return _random.getrandbits(64) or 1


def new_span_ids(number: int) -> list[bytes]:
    """Ids as they are on the wire, eight bytes each."""
    drawn = _random.randbytes(8 * number)
    return [drawn[at : at + 8] for at in range(0, 8 * number, 8)]
