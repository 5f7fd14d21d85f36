"""Constant memory: a run of ten million requests stays under 500 MB, in the load process and when it is sealed.

    python bench/memory.py [--seconds 25] [--rows 2000000]

A closed loop for a while, with the memory of the load process at the start and at the end; then rows without a
network, as many as asked (FULL=1: ten million): schedule, recorder and health in one child, sealing into Parquet in
another. What grows with the rows is extrapolated to ten million.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from support import cores, ours, servers, table

USERS = 16
MOST_MIB = 500e6 / 2**20
TEN_MILLION = 10_000_000


def child(what: str, folder: str, rows: int) -> dict[str, float]:
    """Seconds and peak MiB of one stage."""
    command = [sys.executable, str(Path(__file__).parent / "support" / "rows_child.py"), what, folder, str(rows)]
    ended = subprocess.run(cores.pinned(command, cores.GENERATOR), capture_output=True, text=True)
    if ended.returncode != 0:
        sys.exit(ended.stderr[-2000:])
    figures: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=100.0 if cores.FULL else 25.0)
    parser.add_argument("--rows", type=int, default=TEN_MILLION if cores.FULL else 2_000_000)
    options = parser.parse_args()
    print(cores.headline())
    with servers.nginx() as server:
        ran = ours.run(server.url, ours.users(USERS, options.seconds), keep=False)
    sent = int(ran.end["sent"])
    rows = [["load process, closed loop", f"{sent:,}", f"{ran.start_mib:.0f}", f"{ran.peak_mib:.0f}",
             f"{_at_ten_million(ran.start_mib, ran.peak_mib, sent):.0f}"]]  # fmt: skip
    worst = _at_ten_million(ran.start_mib, ran.peak_mib, sent)
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        few = options.rows // 10
        for what, name in (("record", "schedule, recorder, health"), ("seal", "sealing into Parquet")):
            with tempfile.TemporaryDirectory(prefix="bench-memory-few-") as small:
                if what == "seal":
                    child("record", small, few)
                base = child(what, small, few)["peak_mib"]
            peak = child(what, folder, options.rows)["peak_mib"]
            whole = peak + max(0.0, peak - base) / (options.rows - few) * (TEN_MILLION - options.rows)
            worst = max(worst, whole)
            rows.append([name, f"{options.rows:,}", f"{base:.0f}", f"{peak:.0f}", f"{whole:.0f}"])
    print("MiB resident; `before`: at the first request, or with a tenth of the rows")
    table.show(["", "requests", "before", "peak", "at ten million"], rows)
    promise = f"at most {worst:.0f} MiB with ten million requests (500 MB are {MOST_MIB:.0f} MiB)"
    sys.exit(not table.line(promise, worst < MOST_MIB))


def _at_ten_million(start_mib: float, peak_mib: float, requests: int) -> float:
    return start_mib + (peak_mib - start_mib) / max(1, requests) * TEN_MILLION


if __name__ == "__main__":
    main()
