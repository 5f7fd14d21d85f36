"""Does a busy generator inflate latency? 16 users in a closed loop on one core, against one lone user of wrk.

    python bench/saturation.py [--rounds 3] [--seconds 4]

Kernel-stamped: from before the write until the kernel had the last byte. User-level: until Python got round to
reading it.
"""

from __future__ import annotations

import statistics
import sys

import pandas as pd
from support import cores, ours, peers, servers, table

USERS = 16
MOST = 2.0


def quantiles_us(durations_ns: pd.Series) -> tuple[float, float]:
    """p50 and p99, microseconds."""
    return float(durations_ns.quantile(0.5)) / 1e3, float(durations_ns.quantile(0.99)) / 1e3


def main() -> None:
    options = cores.options(__doc__, rounds=(3, 7), seconds=(4.0, 10.0))
    print(cores.headline())
    kernel, user, lone, crowd = [], [], [], []
    stamped = 1.0
    with servers.nginx() as server:
        for _ in range(options.rounds):
            alone, many = peers.wrk(server.url, 1, options.seconds), peers.wrk(server.url, USERS, options.seconds)
            ran = ours.run(server.url, ours.users(USERS, options.seconds))
            assert ran.all_ok, ran.end
            s = ran.samples
            stamped = min(stamped, float((s.done_source == "kernel").mean()))
            kernel.append(quantiles_us(s.done_ns - s.send_ns))
            user.append(quantiles_us(s.done_user_ns - s.send_ns))
            if alone is not None and many is not None:
                lone.append((alone.percentiles_s[0.5] * 1e6, alone.percentiles_s[0.99] * 1e6))
                crowd.append((many.percentiles_s[0.5] * 1e6, many.percentiles_s[0.99] * 1e6))
    if not lone:
        sys.exit("wrk is not installed: run scripts/install-bench")
    base = statistics.median(p50 for p50, _ in lone)
    rows = []
    named = (("wrk, 1 user", lone), (f"wrk, {USERS} users", crowd), (f"harness, {USERS} users, kernel-stamped", kernel),
             (f"harness, {USERS} users, user-level", user))  # fmt: skip
    for name, found in named:
        p50, p99 = (statistics.median(pair[i] for pair in found) for i in (0, 1))
        rows.append([name, f"{p50:.1f}", f"{p99:.1f}", f"{p50 / base:.2f}"])
    print(
        f"medians of {options.rounds} rounds of {options.seconds:g} s; the kernel stamped {stamped:.1%} of the answers"
    )
    table.show(["", "p50, us", "p99, us", "p50 / lone wrk"], rows)
    ratio = statistics.median(p50 for p50, _ in kernel) / base
    promise = f"the kernel-stamped p50 is {ratio:.2f} x that of a lone wrk user (at most {MOST:g})"
    sys.exit(not table.line(promise, ratio <= MOST))


if __name__ == "__main__":
    main()
