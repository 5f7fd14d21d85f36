"""Locust as a library, headless, in a child; one JSON line at the end:

locust_child.py fast|http URL USERS SECONDS RATE_OF_EACH_USER BODY
"""

from __future__ import annotations

import locust

# isort: split
import json
import sys
import time

import gevent
from locust.env import Environment

HEADERS = {"Content-Type": "application/json"}
BODY = sys.argv[6].encode()


class Fast(locust.FastHttpUser):
    """Locust's fast client."""

    @locust.task
    def send(self) -> None:
        self.client.post("/", data=BODY, headers=HEADERS)


class Http(locust.HttpUser):
    """Locust's usual client."""

    @locust.task
    def send(self) -> None:
        self.client.post("/", data=BODY, headers=HEADERS)


def main() -> None:
    user_class = {"fast": Fast, "http": Http}[sys.argv[1]]
    users, seconds, rate = int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
    if rate:
        user_class.wait_time = locust.constant_throughput(rate)
    environment = Environment(user_classes=[user_class], events=locust.events, host=sys.argv[2])
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    gevent.sleep(1.0)
    total = runner.stats.total
    runner.stats.reset_all()
    wall, cpu = time.perf_counter(), time.process_time()
    gevent.sleep(seconds)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    figures = {
        "requests": total.num_requests, "failed": total.num_failures, "seconds": wall, "cpu_s": cpu,
        "percentiles_s": {q: total.get_response_time_percentile(q) / 1e3 for q in (0.5, 0.9, 0.95, 0.99)},
    }  # fmt: skip
    runner.quit()
    print(json.dumps(figures))


main()
