"""Does the verdict name what was done to the service? Twelve situations of the sample service, five seeds each.

    python bench/verdict.py [--situations lock,poison] [--seeds 5] [--keep FOLDER]

Each run starts the service anew, bound to one core, and stresses it from the other one. What a request costs here is
measured first, so that the rates suit the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from support import cores, ground, table  # noqa: E402
from support.situations import SITUATIONS, Ask, Situation, draw  # noqa: E402

from harness.errors import Interrupted  # noqa: E402 - the checkout is put on the path first
from harness.findings import Summary  # noqa: E402
from harness.interrupt import Interrupt  # noqa: E402
from harness.model import Vital  # noqa: E402
from harness.run import Outcome, execute  # noqa: E402
from harness.spans import listen  # noqa: E402

NONE = "-"
WRONG_OF_60 = 2
SHOWN_SHARE = 0.04

Planned = tuple[str, Situation, int]  # its name, and the seed
Costs = dict[tuple[Ask, bool], float]


@dataclass(frozen=True, slots=True)
class Named:
    """What one run came to."""

    name: str
    situation: Situation
    summary: Summary

    @property
    def found(self) -> str:
        """Code of the first cause."""
        return self.summary.causes[0].code if self.summary.causes else NONE

    @property
    def right(self) -> bool:
        """The cause that was made is the first one named, with its stage and model; or nothing is named at all."""
        wanted, summary = self.situation, self.summary
        if wanted.expected is None:
            return not summary.causes and summary.bottleneck is None
        if self.found != wanted.expected:
            return False
        first = summary.causes[0]
        return wanted.stage in (None, first.stage) and wanted.model in (None, first.model)


def costs_of(chosen: Sequence[Situation], folder: Path) -> Costs:
    """CPU seconds of one request of each kind, on this machine; of a kind with its own cost, in its environment."""
    costs: Costs = {}
    plain = [s for s in chosen if not s.own_cost]
    for group in (plain, *([s] for s in chosen if s.own_cost)):
        new = {(s.ask, s.own_cost) for s in group} - costs.keys()
        if new:
            with ground.sample_service(group[0].env if group[0].own_cost else {}) as service:
                costs |= {key: _cost_s(service, key[0], folder) for key in sorted(new, key=lambda key: key[0].name)}
    return costs


def _cost_s(service: ground.Service, ask: Ask, folder: Path) -> float:
    bodies = [(folder / picture).read_bytes() for picture in ask.pictures] or [b""]
    content_type = ""
    if ask.as_form:
        head = b'--cost\r\nContent-Disposition: form-data; name="image"; filename="image"\r\n\r\n'
        bodies = [head + body + b"\r\n--cost--\r\n" for body in bodies]
        content_type = "multipart/form-data; boundary=cost"
    return ground.cost_s(service, ask.method, ask.path, bodies, content_type, ask.costed)


def run(name: str, situation: Situation, seed: int, rate: float, folder: Path, interrupt: Interrupt) -> Outcome:
    """One situation, once: a fresh service, a run, its conclusions."""
    with ExitStack() as stack:
        listener = stack.enter_context(listen.bind("127.0.0.1:0"))
        service = stack.enter_context(ground.sample_service(situation.env, listener.getsockname()[1]))
        port = stack.enter_context(ground.thin_line(service.port, situation.up, situation.down))
        burners = stack.enter_context(ground.burners(situation.burners))

        def watch(event: Mapping[str, object]) -> None:
            if event.get("phase") == "measure":
                burners.burn()
            elif event.get("phase") in ("drain", "spans"):
                burners.end()

        scenario = situation.scenario(name.replace(" ", "-"), port, rate, seed, folder)
        return execute(scenario, folder / "runs", watch, interrupt, listener)


def line(named: Named, outcome: Outcome, seed: int, rate: float, took_s: float) -> str:
    """One run in one line: what was named, and the figures it may have been named from."""
    summary = named.summary
    known = [latency.value for latency in (summary.latency.mean, summary.latency.p50, summary.latency.p95)]
    mean, p50, p95 = ("?" if value is None else f"{1e3 * value:.0f}" for value in known)
    stages = [(s.stage, s.share) for s in summary.stages if s.share is not None and s.stage != "transfer"]
    claimed = summary.bottleneck.stage if summary.bottleneck is not None else NONE
    return " | ".join(
        (
            f"{'right' if named.right else 'WRONG'}  {named.name:12} {seed}  {causes_text(summary):32}",
            f"tail {claimed:11} n={summary.counts.ok} {rate:.1f}/s mean {mean} p50 {p50} p95 {p95} ms",
            " ".join(f"{stage} {share:.0%}" for stage, share in stages if share >= SHOWN_SHARE),
            " ".join(f"{w.resource} {1e3 * w.mean_per_request_s:.0f} ms" for w in summary.waits),
            vitals(outcome),
            f"{summary.health.state.value}, {took_s:.0f} s",
        )
    )


def causes_text(summary: Summary) -> str:
    """The first two causes, with stage and model."""
    several = [(c.code, ".".join(filter(None, (c.stage, c.model)))) for c in summary.causes[:2]]
    return ", ".join(f"{code}({where})" if where else code for code, where in several) or NONE


def vitals(outcome: Outcome) -> str:
    """The service's own figures: medians of its CPU, the lag of its event loop, its threads."""
    frame = outcome.folder.read_table("vitals", Vital).to_pandas()
    medians = frame.groupby("name")["value"].median()
    shown = (("process.cpu.utilization", "cpu", 1.0), ("harness.event_loop.lag", "lag ms", 1e3),
             ("process.thread.count", "threads", 1.0))  # fmt: skip
    return " ".join(f"{short} {factor * medians[name]:.2g}" for name, short, factor in shown if name in medians)


