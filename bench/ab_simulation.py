"""Does the comparison of two services cry wolf, does it stay silent? Whole comparisons on a simulated queue.

One server at half its capacity, Poisson arrivals, lognormal service of 10 ms (cv 0.5), every run 3 % faster or slower
by luck; both sides of a pair have the same arrivals. 5 pairs, then 7, then 9; p50, p95 and the error rate gate. For B
slower by 0 to 20 %: how many of 1,000 comparisons fail, rule a slow-down of 15 % out, or find nothing. With payloads
that are common to a pair (as `harness ab` sends them) and service times that are not, with longer runs, with a machine
that drifts, and with requests that fail. Then single looks with nothing allowed, against their level.

    python bench/ab_simulation.py [--repeats 1000]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.support import table  # noqa: E402 - the checkout is put on the path first
from harness.comparison import Change  # noqa: E402
from tests.simulated_pairs import RULE, Bench, Outcomes, compare_often, single_look  # noqa: E402

SLOWER = (1.0, 1.05, 1.10, 1.15, 1.20)
COMMON, MIXED, APART = "payloads common to a pair", "common payloads, 20 % jitter", "service times not common"
CASES: tuple[tuple[str, Bench], ...] = (
    (COMMON, Bench()),
    (MIXED, Bench(jitter=0.2)),
    (APART, Bench(jitter=None)),
    ("3,000 requests a run", Bench(n=3_000)),
    ("machine drifts 10 % between pairs", Bench(drift=0.10)),
    ("one look, after 5 pairs", Bench(rule=replace(RULE, looks=(5,)))),
)
FAILING: tuple[tuple[str, Bench], ...] = (
    ("1 % on both", Bench(failing=(0.01, 0.01))),
    ("2 % on both, restless", Bench(failing=(0.02, 0.02), restless=0.5)),
    ("10 % on both, restless", Bench(failing=(0.10, 0.10), restless=0.5)),
    ("0 %, and 1 % on B", Bench(failing=(0.0, 0.01))),
    ("0 %, and 2 % on B, restless", Bench(failing=(0.0, 0.02), restless=0.5)),
    ("1 %, and 3 % on B", Bench(failing=(0.01, 0.03))),
    ("0 %, and 10 % on B, restless", Bench(failing=(0.0, 0.10), restless=1.0)),
)
HEADERS = ("", "B slower by", "fail", "within", "not found", "unknown", "pairs")


def row(name: str, slower: str, found: Outcomes) -> list[str]:
    order = (Change.WORSE, Change.WITHIN, Change.NOT_FOUND, Change.UNKNOWN)
    return [name, slower, *(f"{found.share(change):.1%}" for change in order), f"{found.pairs:.1f}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1_000)
    repeats = parser.parse_args().repeats
    print(f"{repeats:,} comparisons each, 600 requests a run unless said otherwise\n")
    found: dict[tuple[str, float], Outcomes] = {}
    rows = []
    for number, (name, bench) in enumerate(CASES):
        for slower in SLOWER:
            found[name, slower] = compare_often(replace(bench, slower=slower), repeats, seed=100 * number + 1)
            rows.append(row(name if slower == 1.0 else "", f"{slower - 1:.0%}", found[name, slower]))
    table.show(HEADERS, rows)
    print("\nRequests that fail, B as fast as A\n")
    failing = {name: compare_often(bench, repeats, seed=900 + i) for i, (name, bench) in enumerate(FAILING)}
    table.show(HEADERS, [row(name, "0%", outcomes) for name, outcomes in failing.items()])
    print("\nOne look, nothing allowed: false alarms at a level of\n")
    levels = single_looks(repeats)
    table.show(
        ("", "5%", "2%"),
        [
            [name, *(f"{levels[name, alpha]:.1%}" for alpha in (0.05, 0.02))]
            for name in dict.fromkeys(n for n, _ in levels)
        ],
    )
    print()
    return 0 if promised(found, failing, levels, repeats) else 1


def single_looks(repeats: int) -> dict[tuple[str, float], float]:
    return {
        (f"{metric}, {name}", alpha): single_look(Bench(jitter=jitter), repeats, 7, metric, 0.0, alpha)
        for name, jitter in ((COMMON, 0.0), (APART, None))
        for metric in ("p50", "p95")
        for alpha in (0.05, 0.02)
    }


def promised(
    found: dict[tuple[str, float], Outcomes],
    failing: dict[str, Outcomes],
    levels: dict[tuple[str, float], float],
    repeats: int,
) -> bool:
    def fails(name: str, slower: float) -> float:
        return found[name, slower].share(Change.WORSE)

    designs = [name for name, bench in CASES if bench.rule == RULE]
    shared = [name for name, bench in CASES if bench.rule == RULE and bench.jitter is not None]
    quiet = [outcomes for name, outcomes in failing.items() if "on both" in name]
    plain = [outcomes for name, outcomes in failing.items() if "on both" not in name]
    lines = (
        ("nothing changed: at most 1 % fail, in every case", all(fails(name, 1.0) <= 0.01 for name in designs)),
        ("common payloads, +10 %: at least 80 % fail", all(fails(name, 1.10) >= 0.80 for name in shared)),
        ("common payloads, +15 %: at least 99 % fail", all(fails(name, 1.15) >= 0.99 for name in shared)),
        ("service times not common: at least 70 % fail at +10 %, 98 % at +15 %",
         fails(APART, 1.10) >= 0.70 and fails(APART, 1.15) >= 0.98),
        ("+10 % or more: at most 1 % within, in every case",
         all(o.share(Change.WITHIN) <= 0.01 for (_, slower), o in found.items() if slower > 1.06)),
        ("as many failures on both sides: at most 1 % fail", all(o.share(Change.WORSE) <= 0.01 for o in quiet)),
        ("more failures on B: at least 80 % fail", all(o.share(Change.WORSE) >= 0.80 for o in plain)),
        ("one look: false alarms within 3 standard errors of the level, or below it",
         all(at <= alpha + 3 * (alpha * (1 - alpha) / repeats) ** 0.5 for (_, alpha), at in levels.items())),
    )  # fmt: skip
    return all([table.line(promise, holds) for promise, holds in lines])


if __name__ == "__main__":
    raise SystemExit(main())
