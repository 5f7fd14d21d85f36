"""Does `harness ab` cry wolf, and does it stay silent? Whole comparisons of the real sample service.

    python bench/ab.py [--same 20] [--slower 10] [--keep FOLDER]       FULL=1: 20 and 10 by default

`/v1/identify` at half of what one core holds, both sides started anew for each run. "Same": B is A, nothing may fail.
"Slower": B has FAULTS=inference:*1.2, which has to be caught and blamed on inference. A comparison that is in FOLDER
already is not measured again, so that a bench that was stopped goes on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from support import cores, ground, table  # noqa: E402

from harness.ab import AB_FILE, Ask, run_ab  # noqa: E402 - the checkout is put on the path first
from harness.analysis.comparing.paired import Rule  # noqa: E402
from harness.comparison import AbFindings, MetricChange  # noqa: E402
from harness.errors import Interrupted  # noqa: E402
from harness.findings import Verdict  # noqa: E402
from harness.interrupt import Interrupt  # noqa: E402
from harness.pairs import Bench, Side, open_folder  # noqa: E402
from harness.report.json_findings import parse_findings  # noqa: E402
from harness.scenario import Overrides, load_scenario  # noqa: E402
from harness.services import Start  # noqa: E402

FAULT = "FAULTS=inference:*1.2 "
STAGE = "inference"
COSTED = 60
MISSED_OF_10 = 1


@dataclass(frozen=True, slots=True)
class Planned:
    """One comparison of the bench."""

    name: str  # same-03, slower-01
    slower: bool
    seed: int


def planned(same: int, slower: int) -> list[Planned]:
    """Both kinds in turn, so that a bad hour of the machine does not hit one alone."""
    kinds = [(slow, number) for slow, count in ((False, same), (True, slower)) for number in range(1, count + 1)]
    spread = sorted(kinds, key=lambda kind: ((kind[1] - 0.5) / (slower if kind[0] else same), kind[0]))
    return [Planned(f"{'slower' if slow else 'same'}-{n:02d}", slow, 1000 * n + 500 * slow) for slow, n in spread]


def side(name: str, fault: str) -> Side:
    """One side, bound to the server's core."""
    command = " ".join(cores.pinned([sys.executable, "-m", "sample_service", "--port", "{port}"], cores.SERVER))
    return Side(name, start=Start(f"READER_THREADS=1 {fault}{command}", "/readyz", 60.0, ROOT))


def half_of_capacity() -> float:
    """Arrivals per second at which one core is half busy."""
    bodies = [path.read_bytes() for path in sorted((ROOT / "scenarios/payloads/files").iterdir()) if path.is_file()]
    with ground.sample_service({"READER_THREADS": "1"}) as service:
        return 0.5 / ground.cost_s(service, "POST", "/v1/identify", bodies, "", COSTED)


def compare(plan: Planned, rate: float, seconds: float, folder: Path, interrupt: Interrupt) -> AbFindings:
    """One whole comparison."""
    overrides = Overrides(
        target="http://127.0.0.1:1", rate=f"{rate:.2f}/s", duration=f"{seconds:g}s", warmup="2s",
        seed=str(plan.seed), source="server-timing",
    )  # fmt: skip
    scenario = replace(load_scenario(ROOT / "scenarios/identify.yaml", overrides), name=plan.name)
    sides = side("A", ""), side("B", FAULT if plan.slower else "")
    bench = Bench(
        scenario, *sides, open_folder(folder, scenario, "ab"), lambda event: None, interrupt, lambda said: None
    )
    found = run_ab(bench, Ask(Rule()))
    if found.interrupted:
        raise Interrupted("interrupted")
    return found


def silent(said: object) -> None:
    """Nobody watches a single comparison."""
    del said


def line(plan: Planned, found: AbFindings, took_s: float) -> str:
    """One comparison in one line."""
    counted = sum(pair.counted for pair in found.pairs)
    shown = [f"{m.metric} {ratio(m)}" for m in found.metrics if m.metric in ("p50", "p95")]
    blamed = found.blame.stage if found.blame is not None else "-"
    judged = found.verdict.value, found.change.value, f"{counted} of {len(found.pairs)} pairs", *shown
    return " | ".join((f"{plan.name:10}", *judged, f"blamed {blamed}", f"{took_s:.0f} s"))


