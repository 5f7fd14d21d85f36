"""Trace and span ids: unique per request, told apart between runs, the sampled flag decided by the id alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import chain

import numpy as np

_BLOCK = 1024
_RANDOM_HEX = 40  # 24 digits for the trace id, 16 for the span id
TRACE, SPAN = slice(3, 35), slice(36, 52)
"""Where the trace id and the span id stand in a traceparent."""


def traceparents(run_id: str, worker: str, sampled: float) -> Iterator[bytes]:
    """Traceparents without end, 55 bytes each. The first 8 digits of a trace id name the run.

    `sampled` is the share of requests whose traceparent asks to be recorded; the last 14 digits of the trace id decide,
    the part that W3C Trace Context level 2 wants random.
    """
    return chain.from_iterable(_blocks(run_id, worker, sampled))


def _blocks(run_id: str, worker: str, sampled: float) -> Iterator[list[bytes]]:
    prefix = hashlib.blake2b(run_id.encode(), digest_size=4).hexdigest()
    key = hashlib.blake2b(f"{run_id}\0{worker}".encode(), digest_size=16).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(key, "big")))
    limit = round(sampled * (1 << 56))
    lines = np.empty((_BLOCK, 55), dtype=np.uint8)
    lines[:] = np.frombuffer(f"00-{prefix}{'-' * 42}01".encode(), dtype=np.uint8)
    while True:
        drawn = random.bytes(_BLOCK * _RANDOM_HEX // 2)
        digits = np.frombuffer(drawn.hex().encode(), dtype=np.uint8).reshape(_BLOCK, _RANDOM_HEX)
        lines[:, 11:35], lines[:, SPAN] = digits[:, :24], digits[:, 24:]
        # The last 14 of the 24 digits are bytes 5 to 12 of the 20 drawn.
        last = np.zeros((_BLOCK, 8), dtype=np.uint8)
        last[:, 1:] = np.frombuffer(drawn, dtype=np.uint8).reshape(_BLOCK, _RANDOM_HEX // 2)[:, 5:12]
        lines[:, 54] = np.where(last.view(">u8")[:, 0] < limit, ord("1"), ord("0"))
        whole = lines.tobytes()
        yield [whole[at : at + 55] for at in range(0, len(whole), 55)]
