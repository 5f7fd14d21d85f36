"""The `Server-Timing` header: the split of one request, sent back on its own answer.

    mlharness;desc="1 <trace id> <root span id> <window start, epoch ns> <host key or ->[ streamed]",
    total;dur=52.104233, queue;dur=3.100000, ...

Durations are milliseconds with six decimals, up to the instant the answer starts. Stages with no time are left out.
The word `streamed` behind the host key says that the work may go on while the body leaves, or that there is too much
to split: the split is not complete. An answer that announces its length counts as whole. Whether its body is still in
the making shows only later, and is said by the root span (`harness.streamed`); to hold the head back until then would
change when the caller gets it.
"""

from __future__ import annotations

from harness.instrument.host import host_key
from harness.instrument.marks import STAGES, Record
from harness.instrument.partition import partition

VERSION = 1
MS = 1e-6
MOST_MARKS = 1_000
"""More are not split while the caller waits: it is told that the split is not complete."""


def header_value(record: Record, now: int, *, streamed: bool = False) -> bytes:
    """The header of a request whose answer starts at `now` (a `perf_counter_ns` reading)."""
    marks = record.all_marks()
    if len(marks) > MOST_MARKS:
        spent, streamed = {}, True
    else:
        spent = partition(record.start, now, marks)
    text = (
        f'mlharness;desc="{VERSION} {record.trace_id:032x} {record.root_id:016x} {record.epoch_ns} {host_key()}'
        f'{" streamed" if streamed else ""}", total;dur={(now - record.start) * MS:.6f}'
    )
    for name in STAGES:
        if spent.get(name):
            text += f", {name};dur={spent[name] * MS:.6f}"
    return text.encode("ascii")


def is_streamed(method: object, status: object, *, has_length: bool) -> bool:
    """Whether the body may still be in the making: who announces no length need not have it yet."""
    bodiless = method == "HEAD" or status in (204, 304) or (isinstance(status, int) and 100 <= status < 200)
    return not has_length and not bodiless
