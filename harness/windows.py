"""Where the server's windows stand on the client's clock: each host's offset, and how far it is off per request."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    answered: Flags
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
            answered=answered & ~known("error"),
            ok=answered & ~known("error") & ~known("failed_checks"),
            connected=known("sent_ns") | ~answered,
            censored=samples.column("censored").to_numpy(),
        )


ON_THIS_HOST = "the loopback target is on this host"
SPANS_END = "server spans end with the answer"
APART_NS = 5_000_000
"""Windows that end so much later than their answers were here, for most requests, are on another clock."""
_WILD = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """How far the server's clock is ahead when each sample began (`offset_ns`) and when it was done (`at_end_ns`).

    `known` is False where the window cannot be placed.
    """

    known: Flags
    offset_ns: Times
    at_end_ns: Times
    bound_ns: Times


def placed(client: Client, halves: Halves, own_host: str | None, loopback: bool) -> tuple[Offsets, Shift]:
    """The clock offset of each server host that is heard of, from what causality allows each of its requests; and what
    that means at each sample.

    `own_host` is this host's key; a server that reports none is taken to share its clock when the target is a loopback
    address (`loopback`) and nothing speaks against it: behind a tunnel there may be another machine.
    """
    usable = halves.known & (halves.start_ns != UNKNOWN) & (client.send_ns != UNKNOWN)
    n = len(client.done_ns)
    shift = Shift(np.zeros(n, np.bool_), *(np.zeros(n, np.int64) for _ in range(3)))
    found: list[tuple[str | None, ClockOffset | None]] = []
    for number, rows in _by_host(halves, usable):
        host = halves.hosts[number] if number >= 0 else None
        upper = Bounds(client.send_ns[rows], halves.start_ns[rows] - client.send_ns[rows])
        lower, ends = _answers(client, halves, rows), _ends(client, halves, rows)
        if host is None and loopback and not _apart(upper, ends):
            offset = fit(lower, upper, True)
            offset = offset and replace(offset, assumes=ON_THIS_HOST)
        elif host is not None and host == own_host:
            offset = fit(lower, upper, True)
        else:
            offset = _apart_fitted(lower, upper, ends)
        found.append((host, offset))
        if offset is not None:
            shift.known[rows] = True
            shift.offset_ns[rows] = offset.at(client.send_ns[rows])
            shift.at_end_ns[rows] = offset.at(client.done_ns[rows])
            shift.bound_ns[rows] = offset.bound_at(client.send_ns[rows])
    return tuple(found), shift


def _answers(client: Client, halves: Halves, rows: NDArray[np.intp]) -> Bounds:
    """An answer cannot be here before the service began to give it away."""
    answered, first_byte = halves.answered_ns[rows], client.first_byte_ns[rows]
    begun = (answered != UNKNOWN) & (first_byte != UNKNOWN)
    return Bounds(first_byte[begun], (answered - first_byte)[begun])


def _ends(client: Client, halves: Halves, rows: NDArray[np.intp]) -> Bounds:
    """Plain spans do not say when the answer was given away; their window ends about then, and so before it was here.

    Not causality: a service may go on in the background. Windows longer than their exchange plainly did, and who gave
    up waiting has no answer.
    """
    done, end = client.done_ns[rows], halves.end_ns[rows]
    fits = (end - halves.start_ns[rows] <= done - client.send_ns[rows]) & client.answered[rows]
    plain = fits & (halves.answered_ns[rows] == UNKNOWN)
    return Bounds(done[plain], (end - done)[plain])


def _apart(upper: Bounds, ends: Bounds) -> bool:
    """Whether a service that was taken to be on this host has another clock after all."""
    began_early = len(upper.offset_ns) > 0 and int(np.median(upper.offset_ns)) < -APART_NS
    return began_early or (len(ends.offset_ns) > 0 and int(np.median(ends.offset_ns)) > APART_NS)


def _apart_fitted(lower: Bounds, upper: Bounds, ends: Bounds) -> ClockOffset | None:
    if not len(ends.offset_ns):
        return fit(lower, upper, False)
    offset = fit(_joined(lower, ends), upper, False)
    if offset is not None and offset.contradiction_ns:  # some went on for a moment after their answer had left
        usual = ends.offset_ns <= np.quantile(ends.offset_ns, _WILD)
        offset = fit(_joined(lower, Bounds(ends.at_ns[usual], ends.offset_ns[usual])), upper, False)
    return offset and replace(offset, assumes=SPANS_END)


def _joined(one: Bounds, other: Bounds) -> Bounds:
    return Bounds(np.concatenate((one.at_ns, other.at_ns)), np.concatenate((one.offset_ns, other.offset_ns)))


def _by_host(halves: Halves, usable: Flags) -> list[tuple[int, NDArray[np.intp]]]:
    """(position in hosts, rows) of each host that is heard of, in the order of the first row."""
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(halves.host_of[rows], kind="stable")]
    edges = np.flatnonzero(np.diff(halves.host_of[rows])) + 1
    groups = [group for group in np.split(rows, edges) if len(group)]
    return [(int(halves.host_of[group[0]]), group) for group in sorted(groups, key=lambda group: int(group[0]))]


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
