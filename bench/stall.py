"""A server that freezes for 2 s in 15 s, at 200 requests a second: who notices?

    python bench/stall.py [--seconds 15]

The truth is computed from the schedule and the server's own record of the freeze: a request whose arrival falls into
it waits until its end. Closed-model generators at about the same rate stop asking while they wait, so they see it a
few times only.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from support import cores, ours, peers, servers, table

from harness.model import Arrivals

RATE = 200
SERVICE_S = 0.005
FREEZE_S = 2.0
QUANTILES = (0.5, 0.9, 0.95, 0.99)
GATED = (0.9, 0.95, 0.99)
WITHIN = 0.03
DISTURBED_S, TRIES = 0.015, 4  # a server that something else holds up, too, has no computed truth
USERS = 20  # of the closed-model peers, each at a twentieth of the rate

Array = np.ndarray[Any, Any]


def frozen(seconds: float, measure: Callable[[str], Any]) -> tuple[Any, tuple[int, int]]:
    """What `measure` gives for a server that freezes at a third of the time, and when it did."""
    for again in range(TRIES):
        with tempfile.TemporaryDirectory(prefix="bench-stall-") as folder:
            log = Path(folder) / "freeze"
            freeze = (f"{seconds / 3:g}", str(FREEZE_S), str(log))
            with servers.python("slow_server.py", str(SERVICE_S), *freeze) as server:
                found = measure(server.url)
            seen = json.loads(log.read_text())
        if seen["lag_s"] < DISTURBED_S:
            break
        which = "repeated" if again + 1 < TRIES else "kept: the truth is not exact"
        print(f"the machine kept the server waiting for {seen['lag_s'] * 1e3:.0f} ms on its own: {which}", flush=True)
    begun, ended = seen["frozen_ns"]
    return found, (begun, ended)


def truth_s(scheduled_ns: Array, freeze: tuple[int, int]) -> Array:
    """Latencies of a server that is frozen in between: answers that were due in the freeze leave at its end, requests
    that came in the freeze are read at its end."""
    service_ns = round(SERVICE_S * 1e9)
    due = scheduled_ns + service_ns
    done = np.where((due > freeze[0]) & (scheduled_ns < freeze[1]), np.maximum(due, freeze[1]), due)
    done = np.where((scheduled_ns >= freeze[0]) & (scheduled_ns < freeze[1]), freeze[1] + service_ns, done)
    return (done - scheduled_ns) / 1e9


def ours_and_truth(kind: Arrivals, seconds: float) -> tuple[Array, Array]:
    """Quantiles as measured from the scheduled instants, and as they must be; seconds."""
    load = ours.arrivals(RATE, seconds, kind, warmup_s=0.0)
    ran, freeze = frozen(seconds, lambda url: ours.run(url, load))
    assert ran.all_ok, ran.end
    scheduled = ran.samples.scheduled_ns.to_numpy()
    latency = (ran.samples.done_ns.to_numpy() - scheduled) / 1e9
    return np.quantile(latency, QUANTILES), np.quantile(truth_s(scheduled, freeze), QUANTILES)


def closed_models(seconds: float) -> dict[str, Callable[[str], peers.Figures | None]]:
    each = RATE / USERS
    return {
        f"hey, {USERS} workers at {each:g}/s": lambda url: peers.hey(url, USERS, seconds, each),
        f"FastHttpUser, {USERS} users at {each:g}/s": lambda url: peers.locust("fast", url, USERS, seconds, each),
        "wrk, 1 connection, no rate": lambda url: peers.wrk(url, 1, seconds),
    }


def main() -> None:
    options = cores.options(__doc__, rounds=(1, 1), seconds=(15.0, 15.0))
    print(cores.headline())
    rows: list[list[str]] = []
    worst = 0.0
    for kind in (Arrivals.CONSTANT, Arrivals.POISSON):
        found, truth = ours_and_truth(kind, options.seconds)
        off = found / truth - 1
        worst = max(worst, *(abs(off[QUANTILES.index(q)]) for q in GATED))
        rows.append([f"truth, {kind.value}", *(f"{value * 1e3:,.1f}" for value in truth)])
        shown = zip(found, off, strict=True)
        rows.append([f"harness, {kind.value}", *(f"{value * 1e3:,.1f} ({o:+.1%})" for value, o in shown)])
    for name, measure in closed_models(options.seconds).items():
        figures, _ = frozen(options.seconds, measure) if measure else (None, None)
        known = {} if figures is None else figures.percentiles_s
        cells = [f"{known[q] * 1e3:,.1f}" if q in known else "-" for q in QUANTILES]
        rows.append([name, *cells] if figures is not None else [name, "not installed", "-", "-", "-"])
    print(f"{RATE} requests a second for {options.seconds:g} s, frozen for {FREEZE_S:g} s; milliseconds")
    table.show(["", *(f"p{round(q * 100)}" for q in QUANTILES)], rows)
    promise = f"p90, p95 and p99 are within {worst:.1%} of the truth, constant and Poisson (at most {WITHIN:.0%})"
    sys.exit(not table.line(promise, worst <= WITHIN))


if __name__ == "__main__":
    main()
