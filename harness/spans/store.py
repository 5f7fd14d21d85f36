"""A trace store, asked for the traces of a run: by service and time where its API can, else one by one."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from harness.spans.asking import CONCURRENCY, Asker, StoreError, TooLarge, WebPage
from harness.spans.gathered import Gathered
from harness.spans.otlp import Decoded, MalformedBody
from harness.spans.stored import Api, Query

MANY = 50
"""More missing traces than this are searched for before they are asked for one by one."""
_PAGE_TRACES, _PAGE_LIMIT = 500, 1_500
_PAGES_PER_MANY = 4  # questions by time that are worth their cost, per MANY missing traces
_SHORTEST_PAGE_NS = 2_000_000
_SKEW_NS = 60_000_000_000  # of the service's clock, which the store's instants are by
_BATCH = 8 * CONCURRENCY
_PROBES = 4
_NONE = Decoded([], 0)

Over = Callable[[], bool]


class Store:
    """One store and what has come of it. `look` may be called again and again until nothing is missing."""

    def __init__(self, asker: Asker, apis: Sequence[Api], gathered: Gathered, window: tuple[int, int]) -> None:
        self.api: Api | None = None
        self.rejected = 0  # spans that could not be used, of one look: the same ones come again
        self._asker, self._apis, self._gathered = asker, apis, gathered
        self._from_ns, self._until_ns = window
        self._looks = 0
        self._searchable = True
        self._rejected_now = 0

    def look(self, over: Over, progress: Callable[[], None]) -> int:
        """Ask once for all that is missing; stops early when `over`. Returns how many new spans came.

        Raises StoreError.
        """
        self._looks += 1
        self._rejected_now = 0
        news = self._probe() if self.api is None else 0
        if self.api is not None:
            news += self._all_missing(self.api, over, progress)
        self.rejected = max(self.rejected, self._rejected_now)
        return news

    def _probe(self) -> int:
        """Find out which API answers, with a few traces: other ones each time, since some may be lost."""
        missing = self._gathered.missing()
        step = max(1, len(missing) // _PROBES)
        probes = {missing[(number * step + self._looks - 1) % len(missing)] for number in range(_PROBES)}
        odd: list[StoreError] = []
        for trace_id in sorted(probes):
            for api in self._apis:
                try:
                    decoded = self._read(api, api.trace(trace_id))
                except WebPage as error:
                    odd.append(error)
                except MalformedBody as error:
                    message = f"what answers at {self._asker.base} is no trace store: {error}"
                    odd.append(StoreError(message, "give the base URL of its query API"))
                else:
                    if decoded.rows:
                        self.api, decoded = self._better(api, trace_id, decoded)
                        return self._take(decoded)
        if len(odd) == len(probes) * len(self._apis):
            raise odd[0]
        return 0

    def _better(self, found: Api, trace_id: str, decoded: Decoded) -> tuple[Api, Decoded]:
        """The trace may just have come: an API that is preferred gets one more chance."""
        for api in self._apis[: self._apis.index(found)]:
            with contextlib.suppress(MalformedBody, WebPage):
                again = self._read(api, api.trace(trace_id))
                if again.rows:
                    return api, again
        return found, decoded

    def _all_missing(self, api: Api, over: Over, progress: Callable[[], None]) -> int:
        news = 0
        searched: set[str] = set()
        asked: set[str] = set()
        named = self._named(api, over) if self._gathered.left > MANY else set()
        while not over():
            missing = self._gathered.missing()
            services = self._gathered.services - searched
            if api.spans_between is not None and self._searchable and len(missing) > MANY and services:
                searched |= services
                news += sum(self._search(api, service, over, progress) for service in sorted(services))
                continue
            left = [t for t in missing if t not in asked and (not named or t in named)][:_BATCH]
            if not left:
                break
            asked.update(left)
            news += self._one_by_one(api, left, over)
            progress()
        return news

    # --- by time -------------------------------------------------------------------------------------------

    def _search(self, api: Api, service: str, over: Over, progress: Callable[[], None]) -> int:
        """The traces of a service, page by page of time; a page that is full is asked for again in two halves.

        Where most of what it finds belongs to others, asking one by one costs the store less.
        """
        assert api.spans_between is not None  # noqa: S101 - looked at by the caller
        news = questions = 0
        enough = max(8, _PAGES_PER_MANY * self._gathered.left // MANY)
        pages = deque(self._pages())
        while pages and self._searchable and self._gathered.left > MANY and not over():
            from_ns, until_ns = pages.popleft()
            questions += 1
            self._searchable = questions < enough
            try:
                decoded = self._read(api, api.spans_between(service, from_ns, until_ns, _PAGE_LIMIT))
                full = len({row[0] for row in decoded.rows}) >= _PAGE_LIMIT
            except TooLarge:
                decoded, full = _NONE, True
            except (MalformedBody, StoreError):  # what is wrong with the store itself shows one by one, too
                self._searchable = False
                break
            news += self._take(decoded)
            progress()
            if full and until_ns - from_ns > _SHORTEST_PAGE_NS:
                middle = (from_ns + until_ns) // 2
                pages.extendleft(((middle, until_ns), (from_ns, middle)))
        return news

    def _pages(self) -> list[tuple[int, int]]:
        """The window of the run in pages of about as many traces; and last, what another clock may take for it."""
        count = max(1, -(-self._gathered.left // _PAGE_TRACES))
        begin, end = self._from_ns, self._until_ns + 1
        borders = [begin + (end - begin) * number // count for number in range(count + 1)]
        return [*pairwise(borders), (begin - _SKEW_NS, begin), (end, end + _SKEW_NS)]

    def _named(self, api: Api, over: Over) -> set[str]:
        """The missing traces that a search by time names; every second look goes by no search, which may miss some."""
        if api.ids_between is None or api.ids is None or not self._searchable or self._looks % 2 == 0:
            return set()
        found: set[str] = set()
        for from_ns, until_ns in self._pages():
            if over():
                break
            try:
                answer = self._asker.get(api.ids_between(from_ns, until_ns, _PAGE_LIMIT))
                found.update(api.ids(answer.body) if answer.status == 200 else ())
            except (StoreError, MalformedBody):
                self._searchable = False
                return set()
        return found.intersection(self._gathered.missing())

    # --- one by one ----------------------------------------------------------------------------------------

    def _one_by_one(self, api: Api, trace_ids: Sequence[str], over: Over) -> int:
        pool = ThreadPoolExecutor(CONCURRENCY)
        try:
            answers = pool.map(lambda trace_id: self._one(api, trace_id, over), trace_ids)
            return sum(self._take(decoded) for decoded in answers)
        finally:
            pool.shutdown(cancel_futures=True)

    def _one(self, api: Api, trace_id: str, over: Over) -> Decoded:
        try:
            return _NONE if over() else self._read(api, api.trace(trace_id))
        except (MalformedBody, TooLarge):
            return Decoded([], 1)

    def _read(self, api: Api, query: Query) -> Decoded:
        """The spans of one answer; none for a 4xx: there is no such trace, yet. Raises StoreError, MalformedBody."""
        answer = self._asker.get(query)
        return api.read(answer.body, answer.content_type) if answer.status == 200 else _NONE

    def _take(self, decoded: Decoded) -> int:
        self._rejected_now += decoded.rejected
        return self._gathered.take(decoded)
