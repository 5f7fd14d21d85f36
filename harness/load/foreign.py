"""Locust's own clients, HttpUser and FastHttpUser: their requests carry our trace context and become samples.

They time themselves in Python, so there is one duration per request: connect, upload and first byte are not known, and
the client's own CPU time is in it. The sample is made of Locust's request event, which has the duration unrounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
import requests
from geventhttpclient.useragent import BadStatusCode
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession, LocustBadStatusCode

from harness.load.desk import Desk, Row, Slot
from harness.load.failures import transport_error, transport_failure
from harness.load.held import what_failed
from harness.load.place import Place
from harness.load.response import Response, one_line
from harness.load.trace_ids import SPAN, TRACE, traceparents
from harness.model import DoneSource

_MOST_UNREPORTED = 100  # per user: answers that no event told of yet
_clock = time.perf_counter_ns


class Ticket:
    """One request of a foreign client, until its sample is written."""

    __slots__ = ("done", "meta", "slot", "start_at", "traceparent")

    def __init__(self, slot: Slot, traceparent: bytes) -> None:
        self.slot = slot
        self.traceparent = traceparent.decode("ascii")
        self.start_at = _clock()
        self.done = False
        self.meta: dict[str, Any] | None = None  # of the event that is still to come


class Foreign:
    """Watches the clients of one load process."""

    def __init__(self, desk: Desk, sampled: float, write: Callable[[Row], None]) -> None:
        self._desk = desk
        self._write = write
        self._traceparents = traceparents(desk.run_id, f"{desk.worker}/foreign", sampled)
        self._current: dict[Any, Ticket] = {}  # by greenlet: inside the client's request()
        self._unreported: dict[Place, list[Ticket]] = {}  # answered, in a with block perhaps

    def adopt(self, user: Any) -> None:
        """Watch this user's client."""
        client, place = user.client, user.harness_place
        if not isinstance(client, HttpSession | FastHttpSession):
            return
        request, send = client.request, client._send_request_safe_mode

        def watched(method: Any, url: Any, *arguments: Any, **options: Any) -> Any:
            name = options.get("name") or (arguments[0] if arguments else None) or client.request_name or url
            return self._watch(place, str(name), lambda: request(method, url, *arguments, **options))

        def injected(method: str, url: str, **options: Any) -> Any:
            ticket = self._current.get(gevent.getcurrent())
            if ticket is None:
                return send(method, url, **options)
            options["headers"] = _with_context(options.get("headers"), ticket, self._desk.run_id)
            ticket.start_at = _clock()  # the client takes its own right before and after this call
            response = send(method, url, **options)
            response.harness_ticket = ticket
            return response

        client.request, client._send_request_safe_mode = watched, injected
        place.settle = lambda: self.settle(place)

    def _watch(self, place: Place, name: str, request: Callable[[], Any]) -> Any:
        ticket = Ticket(place.next_slot(), next(self._traceparents))
        own = gevent.getcurrent()
        self._desk.live.sent += 1
        self._current[own] = ticket
        try:
            response = request()
        except gevent.GreenletExit:
            self._record(ticket, name, None, censored=True)
            raise
        except BaseException as error:
            self._record(ticket, name, None, error=transport_error(error))
            raise
        finally:
            self._current.pop(own, None)
        if not ticket.done:
            ticket.meta = getattr(response, "request_meta", None)
            self._wait_for_report(place, ticket)
        return response

    def _wait_for_report(self, place: Place, ticket: Ticket) -> None:
        waiting = self._unreported.setdefault(place, [])
        waiting[:] = [other for other in waiting if not other.done]
        waiting.append(ticket)
        if len(waiting) > _MOST_UNREPORTED:
            self._report_late(waiting.pop(0))

    def unreported(self) -> int:
        """Requests that were answered and of which no event has told yet."""
        return sum(not ticket.done for tickets in self._unreported.values() for ticket in tickets)

    def settle(self, place: Place) -> None:
        """Record what a user has sent and no event has told of: its task failed in the block, or never entered it."""
        for ticket in self._unreported.pop(place, ()):
            self._report_late(ticket)

    def _report_late(self, ticket: Ticket) -> None:
        if ticket.meta is not None and not ticket.done:
            self._take(ticket, ticket.meta, late=True)
        self._record(ticket, "unknown", None)  # does nothing when that was told already

    def on_request(self, **event: Any) -> None:
        """A listener of Locust's request event."""
        response = event.get("response")
        if isinstance(response, Response):  # of our own client, recorded already
            return
        ticket = getattr(response, "harness_ticket", None) or self._current.get(gevent.getcurrent())
        if ticket is not None:  # otherwise user code fired the event for something of its own
            self._take(ticket, event, late=False)

    def _take(self, ticket: Ticket, event: dict[str, Any], late: bool) -> None:
        response, took_ms = event.get("response"), event.get("response_time")
        status = getattr(response, "status_code", None) or None
        error, failed = _outcome(event.get("exception"), response, status)
        if late and failed is None and status is not None and status >= 400:  # Locust had not looked at it yet
            failed = "status"
        self._record(
            ticket, str(event.get("name")), response, took_s=None if took_ms is None else took_ms / 1e3,
            received=event.get("response_length") or 0, status=status, error=error, failed=failed,
        )  # fmt: skip

    def _record(
        self,
        ticket: Ticket,
        name: str,
        response: Any,
        *,
        took_s: float | None = None,
        received: int = 0,
        status: int | None = None,
        error: str | None = None,
        failed: str | None = None,
        censored: bool = False,
    ) -> None:
        if ticket.done:
            return
        ticket.done = True
        at, slot, desk = self._desk.timebase.at, ticket.slot, self._desk
        start_ns = at(ticket.start_at)
        done_ns = at(_clock()) if took_s is None else start_ns + round(took_s * 1e9)
        scheduled_ns = start_ns if slot.scheduled_at is None else min(at(slot.scheduled_at), start_ns)
        if status is None and error is None and not censored:
            error = "no answer"
        send_ns = None if error is not None and error.startswith(("connection refused", "dns:")) else start_ns
        desk.live.count(done_ns - scheduled_ns, what_failed(error, status, failed), censored, False)
        self._write(
            (
                slot.request_id, ticket.traceparent[TRACE], ticket.traceparent[SPAN], name, slot.phase, slot.step,
                desk.worker, scheduled_ns, start_ns, None, None, None, send_ns, None, None, done_ns, done_ns,
                DoneSource.USER.value, status, error, failed, _sent_bytes(response), int(received or 0), 1,
                _server_timing(response), censored,
            )
        )  # fmt: skip


def _with_context(headers: Any, ticket: Ticket, run_id: str) -> dict[Any, Any]:
    kept = {name: value for name, value in dict(headers or {}).items() if str(name).lower() != "traceparent"}
    return {**kept, "traceparent": ticket.traceparent, "x-mlharness-run": run_id}


def _outcome(exception: Any, response: Any, status: int | None) -> tuple[str | None, str | None]:
    """(error, failed checks) of an event. User code can forgive an answer, not that there was none."""
    if exception is None:
        own = getattr(response, "error", None)
        return (transport_error(own) if own is not None and status is None else None), None
    if isinstance(exception, BadStatusCode | LocustBadStatusCode | requests.HTTPError) and status is not None:
        return None, "status"
    error = transport_error(exception)
    if status is not None and not transport_failure(exception):
        return None, f"user: {one_line(exception)}"
    return error, None


def _sent_bytes(response: Any) -> int:
    body = getattr(getattr(response, "request", None), "body", None)
    return len(body) if isinstance(body, bytes | str) else 0


def _server_timing(response: Any) -> str | None:
    headers = getattr(response, "headers", None)
    found: Any = headers.get("server-timing") if headers else None
    return ", ".join(found) if isinstance(found, list) else found
