"""Where the server's windows stand on the client's clock: each host's offset, and how far it is off per request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.clock import Bounds, ClockOffset, fit
from harness.join import Halves, Joined
from harness.model import Phase
from harness.spans.columns import UNKNOWN

Times: TypeAlias = NDArray[np.int64]
Seconds: TypeAlias = NDArray[np.float64]  # NaN: not known
Flags: TypeAlias = NDArray[np.bool_]
Offsets: TypeAlias = tuple[tuple[str | None, ClockOffset | None], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """What the client noted, a row per sample. `send_ns` is -1 when nothing was written."""

    request_id: NDArray[np.int64]
    step: NDArray[np.int64]
    measured: Flags
    scheduled_ns: Times
    start_ns: Times
    send_ns: Times
    first_byte_ns: Times
    done_ns: Times
    bytes_sent: NDArray[np.int64]
    ok: Flags
    connected: Flags  # when the connection stood is known: the client did not time the exchange as a whole
    censored: Flags

    @classmethod
    def of(cls, samples: pa.Table) -> Client:
        def whole(name: str) -> NDArray[np.int64]:
            found: NDArray[np.int64] = pc.fill_null(samples.column(name), UNKNOWN).to_numpy()
            return found

        def known(name: str) -> Flags:
            found: Flags = pc.is_valid(samples.column(name)).to_numpy()
            return found

        answered = known("status")
        return cls(
            request_id=whole("request_id"),
            step=whole("step"),
            measured=pc.equal(samples.column("phase"), Phase.MEASURE.value).to_numpy(),
            scheduled_ns=whole("scheduled_ns"),
            start_ns=whole("start_ns"),
            send_ns=whole("send_ns"),
            first_byte_ns=whole("first_byte_ns"),
            done_ns=whole("done_ns"),
            bytes_sent=whole("bytes_sent"),
            ok=answered & ~known("error") & ~known("failed_checks"),
            connected=known("sent_ns") | ~answered,
            censored=samples.column("censored").to_numpy(),
        )


def offsets_of(client: Client, halves: Halves, own_host: str | None, loopback: bool) -> Offsets:
    """The clock offset of each server host that is heard of, from what causality allows each of its requests.

    `own_host` is this host's key; a server that reports none is taken to share its clock when the target is a loopback
    address (`loopback`).
    """
    usable = halves.known & (halves.start_ns != UNKNOWN) & (client.send_ns != UNKNOWN)
    found = []
    for number, rows in _by_host(halves, usable):
        host = halves.hosts[number] if number >= 0 else None
        upper = Bounds(client.send_ns[rows], halves.start_ns[rows] - client.send_ns[rows])
        answered, first_byte = halves.answered_ns[rows], client.first_byte_ns[rows]
        worked, done = halves.worked_until_ns[rows], client.done_ns[rows]
        begun = (answered != UNKNOWN) & (first_byte != UNKNOWN)
        bounded = begun | ((answered == UNKNOWN) | (first_byte == UNKNOWN)) & (worked != UNKNOWN)
        below = np.where(begun, answered - first_byte, worked - done)
        lower = Bounds(np.where(begun, first_byte, done)[bounded], below[bounded])
        shares_clock = loopback if host is None else host == own_host
        found.append((host, fit(lower, upper, shares_clock)))
    return tuple(found)


def _by_host(halves: Halves, usable: Flags) -> list[tuple[int, NDArray[np.intp]]]:
    """(position in hosts, rows) of each host that is heard of, in the order of the first row."""
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(halves.host_of[rows], kind="stable")]
    edges = np.flatnonzero(np.diff(halves.host_of[rows])) + 1
    groups = [group for group in np.split(rows, edges) if len(group)]
    return [(int(halves.host_of[group[0]]), group) for group in sorted(groups, key=lambda group: int(group[0]))]


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """How far the server's clock is ahead when each sample began (`offset_ns`) and when it was done (`at_end_ns`).

    `known` is False where the window cannot be placed.
    """

    known: Flags
    offset_ns: Times
    at_end_ns: Times
    bound_ns: Times


def shift_of(client: Client, halves: Halves, offsets: Offsets) -> Shift:
    """The offsets of `offsets_of`, at each sample."""
    n = len(client.done_ns)
    shift = Shift(np.zeros(n, np.bool_), *(np.zeros(n, np.int64) for _ in range(3)))
    usable = halves.known & (halves.start_ns != UNKNOWN) & (client.send_ns != UNKNOWN)
    for (_, rows), (_, offset) in zip(_by_host(halves, usable), offsets, strict=True):
        if offset is not None:
            shift.known[rows] = True
            shift.offset_ns[rows] = offset.at(client.send_ns[rows])
            shift.at_end_ns[rows] = offset.at(client.done_ns[rows])
            shift.bound_ns[rows] = offset.bound_at(client.send_ns[rows])
    return shift


def leaked(client: Client, joined: Joined, shift: Shift) -> int:
    """Requests without a server half during which spans of another trace went on after that trace's own request.

    A service that mixes up its contexts writes later requests of a connection into the trace of an earlier one.
    """
    known = shift.known[joined.stray.request]
    request = joined.stray.request[known]
    start = np.sort(joined.stray.start_ns[known] - shift.offset_ns[request])
    lost = ~joined.halves.known & (client.send_ns != UNKNOWN) & ~client.censored
    since = np.searchsorted(start, client.send_ns[lost])
    until = np.searchsorted(start, client.done_ns[lost], side="right")
    return int((until > since).sum())
