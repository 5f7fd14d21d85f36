"""Which attributes a selection of requests has more often than the requests beside it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.analysis.slow.association import discoveries, share_p
from harness.analysis.statistics.autocorrelation import LONGEST, memory

Flags: TypeAlias = NDArray[np.bool_]

SHOWN = 8
LEAST = 10
"""Fewer selected requests, or fewer others, of which an attribute is known say nothing about it."""
LEAST_DIFFERENCE, LEAST_RATIO = 0.05, 1.2
"""Of the share in the selection against that in the rest: what is smaller is not worth a line."""
FALSE_DISCOVERIES = 0.01
MOST_KINDS = 100  # a name for every request is no kind
_MOST_OF_ONE = 3  # values of the same attribute
_LEAST_EXPECTED = 5.0  # below it a count has no chi-square distribution


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """One of a few texts for each request: `texts[codes[i]]`; not known where the code is negative."""

    codes: NDArray[np.signedinteger]
    texts: tuple[str, ...]

    def equal_to(self, text: str) -> Flags:
        """The requests with that text."""
        return self.among((text,))

    def among(self, texts: Collection[str]) -> Flags:
        """The requests with one of these texts."""
        wanted = [code for code, text in enumerate(self.texts) if text in texts]
        found = np.zeros(len(self.codes), np.bool_)
        for code in wanted:
            found |= self.codes == code
        return found

    def text(self, position: int) -> str | None:
        code = int(self.codes[position])
        return self.texts[code] if code >= 0 else None


@dataclass(frozen=True, slots=True)
class Overrepresented:
    """A value that more of the selection have than of the rest: `n` of the `of` whose attribute is known, each."""

    attribute: str
    value: str
    n: int
    of: int
    rest_n: int
    rest_of: int

    @property
    def difference(self) -> float:
        """Between the two shares, 0..1."""
        return self.n / self.of - self.rest_n / self.rest_of


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    found: Overrepresented
    kinds: Kinds
    code: int
    looked_at: int  # values of the attribute

    def p_value(self, weight: float) -> float:
        """Stretches of neighbours that are worth too few independent requests for a table of counts show nothing."""
        n, of, rest_n, rest_of = self.found.n, self.found.of, self.found.rest_n, self.found.rest_of
        having, total = n + rest_n, of + rest_of
        expected = min(of, rest_of) * min(having, total - having) / total
        if weight * expected < _LEAST_EXPECTED <= expected:
            return 1.0
        return min(1.0, share_p((n, of, rest_n, rest_of), weight) * self.looked_at)


def overrepresented(
    attributes: Sequence[tuple[str, Kinds]], selected: Flags, everyone: Flags
) -> tuple[tuple[Overrepresented, ...], str | None]:
    """At most SHOWN values, the largest difference first; else in words why there is none.

    The requests of the run are in time order. Neighbours share their fate: each value is tested with the number of
    independent requests that those of the selection and of the value are worth together, and false discoveries are
    controlled over all values (Benjamini & Hochberg 1995).
    """
    n, rest = int(np.count_nonzero(selected)), int(np.count_nonzero(everyone & ~selected))
    if n and not rest:
        return (), "every request is selected, so there is no rest to differ from"
    if min(n, rest) < LEAST:
        return (), f"needs {LEAST} requests in the selection and {LEAST} beside it, has {n:,} and {rest:,}"
    sets = everyone.astype(np.int8) + selected  # 0: in neither, 1: in the rest, 2: selected
    found = [candidate for name, kinds in attributes for candidate in _candidates(name, kinds, sets)]
    found = sorted(found, key=lambda each: -each.found.difference)[: 2 * SHOWN]
    p_values = [each.p_value(1.0) for each in found]
    for at, each in enumerate(found):
        if p_values[at] <= FALSE_DISCOVERIES:  # looking for memory is spared where there is nothing to believe
            p_values[at] = each.p_value(_weight(selected, each.kinds.codes == each.code, everyone))
    believed = [c.found for c, real in zip(found, discoveries(p_values, FALSE_DISCOVERIES), strict=True) if real]
    return tuple(believed[:SHOWN]), None if believed else "nothing that is recorded of them tells them from the rest"


def _candidates(attribute: str, kinds: Kinds, sets: NDArray[np.int8]) -> list[_Candidate]:
    """The values whose share in the selection is clearly larger."""
    if len(kinds.texts) < 2:
        return []
    # The first row counts those that are not known, the first column those that are in neither set.
    cells = (kinds.codes.astype(np.intp) + 1) * 3 + sets
    outside, inside = np.bincount(cells, minlength=3 * (len(kinds.texts) + 1)).reshape(-1, 3)[1:, 1:].T
    of, rest_of = int(inside.sum()), int(outside.sum())
    if min(of, rest_of) < LEAST:
        return []
    most = np.argsort(-(inside + outside), kind="stable")[:MOST_KINDS]
    share, against = inside[most] / of, outside[most] / rest_of
    large = (share - against >= LEAST_DIFFERENCE) & (share >= LEAST_RATIO * against)
    codes = most[large][np.argsort((against - share)[large], kind="stable")][:_MOST_OF_ONE].tolist()
    present = int(np.count_nonzero(inside + outside))
    return [
        _Candidate(
            Overrepresented(attribute, kinds.texts[code], int(inside[code]), of, int(outside[code]), rest_of),
            kinds, code, min(present, MOST_KINDS),
        )
        for code in codes
    ]  # fmt: skip


def _weight(selected: Flags, has: Flags, everyone: Flags) -> float:
    """How much each request is worth for the question whether the two go together.

    Their covariance is the mean of a product, and that is worth as many independent requests as the memory of the
    product says. Memory within a group of neighbours shows in how much the means of groups vary.
    """
    n = int(np.count_nonzero(everyone))
    one, other = (each * everyone - np.float32(np.count_nonzero(each & everyone) / n) for each in (selected, has))
    product = one * other * everyone  # the others carry nothing, and are where they are in time
    product -= np.float32(product.sum(dtype=np.float64) / n) * everyone
    step = -(-len(product) // LONGEST)
    rows = product[: len(product) // step * step].reshape(-1, step)
    means = (rows @ np.full(step, 1.0 / step, np.float32)).astype(np.float64)
    within = float(np.square(product).mean())
    if within == 0.0:
        return 1.0
    worth = memory(means).effective(0.0) / len(means)
    longer = step * float(np.square(means).mean()) / within if step > 1 else 1.0
    return worth / max(1.0, longer)
