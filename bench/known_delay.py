"""Does the ledger say what the service itself timed? Every stage of a service of known lengths, at 5 and at 80 %.

    python bench/known_delay.py [--seconds 30]

The service sleeps known lengths in threads, in gathers, behind a lock of one, in a batcher and behind a small thread
pool; a stopwatch of its own stands beside every mark. Means per endpoint, level and stage are compared with it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from support import table

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.acceptance_support import largest_gap_s  # noqa: E402 - the checkout is put on the path first
from tests.conftest import free_port  # noqa: E402
from tests.known_delay_load import LEVELS, Compared, measure, stages_compared, waits_compared  # noqa: E402

SHORTEST_S = 20e-6  # what nobody did is not shown


def row(each: Compared) -> list[str]:
    found, own = each.found_s * 1e3, each.expected_s * 1e3
    level = f"{LEVELS[each.step]:.0%}"
    return [each.endpoint, level, each.what, f"{each.n}", f"{found:.3f}", f"{own:.3f}", f"{found - own:+.3f}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="per level (30)")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="known-delay-") as folder:
        measured = measure(Path(folder), free_port(), seconds)
        compared = [*stages_compared(measured), *waits_compared(measured)]
    shown = [each for each in compared if max(each.found_s, each.expected_s) > SHORTEST_S]
    table.show(["endpoint", "load", "stage", "n", "ledger (ms)", "stopwatch", "apart"], [row(each) for each in shown])
    gap_us = largest_gap_s(measured.ledger) * 1e6
    worst = max(compared, key=lambda each: abs(each.found_s - each.expected_s))
    print(f"worst: {worst}")
    same = table.line("every mean within 1 ms or 3 % of the stopwatch", all(each.holds for each in compared))
    split = len(measured.ledger[measured.ledger["split"] == "marks"])
    sums = f"in {split:,} of {len(measured.timed):,} requests the stages sum to the latency, within {gap_us:.3f} us"
    return 0 if table.line(sums, split == len(measured.timed) and gap_us <= 1) and same else 1


if __name__ == "__main__":
    sys.exit(main())
