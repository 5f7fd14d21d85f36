"""What the client did during a request, as bars: phases in a row, and what they were made of below them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.views import Bar, Lane
from harness.waterfall.placing import Place

Row = Mapping[str, Any]
_READY = "connection ready"
_NOTICED_NS = 100_000  # without TLS, so soon after TCP it is the client that took note of the connection


@dataclass(frozen=True, slots=True)
class _Phase:
    label: str
    stage: str | None
    from_ns: int
    until_ns: int
    depth: int = 0
    slack_ns: int = 0
    details: tuple[tuple[str, str], ...] = ()


def client_bars(sample: Row, place: Place | None, split: str, queue_est_s: float | None, tls: bool) -> list[Bar]:
    """The bars of a row of model.Sample, in the order of their begin. `split` is what the ledger has of it.

    `tls`: the target is https. `queue_est_s` is None where nobody could estimate it.
    """
    phases = [*_before(sample, tls), *_exchange(sample, place, split, queue_est_s)]
    zero = sample["scheduled_ns"]
    return [
        Bar(
            Lane.CLIENT, phase.depth, phase.label, phase.stage, (phase.from_ns - zero) / 1e9,
            (max(phase.until_ns, phase.from_ns) - zero) / 1e9, phase.slack_ns / 1e9, details=phase.details,
        )
        for phase in phases
    ]  # fmt: skip


def _before(sample: Row, tls: bool) -> list[_Phase]:
    """Until the first write."""
    scheduled, start, done = sample["scheduled_ns"], sample["start_ns"], sample["done_ns"]
    send = sample["send_ns"]
    found = []
    if start > scheduled:
        found.append(_Phase("waiting for a free session", "backlog", scheduled, start))
    timed_whole = sample["sent_ns"] is None and sample["status"] is not None
    if send is not None and timed_whole:  # the client did not say when the connection stood
        return found
    end = done if send is None else send
    steps = (
        ("name lookup", start, sample["resolved_ns"]),
        ("TCP", sample["resolved_ns"], sample["tcp_ns"]),
        ("TLS" if tls else _READY, sample["tcp_ns"], sample["connected_ns"]),
    )
    parts = [
        _Phase(label, "connect", since, until, 1)
        for label, since, until in steps
        if since is not None and until is not None and until - since > (_NOTICED_NS if label == _READY else 0)
    ]
    details = (("attempts", f"{sample['attempts']:,}"),) if sample["attempts"] > 1 else ()
    label = "connect" if parts or send is None else "connection reused"
    return [*found, _Phase(label, "connect", start, end, details=details), *parts]


def _exchange(sample: Row, place: Place | None, split: str, queue_est_s: float | None) -> list[_Phase]:
    """From the first write on."""
    send, done = sample["send_ns"], sample["done_ns"]
    if send is None:
        return []
    first = sample["first_byte_ns"]
    answered = done if first is None else min(max(first, send), done)
    sent = sample["sent_ns"]
    written = send if sent is None else min(max(sent, send), answered)
    sure = place is not None and place.sure and split not in ("none", "durations")
    whole = "unsplit" if split == "none" else None
    found = []
    if written > send:
        details = (("bytes", f"{sample['bytes_sent']:,}"),)
        found.append(_Phase("writing the request", "upload" if sure else whole, send, written, details=details))
    waits = "waiting for an answer" if first is None else "waiting for the first byte"
    if answered > written:
        found.append(_Phase(waits, whole, written, answered))
    if place is not None and sure:
        found += _ways(place, written, answered, queue_est_s)
    if done > answered:
        details = (("bytes", f"{sample['bytes_received']:,}"),)
        found.append(_Phase("reading the answer", "download" if sure else whole, answered, done, details=details))
    return found


def _ways(place: Place, written: int, answered: int, queue_est_s: float | None) -> list[_Phase]:
    """What the wait is made of besides the server's window: the ways there and back.

    Until the service takes a request, the network and a full accept queue look alike from here.
    """
    there = "on the way, or not yet taken" if queue_est_s is None else "on the way to the service"
    waited = round((queue_est_s or 0.0) * 1e9)
    found = []
    opened, slack = min(place.opened_ns, answered), place.slack_ns
    taken = max(written, opened - waited)
    if taken > written:
        found.append(_Phase(there, "upload", written, taken, 1, slack))
    if waited > 0 and opened > taken:
        found.append(_Phase("waiting to be taken (estimated)", "queue_est", taken, opened, 1, slack))
    back = max(place.closed_ns, written)
    if answered > back:
        found.append(_Phase("on the way back", "download", back, answered, 1, slack))
    return found
