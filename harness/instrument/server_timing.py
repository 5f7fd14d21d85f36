"""The `Server-Timing` header: the split of one request, sent back on its own answer.

    mlharness;desc="1 <trace id> <root span id> <window start, epoch ns> <host key or ->[ streamed]",
    total;dur=52.104233, queue;dur=3.100000, ...

Durations are milliseconds with six decimals, up to the instant the answer starts. Stages with no time are left out.
The word `streamed` behind the host key says that the work may go on while the body leaves: the split is not complete.
"""

from __future__ import annotations

from harness.instrument.host import host_key
from harness.instrument.marks import STAGES, Record
from harness.instrument.partition import partition

VERSION = 1


def header_value(record: Record, now: int, *, streamed: bool = False) -> bytes:
    """The header of a request whose answer starts at `now` (a `perf_counter_ns` reading)."""
    spent = partition(record.start, now, record.all_marks())
    ids = f"{VERSION} {record.trace_id:032x} {record.root_id:016x} {record.epoch_ns} {host_key()}"
    parts = [
        f'mlharness;desc="{ids}{" streamed" if streamed else ""}"',
        f"total;dur={_ms(now - record.start)}",
    ]
    parts += [f"{name};dur={_ms(spent[name])}" for name in STAGES if spent.get(name)]
    return ", ".join(parts).encode("ascii")


def _ms(ns: int) -> str:
    return f"{ns // 1_000_000}.{ns % 1_000_000:06d}"
