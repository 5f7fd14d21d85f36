"""The offset between the service's clock and ours, bounded by causality.

A request cannot be in the service before we began to write it, nor can we have read an answer before the service
handed it over. Each request therefore bounds the offset `server clock - client clock` from both sides:

    answer begun - first byte seen  <=  offset  <=  window opened - first write

Nothing is assumed about how long the network takes or how evenly, as a mean or a regression would; as with NTP's
filter (RFC 5905, 10) the fastest exchanges decide. Clocks of two machines drift apart, so the bounds of a run
confine a line, not a number: all lines between them form a convex set that the hulls of the two sides give (Moon,
Skelly and Towsley, INFOCOM 1999). The offset is the line with the widest margin, or a constant where one does nearly
as well; its error at an instant is the distance to the farthest line that fits too, so that any linear drift up to
what an operating system allows is covered, also where a constant would have passed.

Where no line fits the whole run, it is cut where the clock must have been stepped, and what is left over is halved
until a line fits; then the error is what a clock of any drift could have done. Two processes on one kernel share
CLOCK_REALTIME: their offset is zero, and the bounds only have to agree with that.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.skew import MOST_DRIFT, SHORTEST_NS, Band, Ceiling, Floats, Lines, follow, highest

SLACK_NS = 1_000_000
"""Bounds that miss zero on one host by less than this are clock resolution, not a contradiction."""
_FAR_NS = 10**15
"""Bounds farther than this from the others are as good as this far: floats still tell nanoseconds apart there."""
_WILD_SHARE = 0.1  # of the bounds, twice that of the requests: more are not a few that went wrong
_FEW = 40  # bounds of a side are too few to vote on
_GRAIN_NS = 0.01  # of a float calculation: far below the clocks' own


@dataclass(frozen=True, slots=True)
class Bounds:
    """One-sided causal bounds, one row per request: on the offset at the client's instant `at_ns`.

    That is the first write for an upper bound; for a lower one the first byte seen is exact, and the first write
    leaves out what the clocks drift during one request.
    """

    at_ns: NDArray[np.int64]
    offset_ns: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Piece:
    """A line over [from_ns, until_ns] of the client's clock: `offset_ns` at `from_ns`, gaining `drift_ppm`.

    `above` are the highest lines that are possible, and `below` the lowest with their signs changed: nanoseconds from
    `offset_ns`, against nanoseconds since `from_ns`.
    """

    from_ns: int
    until_ns: int
    offset_ns: int
    drift_ppm: float
    above: Lines
    below: Lines

    def at(self, instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """The offset at these instants, ns."""
        gained = (instants_ns - self.from_ns) * (self.drift_ppm / 1e6)
        offsets: NDArray[np.int64] = np.rint(gained).astype(np.int64) + self.offset_ns
        return offsets

    def bound_at(self, instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """How far the offset may be off at these instants, ns."""
        since = (instants_ns - self.from_ns).astype(np.float64)
        line = self.at(instants_ns) - self.offset_ns
        off = np.maximum(highest(self.above, since) - line, highest(self.below, since) + line)
        return np.ceil(np.maximum(off, 0) - _GRAIN_NS).astype(np.int64)


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """`offset_ns` is server minus client, at the middle of the run; the server's clock gains `drift_ppm`.

    `bound_ns` is how far the offset may be off at the worst instant of the run (0 on one host). `contradiction_ns` > 0:
    there are bounds that no offset fits, not even one that drifts or was stepped, and they miss it by as much.
    """

    offset_ns: int
    bound_ns: int
    same_host: bool
    contradiction_ns: int
    n: int
    drift_ppm: float = 0.0
    pieces: tuple[Piece, ...] = ()
    assumes: str | None = None  # what has to be true for it, when that could not be seen

    def at(self, instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """The offset at these instants of the client's clock, ns."""
        offsets = np.full(len(instants_ns), self.offset_ns, np.int64)
        for piece, rows in self._rows(instants_ns):
            offsets[rows] = piece.at(instants_ns[rows])
        return offsets

    def bound_at(self, instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """How far the offset may be off at these instants of the client's clock, ns; more outside the run."""
        bounds = np.full(len(instants_ns), self.bound_ns, np.int64)
        for piece, rows in self._rows(instants_ns):
            bounds[rows] = piece.bound_at(instants_ns[rows])
        return bounds

    def _rows(self, instants_ns: NDArray[np.int64]) -> list[tuple[Piece, NDArray[np.intp] | slice]]:
        """The instants of each piece: of the nearest one, between two pieces and beyond the run."""
        if len(self.pieces) == 1:
            return [(self.pieces[0], slice(None))]
        turns = [(one.until_ns + other.from_ns) // 2 for one, other in itertools.pairwise(self.pieces)]
        number = np.searchsorted(turns, instants_ns)
        order = np.argsort(number, kind="stable")
        ends = np.searchsorted(number[order], np.arange(len(self.pieces) + 1))
        return [(piece, order[ends[k] : ends[k + 1]]) for k, piece in enumerate(self.pieces)]


def fit(lower: Bounds, upper: Bounds, same_host: bool) -> ClockOffset | None:
    """The offset from per-request bounds; None without any upper or lower bound (unless on the same host)."""
    n = max(len(lower.at_ns), len(upper.at_ns))
    if same_host:
        return _one_clock(lower, upper, n)
    if not len(lower.at_ns) or not len(upper.at_ns):
        return None
    start_ns = int(min(lower.at_ns.min(), upper.at_ns.min()))
    end_ns = int(max(lower.at_ns.max(), upper.at_ns.max()))
    base_ns = int(np.median(upper.offset_ns))
    lower, upper = _near(lower, base_ns), _near(upper, base_ns)
    floor, ceiling = _ceiling(lower, start_ns, base_ns, -1), _ceiling(upper, start_ns, base_ns, 1)
    bands = follow(floor, ceiling)
    if any(band.crossing > 0 for band in bands):
        bands = follow(*_without_wild(floor, ceiling))
    pieces = tuple(_piece(band, start_ns, base_ns) for band in bands)
    offset = ClockOffset(0, 0, False, 0, n, pieces=pieces)
    ends = np.array([instant for piece in pieces for instant in (piece.from_ns, piece.until_ns)])
    lengths = np.array([max(1, piece.until_ns - piece.from_ns) for piece in pieces])
    return ClockOffset(
        offset_ns=int(offset.at(np.array([(start_ns + end_ns) // 2]))[0]),
        bound_ns=max(int(piece.bound_at(ends[2 * k : 2 * k + 2]).max()) for k, piece in enumerate(pieces)),
        same_host=False,
        contradiction_ns=max(_missed(offset, lower, upper), *(round(band.crossing) for band in bands)),
        n=n,
        drift_ppm=float(np.average([piece.drift_ppm for piece in pieces], weights=lengths)),
        pieces=pieces,
    )


def _one_clock(lower: Bounds, upper: Bounds, n: int) -> ClockOffset:
    """No offset; a contradiction is how far the bounds are from allowing that: a clock was stepped."""
    excess = max(0, int(lower.offset_ns.max(initial=0)), -int(upper.offset_ns.min(initial=0)))
    at_ns = np.concatenate([lower.at_ns, upper.at_ns])
    first_ns, last_ns = (int(at_ns.min()), int(at_ns.max())) if len(at_ns) else (0, 0)
    still = ((0.0, 0.0),)
    piece = Piece(first_ns, last_ns, 0, 0.0, still, still)
    return ClockOffset(0, 0, True, excess if excess > SLACK_NS else 0, n, pieces=(piece,))


def _near(bounds: Bounds, base_ns: int) -> Bounds:
    return Bounds(bounds.at_ns, np.clip(bounds.offset_ns, base_ns - _FAR_NS, base_ns + _FAR_NS))


def _ceiling(bounds: Bounds, start_ns: int, base_ns: int, sign: int) -> Ceiling:
    """The bounds by time, as floats from a common origin; lower bounds change their sign and are ceilings too."""
    order = np.argsort(bounds.at_ns, kind="stable")
    at, by = bounds.at_ns[order] - start_ns, sign * (bounds.offset_ns[order] - base_ns)
    return Ceiling(at.astype(np.float64), by.astype(np.float64))


def _piece(band: Band, start_ns: int, base_ns: int) -> Piece:
    """The same lines from the piece's own beginning, its offset in whole nanoseconds."""
    offset = round(band.level + band.slope * band.since)

    def moved(lines: Lines, sign: int) -> Lines:
        return tuple((slope, level + slope * band.since - sign * offset) for slope, level in lines)

    from_ns, until_ns = start_ns + round(band.since), start_ns + round(band.until)
    return Piece(from_ns, until_ns, base_ns + offset, band.slope * 1e6, moved(band.above, 1), moved(band.below, -1))


def _missed(offset: ClockOffset, lower: Bounds, upper: Bounds) -> int:
    """How far the farthest bound is from any offset that is possible at its instant; ns."""
    above = lower.offset_ns - offset.at(lower.at_ns) - offset.bound_at(lower.at_ns)
    below = offset.at(upper.at_ns) - offset.bound_at(upper.at_ns) - upper.offset_ns
    most = max(int(above.max()), int(below.max()))
    return most if most > 1 else 0  # a nanosecond is lost to whole numbers


# --- bounds that went wrong --------------------------------------------------------------------------------


def _without_wild(floor: Ceiling, ceiling: Ceiling) -> tuple[Ceiling, Ceiling]:
    """Both sides without the few bounds that disagree with most of their neighbours.

    In stretches of at least 5 s, the offset that most bounds agree on (Marzullo's intersection, as NTP selects its
    clocks), with room for a drift in between. Where more than a tenth disagree, nobody can tell who is right: all stay.
    """
    start, end = min(floor.at[0], ceiling.at[0]), max(floor.at[-1], ceiling.at[-1])
    fewest = min(len(floor.at), len(ceiling.at))
    count = max(1, min(int((end - start) / SHORTEST_NS), fewest // _FEW))
    cuts = np.linspace(start, end, count + 1)
    room = MOST_DRIFT * (cuts[1] - cuts[0]) / 2
    agree = [np.ones(len(side.at), bool) for side in (floor, ceiling)]
    places = [np.searchsorted(side.at, [*cuts[:-1], np.inf]) for side in (floor, ceiling)]
    for k in range(count):
        rows = [slice(place[k], place[k + 1]) for place in places]
        lows, highs = -floor.by[rows[0]] - room, ceiling.by[rows[1]] + room
        common = _agreed(np.sort(lows), np.sort(highs))
        kept = [lows <= common, highs >= common]
        wild = sum(int((~side).sum()) for side in kept)
        if wild <= _WILD_SHARE * (len(lows) + len(highs)) and all(side.any() for side in kept):
            agree[0][rows[0]], agree[1][rows[1]] = kept
    return Ceiling(floor.at[agree[0]], floor.by[agree[0]]), Ceiling(ceiling.at[agree[1]], ceiling.by[agree[1]])


def _agreed(lows: Floats, highs: Floats) -> float:
    """The offset that violates the fewest bounds; the middle of the widest such interval. Both sorted."""
    if not len(lows) or not len(highs):
        return float("nan")
    broken_highs = np.searchsorted(highs, lows)
    broken = len(lows) - np.searchsorted(lows, lows, side="right") + broken_highs
    following = np.append(lows[1:], np.inf)
    until = np.minimum(following, np.append(highs, lows[-1])[broken_highs])
    width = np.where(broken == broken.min(), until - lows, -1.0)
    best = int(np.argmax(width))
    return float(lows[best] + max(0.0, width[best]) / 2)
