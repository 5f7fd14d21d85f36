"""Samples that wait for user code to judge the answer: written when its `with` block ends."""

from __future__ import annotations

from collections.abc import Callable

from harness.load.desk import Desk, Row, Slot
from harness.load.payloads import Payload
from harness.load.response import Response
from harness.load.wire import Connection, Exchange
from harness.model import DoneSource, Sample, columns

_COLUMN = {name: at for at, name in enumerate(columns(Sample))}
_NAME, _WORKER, _STATUS = _COLUMN["name"], _COLUMN["worker"], _COLUMN["status"]
_FAILED, _ERROR, _CENSORED = _COLUMN["failed_checks"], _COLUMN["error"], _COLUMN["censored"]
_SCHEDULED, _DONE, _SOURCE = _COLUMN["scheduled_ns"], _COLUMN["done_ns"], _COLUMN["done_source"]


class Held:
    """Sends like the desk beside it, with trace ids of its own, and keeps the row until it is judged."""

    def __init__(self, desk: Desk, sampled: float, write: Callable[[Row], None]) -> None:
        self._real = desk
        self._write = write
        self._desk = Desk(desk.run_id, f"{desk.worker}/held", sampled, self._put, desk.timebase)
        self._last: list[Row] = []

    def _put(self, row: Row) -> None:
        self._last.append(row)  # nothing else runs before `send` takes it

    def send(self, connection: Connection, payload: Payload, slot: Slot) -> tuple[Exchange, Row]:
        """One request and its row, still to be kept. A request that is cut off is kept at once."""
        self._real.live.sent += 1
        try:
            x = self._desk.send(connection, payload, slot)
        except BaseException:
            self.keep(self._last.pop())
            raise
        return x, self._last.pop()

    def judged(self, row: Row) -> Callable[[Response, bool, str | None], None]:
        """What a response calls when user code has judged it."""

        def keep(response: Response, forgiven: bool, found: str | None) -> None:
            checks = [] if forgiven or row[_FAILED] is None else [str(row[_FAILED])]
            if found is not None:
                checks.append(f"user: {found}")
            self.keep(row, response.name, ",".join(checks) or None)

        return keep

    def keep(self, row: Row, name: str | None = None, failed: str | None = None) -> None:
        """Write the row, under the desk's own worker, and count it."""
        values = list(row)
        values[_WORKER] = self._real.worker
        if name is not None:
            values[_NAME], values[_FAILED] = name, failed
        latency_ns = values[_DONE] - values[_SCHEDULED]  # type: ignore[operator]
        what = what_failed(values[_ERROR], values[_STATUS], values[_FAILED])
        kernel = values[_SOURCE] == DoneSource.KERNEL.value
        self._real.live.count(latency_ns, what, bool(values[_CENSORED]), kernel)
        self._write(tuple(values))


def what_failed(error: object, status: object, failed: object) -> str | None:
    """What went wrong with a request, in a few words people read; None when it is ok."""
    if error is not None:
        return str(error)
    if failed is None:
        return None if status is not None else "no answer"
    return f"status {status}" if str(failed).startswith("status") else f"check failed: {failed}"