def rounds(chosen: Sequence[str], seeds: int, seconds: float | None) -> Iterator[Planned]:
    """Seed by seed, so that a bad minute of the machine does not hit one situation alone."""
    for seed in range(1, seeds + 1):
        for name in chosen:
            kinds = SITUATIONS[name]
            kind = kinds[(seed - 1) % len(kinds)]
            yield name, kind if seconds is None else replace(kind, seconds=seconds), seed


def confusion(named: Sequence[Named]) -> None:
    """Rows are situations, columns what was named first."""
    counted = Counter((each.name, each.found) for each in named)
    codes = sorted({code for _, code in counted}, key=lambda code: (code == NONE, code))
    rows = []
    for name in dict.fromkeys(each.name for each in named):
        right = sum(each.right for each in named if each.name == name)
        of = sum(each.name == name for each in named)
        rows.append([name, *(counted[name, code] or "." for code in codes), f"{right} of {of}"])
    table.show(["situation", *codes, "right"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--situations", default=",".join(SITUATIONS), help="some of: %(default)s")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, help="measured length of every run, instead of each its own")
    parser.add_argument("--keep", type=Path, help="folder for the runs, which are deleted otherwise")
    options = parser.parse_args()
    chosen = [name.strip() for name in options.situations.split(",")]
    unknown = sorted(set(chosen) - set(SITUATIONS))
    if unknown:
        parser.error(f"there is no situation {unknown[0]!r}; choose from {', '.join(SITUATIONS)}")
    print(cores.headline())
    os.sched_setaffinity(0, {cores.GENERATOR})  # what is started here generates load, or concludes when that is over
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-verdict-") as temporary:
        planned = list(rounds(chosen, options.seeds, options.seconds))
        named = measure(planned, Path(temporary), options.keep)
    confusion(named)
    right, most_wrong = sum(each.right for each in named), WRONG_OF_60 * len(named) // 60
    took_s = time.monotonic() - began
    promise = f"the right cause in {right} of {len(named)} runs (at most {most_wrong} wrong), {took_s:.0f} s"
    return not table.line(promise, len(named) - right <= most_wrong)


def measure(planned: Sequence[Planned], folder: Path, keep: Path | None) -> list[Named]:
    """All the runs, each told in a line as it ends."""
    draw(folder)
    costs = costs_of([situation for _, situation, _ in planned], folder)
    print("CPU of one request:", ", ".join(f"{ask.name} {1e3 * cost:.1f} ms" for (ask, _), cost in costs.items()))
    named: list[Named] = []
    with Interrupt() as interrupt:
        for name, situation, seed in planned:
            rate, began = situation.rate(costs[situation.ask, situation.own_cost]), time.monotonic()
            try:
                outcome = run(name, situation, seed, rate, folder, interrupt)
            except Interrupted as error:
                sys.exit(error.message)
            if interrupt.stop:
                sys.exit("interrupted")
            named.append(Named(name, situation, outcome.summary))
            print(line(named[-1], outcome, seed, rate, time.monotonic() - began), flush=True)
            if keep is not None:
                shutil.copytree(outcome.folder.path, keep / f"{name.replace(' ', '-')}-{seed}", dirs_exist_ok=True)
            shutil.rmtree(outcome.folder.path)
    return named


if __name__ == "__main__":
    sys.exit(main())