def ratio(metric: MetricChange) -> str:
    """The change with its interval, and what such pairs find."""
    known = metric.ratio.value, metric.ratio.low, metric.ratio.high, metric.detectable
    value, low, high, finds = (float("nan") if each is None else 100 * (each - 1) for each in known)
    return f"{value:+.1f} % ({low:+.1f} .. {high:+.1f}), finds {finds:+.0f} %"


def measure(plans: Sequence[Planned], seconds: float, folder: Path, keep: Path) -> Iterator[tuple[Planned, AbFindings]]:
    """All comparisons, each told in a line as it ends."""
    rate = half_of_capacity()
    print(f"{rate:.1f} arrivals/s for {seconds:g} s: about {rate * seconds:.0f} requests a run", flush=True)
    with Interrupt() as interrupt:
        for plan in plans:
            stored, began = keep / f"{plan.name}.json", time.monotonic()
            if not stored.exists():
                try:
                    compare(plan, rate, seconds, folder, interrupt)
                except Interrupted as error:
                    sys.exit(error.message)
                made = next(folder.glob(f"*-{plan.name}-ab"))
                shutil.copy(made / AB_FILE, stored)
                shutil.rmtree(made)
            found = parse_findings(AbFindings, stored.read_text(encoding="utf-8"))
            print(line(plan, found, found.duration_s if time.monotonic() - began < 1 else time.monotonic() - began))
            sys.stdout.flush()
            yield plan, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--same", type=int, default=20 if cores.FULL else 2, help="comparisons of A with itself")
    parser.add_argument("--slower", type=int, default=10 if cores.FULL else 1, help="comparisons with a slower B")
    parser.add_argument("--seconds", type=float, default=6.0, help="measured length of each run")
    parser.add_argument(
        "--keep", type=Path, help="folder for what each comparison found; what is there is not measured"
    )
    options = parser.parse_args()
    print(cores.headline())
    os.sched_setaffinity(0, {cores.GENERATOR})  # what is started here generates load, or concludes when that is over
    with tempfile.TemporaryDirectory(prefix="bench-ab-") as temporary:
        keep = options.keep or Path(temporary) / "found"
        keep.mkdir(parents=True, exist_ok=True)
        plans = planned(options.same, options.slower)
        found = list(measure(plans, options.seconds, Path(temporary), keep))
    return not judge(found)


def judge(found: Sequence[tuple[Planned, AbFindings]]) -> bool:
    """The table, and whether the promises hold."""
    rows = []
    for slower in (False, True):
        group = [each for plan, each in found if plan.slower is slower]
        verdicts = [sum(each.verdict is verdict for each in group) for verdict in Verdict]
        blamed = sum(each.blame is not None and each.blame.stage == STAGE for each in group)
        pairs = sum(sum(pair.counted for pair in each.pairs) for each in group) / max(1, len(group))
        rows.append(["slower" if slower else "same", len(group), *verdicts, blamed, f"{pairs:.1f}"])
    table.show(["B is", "n", *(verdict.value for verdict in Verdict), f"blamed {STAGE}", "pairs"], rows)
    same, slow = ([each for plan, each in found if plan.slower is slower] for slower in (False, True))
    alarms = sum(each.verdict is Verdict.FAILED for each in same)
    judged = sum(each.verdict is Verdict.PASSED for each in same)
    caught = sum(
        each.verdict is Verdict.FAILED and each.blame is not None and each.blame.stage == STAGE for each in slow
    )
    wanted = len(slow) - MISSED_OF_10 * len(slow) // 10
    quiet = table.line(f"{alarms} of {len(same)} comparisons of A with itself fail, {judged} pass", alarms == 0)
    sharp = table.line(f"{caught} of {len(slow)} slow-downs caught and blamed on {STAGE}", caught >= wanted)
    return quiet and sharp


if __name__ == "__main__":
    sys.exit(main())
