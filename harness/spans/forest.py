"""The spans of each request as a tree, its root chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.model import CLAIMS
from harness.spans import tree
from harness.spans.columns import PER_SPAN, UNKNOWN, SpanColumns
from harness.spans.hops import Moved, on_one_clock
from harness.spans.tree import NONE, Rows

USUAL = 0.9
"""A stage that so many requests of a kind have is missing in the others, where spans are being lost."""
LEAST_OF_KIND = 20


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Spans in order of (request, id), each once. Row numbers refer to `spans`; -1 is none.

    `root` has one entry per sample. A `candidate` is a span that could be the root of its request: a server span
    without a parent here, or whatever the client's own span is the parent of when there is no such server span.
    """

    spans: SpanColumns
    parent: Rows
    root: Rows
    is_root: NDArray[np.bool_]
    candidate: NDArray[np.bool_]
    orphans: int  # spans whose parent never came, and that are no roots
    duplicates: int  # spans that came more than once
    moved: Moved

    @property
    def request(self) -> NDArray[np.int32]:
        return self.spans.request

    def late(self) -> NDArray[np.bool_]:
        """Which spans begin after the root of their request has ended."""
        root = self.root[self.request]
        late: NDArray[np.bool_] = (root != NONE) & (self.spans.start_ns >= self.spans.end_ns[root])
        return late

    def incomplete(self) -> NDArray[np.bool_]:
        """Which samples have a root with fewer spans below it than it announced."""
        # A callee's own server span has an announcement of its own.
        cut = np.where(self.spans.server, NONE, self.parent)
        below = tree.ends_of(cut) == self.root[self.request]
        counted = np.bincount(self.request[below & ~self.is_root], minlength=len(self.root))
        announced = np.where(self.root != NONE, self.spans.announced[self.root], UNKNOWN) if len(self.request) else -1
        missing: NDArray[np.bool_] = counted < announced
        return missing

    def lacking(self, kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which samples lack a stage that nearly all of their kind have, of those whose root announces nothing.

        Means something only where spans are known to be lost: else these requests went another way.
        """
        requests = np.flatnonzero(self.root != NONE)
        requests = requests[~self.spans.marked[self.root[requests]]]
        has_stage = np.zeros((len(self.root), len(CLAIMS)), np.bool_)
        staged = self.spans.stage >= 0
        has_stage[self.request[staged], self.spans.stage[staged]] = True
        of_kind = np.bincount(kinds[requests], minlength=int(kinds.max(initial=0)) + 1)
        found = np.zeros(len(self.root), np.bool_)
        for stage in range(len(CLAIMS)):
            having = np.bincount(kinds[requests], weights=has_stage[requests, stage], minlength=len(of_kind))
            usual = (of_kind >= LEAST_OF_KIND) & (having >= USUAL * of_kind)
            found[requests] |= usual[kinds[requests]] & ~has_stage[requests, stage]
        return found


def forest_of(spans: SpanColumns, client_span: NDArray[np.uint64]) -> Forest:
    """`client_span` holds the span id of each sample."""
    ordered, duplicates = _each_once(spans)
    parent = tree.parents_of(ordered.request, ordered.id, ordered.parent)
    ours = ordered.parent == client_span[ordered.request]
    top = ours | (parent == NONE)
    server = top & ordered.server
    has_server = np.zeros(len(client_span), np.bool_)
    has_server[ordered.request[server]] = True
    candidate = np.where(has_server[ordered.request], server, ours)
    root = _roots(ordered, candidate, len(client_span))
    is_root = np.zeros(len(parent), np.bool_)
    is_root[root[root != NONE]] = True
    above = np.where(is_root, NONE, parent)  # what is above a root is none of the service's
    ordered, moved = on_one_clock(ordered, above, is_root)
    return Forest(
        spans=ordered,
        parent=above,
        root=root,
        is_root=is_root,
        candidate=candidate,
        orphans=int(((parent == NONE) & (ordered.parent != 0) & ~ours & ~(candidate & is_root)).sum()),
        duplicates=duplicates,
        moved=moved,
    )


def _each_once(spans: SpanColumns) -> tuple[SpanColumns, int]:
    """In order of (request, id); of spans that came twice (an exporter that retries) the first."""
    order = np.lexsort((spans.id, spans.request))
    request, ids = spans.request[order], spans.id[order]
    again = np.zeros(len(order), np.bool_)
    again[1:] = (request[1:] == request[:-1]) & (ids[1:] == ids[:-1])
    order = order[~again]
    picked: dict[str, Any] = {name: getattr(spans, name)[order] for name in PER_SPAN}
    return replace(spans, **picked), int(again.sum())


def _roots(spans: SpanColumns, candidate: NDArray[np.bool_], requests: int) -> Rows:
    """The earliest candidate of each request.

    A framework's own telemetry may stand around our instrumentation: ours knows more. Among spans that start together
    the longest one is the outermost.
    """
    rows = np.flatnonzero(candidate)
    keys = (-spans.end_ns[rows], spans.start_ns[rows], ~spans.marked[rows], spans.request[rows])
    rows = rows[np.lexsort(keys)]
    first = np.ones(len(rows), np.bool_)
    first[1:] = spans.request[rows[1:]] != spans.request[rows[:-1]]
    root = np.full(requests, NONE, np.int64)
    root[spans.request[rows[first]]] = rows[first]
    return root
