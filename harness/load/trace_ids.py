"""Trace and span ids: unique per request, told apart between runs, the sampled flag decided by the id alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

_BLOCK = 1024
_RANDOM_HEX = 40  # 24 digits for the trace id, 16 for the span id


def trace_ids(run_id: str, worker: str, sampled: float) -> Iterator[tuple[str, str, bytes]]:
    """(trace id, span id, traceparent) without end. The first 8 digits of a trace id name the run.

    `sampled` is the share of requests whose traceparent asks to be recorded; the last 14 digits of the trace id decide,
    the part that W3C Trace Context level 2 wants random.
    """
    prefix = hashlib.blake2b(run_id.encode(), digest_size=4).hexdigest()
    key = hashlib.blake2b(f"{run_id}\0{worker}".encode(), digest_size=16).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(key, "big")))
    limit = round(sampled * (1 << 56))
    while True:
        digits = random.bytes(_BLOCK * _RANDOM_HEX // 2).hex()
        for at in range(0, len(digits), _RANDOM_HEX):
            trace_id = prefix + digits[at : at + 24]
            span_id = digits[at + 24 : at + _RANDOM_HEX]
            flag = "01" if int(trace_id[18:], 16) < limit else "00"
            yield trace_id, span_id, f"00-{trace_id}-{span_id}-{flag}".encode("ascii")
