"""What the service did during a request, as bars: its window, its spans by parent, and the time that nobody claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from harness.model import CLAIMS
from harness.spans.columns import numbers_of
from harness.spans.tree import NONE
from harness.units import format_duration
from harness.views import Bar, Lane
from harness.waterfall.details import attributes, details_of, label_of
from harness.waterfall.placing import Few, Place
from harness.waterfall.span_tree import SpanTree, rows_of_request

WINDOW = "in the service"
UNCLAIMED = "other: nobody claims it"
_MOST_GAPS = 60
_STICKS_OUT = 0.05  # of the latency: a root that is so much longer than its window is drawn beside it

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """What is drawn of a request: from half a latency before it was scheduled to one after it was done; epoch ns."""

    zero_ns: int
    latency_ns: int

    @classmethod
    def of(cls, sample: Row) -> Frame:
        return cls(sample["scheduled_ns"], max(sample["done_ns"] - sample["scheduled_ns"], 1))

    @property
    def from_ns(self) -> int:
        return self.zero_ns - self.latency_ns // 2

    @property
    def until_ns(self) -> int:
        return self.zero_ns + 2 * self.latency_ns

    def seconds(self, instant_ns: int) -> float:
        """Since the request was scheduled, cut to what is drawn."""
        return (min(max(instant_ns, self.from_ns), self.until_ns) - self.zero_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Shown:
    """The bars of the server lane, and how many spans they leave out: too many, or beyond what is drawn.

    `short_gaps`: so many stretches that nobody claims are not among the bars.
    """

    bars: list[Bar]
    too_many: int = 0
    outside: int = 0
    short_gaps: int = 0


def span_bars(few: Few, row: int, spans: pa.Table, place: Place, frame: Frame, most: int, charged: bool) -> Shown:
    """The spans of sample `row` by parent. `charged`: the ledger has this server half.

    `spans` are the rows of model.Span that `few` was made of.
    """
    tree = SpanTree.of(few, row)
    start, end = few.forest.spans.start_ns, few.forest.spans.end_ns

    def ends(each: int) -> tuple[int, int]:
        begin = place.here(int(start[each]))
        return begin, max(begin, place.here(int(end[each])))

    def drawn(each: int) -> bool:
        begin, until = ends(each)
        return begin <= frame.until_ns and until >= frame.from_ns

    unclaimed = _gaps(few, row, place) if charged else []
    gaps = unclaimed[: min(_MOST_GAPS, max(1, most // 4))]
    visible = [each for each in tree.order if drawn(each)]
    kept = tree.kept(visible, max(1, most - len(gaps) - 1), lambda each: int(end[each] - start[each]))
    told = _told(few, row, spans, kept)
    depth = tree.depths([each for each in visible if each in kept])
    bars = [_bar(*ends(each), depth[each], told[each], place, frame) for each in depth]
    if charged:
        bars = _with_window(bars, few, row, place, frame)
    bars += [_gap(since, until, place, frame) for since, until in sorted(gaps)]
    return Shown(bars, len(visible) - len(kept), len(tree.order) - len(visible), len(unclaimed) - len(gaps))


def _bar(begin: int, end: int, depth: int, span: Row, place: Place, frame: Frame) -> Bar:
    said = attributes(span["attributes"])
    details = details_of(span, said)
    if begin < frame.from_ns or end > frame.until_ns:
        whole = (f"{format_duration((instant - frame.zero_ns) / 1e9)}" for instant in (begin, end))
        details = (("from, until", ", ".join(whole)), *details)
    return Bar(
        lane=Lane.SERVER,
        depth=depth,
        label=label_of(span, said),
        stage=span["stage"] if span["stage"] in CLAIMS else None,
        from_s=frame.seconds(begin),
        until_s=frame.seconds(end),
        uncertain_s=place.slack_ns / 1e9,
        span_id=span["span_id"],
        details=details,
    )


def _told(few: Few, row: int, spans: pa.Table, kept: set[int]) -> dict[int, Row]:
    """What the spans in these rows of the forest say; the root stands for no stage, whatever it says."""
    trace_id = few.trace_ids[row]
    own = spans.filter(pc.equal(spans.column("trace_id"), trace_id))
    places: dict[int, int] = {}
    for place, number in enumerate(numbers_of(own.column("span_id")).tolist()):
        places.setdefault(number, place)
    rows = sorted(kept)
    wanted = pa.array([places[int(few.forest.spans.id[each])] for each in rows], pa.int64())
    said = own.take(wanted).to_pylist()
    found = dict(zip(rows, said, strict=True))
    root = int(few.forest.root[row])
    if root in found:
        found[root]["stage"] = None
    return found


def _with_window(bars: list[Bar], few: Few, row: int, place: Place, frame: Frame) -> list[Bar]:
    """The bar of the root cut to the window that is charged; where it is much longer, the window in front of it."""
    ends = frame.seconds(place.opened_ns), frame.seconds(place.closed_ns)
    slack_s = place.slack_ns / 1e9
    number = few.forest.root[row]
    root = bars[0] if bars and number != NONE and bars[0].depth == 0 else None
    room = _STICKS_OUT * frame.latency_ns / 1e9
    if root is None or ends[0] - root.from_s > room or root.until_s - ends[1] > room:
        return [Bar(Lane.SERVER, 0, WINDOW, None, *ends, slack_s), *bars]
    merged = Bar(Lane.SERVER, 0, root.label, None, *ends, slack_s, root.span_id, root.details)
    return [merged, *bars[1:]]


# --- time that nobody claims -------------------------------------------------------------------------------


def _gaps(few: Few, row: int, place: Place) -> list[tuple[int, int]]:
    """What no stage has of the window, on the server's clock: the longest ones first."""
    spans = few.forest.spans
    claimed = sorted(
        (int(spans.start_ns[each]), int(spans.end_ns[each]))
        for each in rows_of_request(few, row)
        if spans.stage[each] >= 0 and not few.forest.is_root[each]
    )
    found, free = [], place.since_ns
    for since, until in (*claimed, (place.until_ns, place.until_ns)):
        since = min(since, place.until_ns)
        if since > free:
            found.append((free, since))
        free = max(free, until)
    return sorted(found, key=lambda gap: gap[0] - gap[1])


