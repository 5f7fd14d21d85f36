"""The spans of one request as a tree to be drawn: in what order, how deep, and which ones when there are too many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.spans.tree import NONE
from harness.waterfall.placing import Few


@dataclass(frozen=True, slots=True)
class SpanTree:
    """Rows of a forest: parents before their children, siblings by their begin.

    The root is at depth 0 and whatever hangs in the air beside it at 1; without a root that is at 0. Whatever is
    in or under a circle has no parent.
    """

    order: tuple[int, ...]
    depth: dict[int, int]
    above: dict[int, int]  # the parent of a row, NONE without one
    air: int  # the depth of what hangs in the air

    @classmethod
    def of(cls, few: Few, row: int) -> SpanTree:
        """The tree of sample `row`."""
        rows, root = rows_of_request(few, row), int(few.forest.root[row])
        start, end = few.forest.spans.start_ns, few.forest.spans.end_ns
        by_begin = sorted(rows, key=lambda each: (start[each], -end[each], each))
        below: dict[int, list[int]] = {}
        for each in by_begin:
            below.setdefault(int(few.forest.parent[each]), []).append(each)
        found = cls((), {}, {}, 0 if root == NONE else 1)
        order: list[int] = []
        tops = [root] if root != NONE else []
        tops += [each for each in below.get(NONE, []) if each != root]
        for top in tops:
            _walk(top, 0 if top == root else found.air, below, found, order)
        for each in by_begin:  # in or under a circle: in the ledger, too, these have nobody above them
            _walk(each, found.air, {}, found, order)
        return cls(tuple(order), found.depth, found.above, found.air)

    def kept(self, rows: Sequence[int], most: int, length: Callable[[int], int]) -> set[int]:
        """At most `most` of `rows`: the longest ones, with everything that is above them."""
        if len(rows) <= most:
            return set(rows)
        candidates, chosen = set(rows), set[int]()
        for each in sorted(rows, key=lambda each: (-length(each), self.depth[each])):
            with_parents = [one for one in self._upwards(each, chosen) if one in candidates]
            if len(chosen) + len(with_parents) <= most:
                chosen.update(with_parents)
            if len(chosen) == most:
                break
        return chosen

    def depths(self, rows: Sequence[int]) -> dict[int, int]:
        """How deep each of `rows` is when only they are drawn; in `order`."""
        found: dict[int, int] = {}
        for row in rows:
            above = self.above[row]
            while above != NONE and above not in found:
                above = self.above[above]
            found[row] = found[above] + 1 if above != NONE else min(self.depth[row], self.air)
        return found

    def _upwards(self, row: int, until: set[int]) -> Iterable[int]:
        while row != NONE and row not in until:
            yield row
            row = self.above[row]


def _walk(top: int, depth: int, below: dict[int, list[int]], found: SpanTree, order: list[int]) -> None:
    waiting = [(top, NONE, depth)]
    while waiting:
        row, parent, depth = waiting.pop()
        if row in found.depth:
            continue
        found.depth[row], found.above[row] = depth, parent
        order.append(row)
        waiting += [(child, row, depth + 1) for child in reversed(below.get(row, []))]


def rows_of_request(few: Few, row: int) -> list[int]:
    """The rows of the forest that belong to a sample."""
    first, end = np.searchsorted(few.forest.request, [row, row + 1])
    return list(range(int(first), int(end)))
