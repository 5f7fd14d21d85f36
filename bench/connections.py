"""What one load process holds: 2,000 connections at once, and uploads of 1 MB at 200 a second.

    python bench/connections.py [--seconds 10]

2,000 requests a second to a server that takes a second to answer need 2,000 connections. Uploads go to a server that
reads and drops them; while they are written, the generator must not be held up.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from support import cores, ours, servers, table

from harness.load import null_server
from harness.model import BodySpec, RequestSpec

HELD, SERVICE_S = 2000, 1.0
UPLOADS_PER_S, UPLOAD_BYTES = 200, 1_000_000
LAG_LIMIT_S = 0.05


def at_once(ran: ours.Ran) -> int:
    """Most requests that were open at the same instant."""
    samples = ran.samples
    began, ended = np.sort(samples.send_ns.to_numpy()), np.sort(samples.done_user_ns.to_numpy())
    return int((np.arange(1, len(began) + 1) - np.searchsorted(ended, began, side="right")).max())


def figures(name: str, ran: ours.Ran) -> list[str]:
    samples = ran.samples
    lag_s = ran.reading("hub_lag_max")
    late_ms, opened = float(np.quantile(ran.late_s, 0.99)) * 1e3, samples.connected_ns.notna().sum()
    return [name, f"{len(samples):,}", f"{ran.requests:,}", f"{at_once(ran):,}", f"{opened:,}",
            f"{late_ms:.2f}", "-" if lag_s is None else f"{lag_s * 1e3:.1f}", f"{ran.cpu_s / ran.seconds:.0%}",
            f"{ran.peak_mib:.0f}"]  # fmt: skip


def held(seconds: float) -> ours.Ran:
    """More than 2,000 on average, so that 2,000 are exceeded at any time."""
    rate = HELD / SERVICE_S * 1.05
    with servers.python("slow_server.py", str(SERVICE_S)) as server:
        return ours.run(server.url, ours.arrivals(rate, seconds, warmup_s=3 * SERVICE_S), server_pid=server.pid)


def uploads(seconds: float) -> ours.Ran:
    with tempfile.TemporaryDirectory(prefix="bench-upload-") as folder, null_server.running(cores.SERVER) as server:
        path = Path(folder) / "payload.bin"
        path.write_bytes(os.urandom(UPLOAD_BYTES))
        request = RequestSpec("upload", "POST", "/", body=BodySpec(body=(str(path),)))
        return ours.run(server.url, ours.arrivals(UPLOADS_PER_S, seconds), request, server_pid=server.pid)


def main() -> None:
    options = cores.options(__doc__, rounds=(1, 1), seconds=(10.0, 30.0))
    print(cores.headline())
    many, large = held(options.seconds), uploads(options.seconds)
    headers = ["", "requests", "ok", "at once", "connections opened", "late p99, ms", "hub lag max, ms", "CPU", "MiB"]
    rows = [figures(f"{HELD:,} connections held", many), figures(f"{UPLOADS_PER_S}/s uploads of 1 MB", large)]
    table.show(headers, rows)
    fresh = int(many.samples.connected_ns.notna().sum())
    lag_s = large.reading("hub_lag_max")
    most = at_once(many)
    kept = [
        table.line(f"{most:,} connections at once, every request answered", many.all_ok and most >= HELD),
        table.line(f"connections are used again: {fresh:,} opened for {len(many.samples):,} requests",
                   fresh < 0.2 * len(many.samples)),
        table.line(f"uploads: the hub was never held up for more than {(lag_s or 0) * 1e3:.1f} ms (at most 50 ms)",
                   large.all_ok and lag_s is not None and lag_s < LAG_LIMIT_S),
    ]  # fmt: skip
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
