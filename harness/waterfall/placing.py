"""Where the server half of a request stands on our clock: as the ledger places it, for a few requests alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from harness.clock import ClockOffset
from harness.join import Halves, Joined, join
from harness.spans.columns import UNKNOWN, columns_of, numbers_of
from harness.spans.forest import Forest, forest_of
from harness.spans.tree import NONE
from harness.windows import Client, Offsets, Shift, placed


@dataclass(frozen=True, slots=True, eq=False)
class Few:
    """A few requests joined with their spans. Row i of `client`, `joined.halves` and `shift` belongs to sample i."""

    client: Client
    joined: Joined
    forest: Forest
    shift: Shift
    offsets: Offsets
    trace_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """The window of a request on our clock, epoch ns; and how the server's clock stands to ours there.

    `since_ns`, `until_ns` are the same two instants on the server's clock. `slack_ns`: how far the window may be off.
    `sure` is False where the clocks cannot be compared: then it lies in the middle of where it may.
    """

    opened_ns: int
    closed_ns: int
    since_ns: int
    until_ns: int
    slack_ns: int
    sure: bool

    def here(self, server_ns: int) -> int:
        """An instant of the server's clock on ours; the two drift apart inside the window only."""
        length = self.until_ns - self.since_ns
        ahead = self.since_ns - self.opened_ns
        gained = (self.until_ns - self.closed_ns) - ahead
        if gained and length > 0:
            ahead += round(gained * min(max((server_ns - self.since_ns) / length, 0.0), 1.0))
        return server_ns - ahead


def joined_few(
    samples: pa.Table, spans: pa.Table, source: str, offsets: Offsets | None, host: str, loopback: bool
) -> Few:
    """These samples joined with these spans. Without stored `offsets` they are estimated from these requests alone."""
    joined = join(samples, [spans], source)
    client = Client.of(samples)
    columns = columns_of([spans], samples.column("trace_id").combine_chunks())
    forest = forest_of(columns, numbers_of(samples.column("span_id")))
    if offsets is None:
        offsets, shift = placed(client, joined.halves, host, loopback)
    else:
        shift = _shift(client, joined.halves, offsets)
    return Few(client, joined, forest, shift, offsets, tuple(samples.column("trace_id").to_pylist()))


def _shift(client: Client, halves: Halves, offsets: Offsets) -> Shift:
    """What windows.placed made of these offsets, for a few samples."""
    by_host = dict(offsets)
    n = len(client.done_ns)
    shift = Shift(np.zeros(n, np.bool_), *(np.zeros(n, np.int64) for _ in range(3)))
    usable = halves.known & (halves.start_ns != UNKNOWN) & (client.send_ns != UNKNOWN)
    for row in np.flatnonzero(usable).tolist():
        number = int(halves.host_of[row])
        offset = by_host.get(halves.hosts[number] if number >= 0 else None)
        if offset is not None:
            one = slice(row, row + 1)
            shift.known[row] = True
            shift.offset_ns[one] = offset.at(client.send_ns[one])
            shift.at_end_ns[one] = offset.at(client.done_ns[one])
            shift.bound_ns[one] = offset.bound_at(client.send_ns[one])
    return shift


def place_of(few: Few, row: int) -> Place | None:
    """The window as the ledger charges it; None without a server half, or when nothing was written."""
    halves, client, shift = few.joined.halves, few.client, few.shift
    send, done = int(client.send_ns[row]), int(client.done_ns[row])
    if send == UNKNOWN or not halves.known[row]:
        return None
    start, end = int(halves.start_ns[row]), int(halves.end_ns[row])
    if shift.known[row]:
        ahead, at_end = int(shift.offset_ns[row]), int(shift.at_end_ns[row])
        opened = min(max(start - ahead, send), done)
        closed = min(max(end - at_end, opened), done)
        return Place(opened, closed, opened + ahead, closed + at_end, int(shift.bound_ns[row]), True)
    total = round(float(halves.total_s[row]) * 1e9)
    return _in_the_middle(send, done, total, start if start != UNKNOWN else 0)


def _in_the_middle(send: int, done: int, total: int, start: int) -> Place:
    inside = max(0, min(total, done - send))
    spare = max(0, done - send - inside)
    opened = send + spare // 2
    return Place(opened, opened + inside, start, start + total, -(-spare // 2), False)


def place_of_rest(few: Few, row: int, rows: Sequence[int]) -> Place | None:
    """For spans the ledger cannot use (some are missing, or the root is): where they stand, as far as that is known."""
    send, done = int(few.client.send_ns[row]), int(few.client.done_ns[row])
    if send == UNKNOWN or not rows:
        return None
    spans, root = few.forest.spans, int(few.forest.root[row])
    starts, ends = spans.start_ns[list(rows)], spans.end_ns[list(rows)]
    start, end = int(starts.min()), int(ends.max())
    if root != NONE:
        start, end = int(spans.start_ns[root]), int(spans.end_ns[root])
    offset = _offset_of(few, root)
    if offset is None:
        return _in_the_middle(send, done, max(0, end - start), start)
    at = few.client.send_ns[row : row + 1]
    ahead, bound = int(offset.at(at)[0]), int(offset.bound_at(at)[0])
    opened = min(max(start - ahead, send), done)
    closed = min(max(end - ahead, opened), done)
    return Place(opened, closed, opened + ahead, closed + ahead, bound, True)


def _offset_of(few: Few, root: int) -> ClockOffset | None:
    """That of the root's host; where nobody says which one it is, of the only one there is."""
    spans = few.forest.spans
    if root != NONE and spans.host_of[root] >= 0:
        return dict(few.offsets).get(spans.hosts[int(spans.host_of[root])])
    return few.offsets[0][1] if len(few.offsets) == 1 else None