def _gap(since: int, until: int, place: Place, frame: Frame) -> Bar:
    begin = frame.seconds(place.here(since))
    end = max(begin, frame.seconds(place.here(until)))  # a clock may have been stepped back meanwhile
    return Bar(Lane.SERVER, 1, UNCLAIMED, "other", begin, end, place.slack_ns / 1e9)


# --- without spans -----------------------------------------------------------------------------------------


def header_bars(few: Few, row: int, place: Place, frame: Frame) -> Shown:
    """The window of a request whose header gave only durations, and its stages one after the other."""
    length = place.closed_ns - place.opened_ns
    spent = [max(0.0, float(seconds)) * 1e9 for seconds in few.joined.halves.seconds[row].tolist()]
    scale = min(1.0, length / sum(spent)) if sum(spent) > 0 else 0.0
    slack_s = place.slack_ns / 1e9
    ends = frame.seconds(place.opened_ns), frame.seconds(place.closed_ns)
    bars = [Bar(Lane.SERVER, 0, WINDOW, None, *ends, slack_s)]
    begin, at = place.opened_ns, 0.0
    for stage, nanoseconds in zip(CLAIMS, spent, strict=True):
        at += nanoseconds * scale
        until = place.opened_ns + round(at)
        if until > begin:
            bars.append(Bar(Lane.SERVER, 1, stage, stage, frame.seconds(begin), frame.seconds(until), slack_s))
            begin = until
    if place.closed_ns > begin:
        bars.append(Bar(Lane.SERVER, 1, UNCLAIMED, "other", frame.seconds(begin), ends[1], slack_s))
    return Shown(bars)
