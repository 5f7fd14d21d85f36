"""How many requests one core sends: a closed loop of 16 users, the same small POST to nginx on another core.

    python bench/throughput.py [--rounds 3] [--seconds 4]

Ours is the full path: trace context in each request, every column recorded, kernel stamps, Locust's User. All
generators take turns in each round; medians are shown. CPU is that of the generator with all its threads. Where nginx
is busy all the time, it is the limit, and the generator could do more than the table says.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

from support import cores, ours, peers, servers, table
from support.peers import Figures

USERS = 16
LEAST, AIM = 2.5, 4.0
OURS, FAST = "harness", "Locust FastHttpUser"


def generators(server: servers.Server, seconds: float) -> dict[str, Callable[[], Figures | None]]:
    url = server.url

    def harness() -> Figures:
        ran = ours.run(url, ours.users(USERS, seconds))
        assert ran.all_ok, ran.end
        return Figures(ran.requests, ran.seconds, ran.cpu_s)

    return {
        OURS: harness,
        FAST: lambda: peers.locust("fast", url, USERS, seconds),
        "Locust HttpUser": lambda: peers.locust("http", url, USERS, seconds),
        "k6": lambda: peers.k6(url, USERS, seconds),
        "hey": lambda: peers.hey(url, USERS, seconds),
        "wrk": lambda: peers.wrk(url, USERS, seconds),
    }


def measured(rounds: int, seconds: float) -> dict[str, list[tuple[Figures, float]]]:
    """Figures and nginx's CPU per request of each generator, one per round; an empty list: not installed."""
    with servers.nginx() as server:
        calls = generators(server, seconds)
        found: dict[str, list[tuple[Figures, float]]] = {name: [] for name in calls}
        for number in range(rounds):
            for name in list(calls) if number % 2 == 0 else reversed(calls):
                before = servers.cpu_s(server)
                figures = calls[name]()
                if figures is not None:
                    found[name].append((figures, servers.cpu_s(server) - before))
    return found


def main() -> None:
    options = cores.options(__doc__, rounds=(3, 7), seconds=(4.0, 10.0))
    print(cores.headline())
    found = measured(options.rounds, options.seconds)
    per_s = {name: statistics.median(f.per_s for f, _ in all_) for name, all_ in found.items() if all_}
    per_cpu_s = {name: statistics.median(f.per_cpu_s for f, _ in all_) for name, all_ in found.items() if all_}
    rows: list[list[str]] = []
    for name, all_ in found.items():
        if not all_:
            rows.append([name, *["not installed"] * 2, *["-"] * 4])
            continue
        # Start-up and warm-up reach nginx, too: its share while the generator ran flat out is a little above this.
        nginx = statistics.median(server_s / f.seconds for f, server_s in all_)
        ratio, cpu_ratio = per_s[name] / per_s[FAST], per_cpu_s[name] / per_cpu_s[FAST]
        rows.append([name, f"{per_s[name]:,.0f}", f"{per_cpu_s[name]:,.0f}", f"{1e6 / per_cpu_s[name]:.1f}",
                     f"{ratio:.2f}", f"{cpu_ratio:.2f}", f"{min(nginx, 1):.0%}"])  # fmt: skip
    print(f"{USERS} users, {len(ours.BODY)} bytes, medians of {options.rounds} rounds of {options.seconds:g} s")
    table.show(["", "req/s", "req per CPU s", "us CPU", "x Fast (req/s)", "x Fast (CPU)", "nginx busy"], rows)
    ratio = per_cpu_s[OURS] / per_cpu_s[FAST]
    promise = f"harness is {ratio:.2f} x FastHttpUser in requests per second per core (at least {LEAST}, aim {AIM})"
    sys.exit(not table.line(promise, ratio >= LEAST))


if __name__ == "__main__":
    main()
