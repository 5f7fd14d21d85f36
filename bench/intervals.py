"""Do the 95 % intervals hold the truth? Seeded runs of independent values and of queues whose quantiles are known.

For p50, p95, p99 and the mean: how many of 300 runs were given an interval, how many of those hold the truth, how many
of all runs claim what is not so, and how wide an interval is. Then p95 by three methods: ranks as if requests were
independent, the ranks of the effective sample (what a report shows), and a bootstrap of time blocks.

    python bench/intervals.py [--runs 300]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.support import table  # noqa: E402 - the checkout is put on the path first
from harness.analysis.statistics import bootstrap, quantiles  # noqa: E402
from harness.estimates import Estimate  # noqa: E402
from tests import queue_cases as cases  # noqa: E402

LEAST, MOST = 0.92, 0.98
UNTRUE = 0.08
LONGEST_S, MOST_MIB = 2.0, 300.0
MEASURED: tuple[tuple[str, float | None], ...] = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99), ("mean", None))
HELD = ("p50", "p95")
DRAWS, BINS = 400, 1_000
Found = dict[str, cases.Coverage]


def measured(case: cases.Case) -> Found:
    """Coverage of each statistic of what a report shows."""
    found = [quantiles.latency_findings(run) for run in case.runs]
    return {
        name: cases.covered([getattr(f, name) for f in found], case.mean if p is None else case.quantiles[p])
        for name, p in MEASURED
    }


def show(name: str, found: Found) -> list[list[str]]:
    return [
        [name if statistic == "p50" else "", statistic, *_figures(coverage)] for statistic, coverage in found.items()
    ]


def _figures(coverage: cases.Coverage) -> list[str]:
    if not coverage.shown:
        return ["all", "", "0.0 %", ""]
    refused = 1.0 - coverage.shown / coverage.runs
    return [f"{refused:.0%}", f"{coverage.of_shown:.1%}", f"{coverage.untrue:.1%}", f"{coverage.width:.0%}"]


# --- three ways to an interval of the p95 ------------------------------------------------------------------


def as_if_independent(run: NDArray[np.float64]) -> Estimate:
    ordered = np.sort(run)
    limits = quantiles._rank_limits(len(run), 0.95, 0.95)
    low, high = (float(ordered[rank - 1]) for rank in limits or (1, len(run)))
    return Estimate(quantiles.quantile(ordered, 0.95), low, high, len(run))


def effective_ranks(run: NDArray[np.float64]) -> Estimate:
    return quantiles.estimate_quantile(run, 0.95)


def time_blocks(run: NDArray[np.float64]) -> Estimate:
    """Percentile interval of the p95 of resampled blocks, each counted in bins of rank."""
    n, ordered = len(run), np.sort(run)
    p95 = quantiles.quantile(ordered, 0.95)
    length = bootstrap.block_length(n, (run > p95).astype(np.float64))
    blocks = bootstrap.block_count(n, length)
    cell = np.arange(n) // length * BINS + np.searchsorted(ordered, run) * BINS // n
    counts = np.bincount(cell, minlength=blocks * BINS).reshape(blocks, BINS).astype(np.float64)
    weights = bootstrap.block_weights(n, length, DRAWS, np.random.default_rng(1)).astype(np.float64)
    drawn = np.cumsum(weights @ counts, axis=1)
    bins = (drawn < 0.95 * drawn[:, -1:]).sum(axis=1)
    low, high = np.quantile(ordered[np.minimum(n - 1, (bins + 0.5) * n / BINS).astype(int)], (0.025, 0.975))
    return Estimate(p95, float(low), float(high), n)


METHODS: Sequence[tuple[str, Callable[[NDArray[np.float64]], Estimate]]] = (
    ("as if independent", as_if_independent),
    ("effective ranks", effective_ranks),
    ("time blocks", time_blocks),
)


def a_million() -> tuple[float, float]:
    """CPU seconds and MiB of `latency_findings` of 1,000,000 requests of a queue at load 0.8."""
    run = cases.mm1(1_000_000, 0.8, 1, runs=1).runs[0]
    began = time.process_time()
    quantiles.latency_findings(run)
    took = time.process_time() - began
    tracemalloc.start()
    quantiles.latency_findings(run)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return took, peak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=cases.RUNS)
    runs = parser.parse_args().runs
    rows, found = [], {}
    compared = {}
    for make, seed in ((cases.independent_lognormal, 1), (cases.independent_exponential, 2)):
        for n in (1_000, 10_000):
            case = make(n, seed, runs)
            found[case.name] = (0.0, n, measured(case))
            rows += show(case.name, found[case.name][2])
    for queue, seed in ((cases.mm1, 3), (cases.mg1, 4)):
        for load in (0.5, 0.8):
            for n in (1_000, 10_000):
                case = queue(n, load, seed, runs)
                found[case.name] = (load, n, measured(case))
                rows += show(case.name, found[case.name][2])
                if n == 10_000:
                    compared[case.name] = [
                        cases.covered([method(run) for run in case.runs], case.quantiles[0.95]) for _, method in METHODS
                    ]
    print(f"{runs} runs each; of those given, between {LEAST:.0%} and {MOST:.0%} should hold the truth\n")
    table.show(("", "", "refused", "hold the truth", "untrue of all", "width"), rows)
    print("\np95 of 10,000 requests: intervals that hold the truth\n")
    table.show(
        ("", *(name for name, _ in METHODS)),
        [[name, *(f"{c.of_shown:.1%}" for c in coverages)] for name, coverages in compared.items()],
    )
    took, peak = a_million()
    print(f"\n1,000,000 requests at load 0.8: {took:.2f} s of CPU, {peak:.0f} MiB\n")
    return 0 if promised(found, took, peak) else 1


def promised(found: dict[str, tuple[float, int, Found]], took: float, peak: float) -> bool:
    held = [(load, n, coverages[name]) for load, n, coverages in found.values() for name in HELD]
    light = [c for load, n, c in held if load == 0.0 or (load <= 0.5 and n == 10_000)]
    heavy = [c for load, n, c in held if load > 0.5 and n == 10_000]
    short = [c for load, n, c in held if load > 0.0 and n == 1_000]
    none_refused = all(c.shown == c.runs for c in light)
    lines = (
        (f"p50 and p95, independent or at load 0.5 with 10,000: {LEAST:.0%} to {MOST:.0%}, none refused",
         none_refused and all(LEAST <= c.of_shown <= MOST for c in light)),
        (f"at load 0.8 with 10,000: {LEAST:.0%} to {MOST:.0%} of those that are not refused",
         all(LEAST <= c.of_shown <= MOST for c in heavy)),
        (f"1,000 requests of a queue: at most {UNTRUE:.0%} of all runs claim what is not so",
         all(c.untrue <= UNTRUE for c in short)),
        (f"a million requests: at most {LONGEST_S:.0f} s and {MOST_MIB:.0f} MiB",
         took <= LONGEST_S and peak <= MOST_MIB and math.isfinite(took)),
    )  # fmt: skip
    return all([table.line(promise, holds) for promise, holds in lines])


if __name__ == "__main__":
    raise SystemExit(main())
