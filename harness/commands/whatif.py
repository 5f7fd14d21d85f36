"""`harness whatif`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.errors import ExitCode, UsageError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.analysis.replaying.replayable import Calibrated, Recorded
    from harness.analysis.replaying.whatif import Change
    from harness.diagnosis import WhatIfFindings
    from harness.run_folder import RunFolder

EXAMPLES = """
\b
Examples:
  harness whatif runs/20261121T101500Z-read-receipts                          the usual changes, best first
  harness whatif runs/20261121T101500Z-read-receipts --stage inference=0.8    a model that takes 80 % of the time
  harness whatif runs/20261121T101500Z-read-receipts --workers 4              four workers in each process
  harness whatif runs/20261121T101500Z-read-receipts --stage inference=0.5 --stage preprocess=0.8 --json

\b
The requests of the run go through its queue again, as they came. That is tried first with nothing changed: a run that
the replay does not reproduce gets no answer (exit code 3), nor does a closed loop.
"""


@click.command("whatif", epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--stage", "stages", metavar="STAGE=FACTOR", multiple=True, help="inference=0.8: takes 80 % of the time.")
@click.option("--workers", type=click.IntRange(1, 100_000), metavar="N", help="Workers in each process.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run: Path, stages: tuple[str, ...], workers: int | None, as_json: bool) -> int:
    """What a faster stage or more workers would give: RUN replayed with that changed.

    Without --stage and --workers: each stage faster, and one more worker.
    """
    wanted = _parsed(stages)

    from harness.report import whatif_text
    from harness.run_folder import RunFolder

    folder = RunFolder.open(run)
    answers, warnings = _answers(folder, wanted, workers)
    render = whatif_text.as_json if as_json else whatif_text.render
    click.echo(render(answers, folder.path.name, warnings).rstrip("\n"))
    return ExitCode.PASSED if answers[0].refusal is None else ExitCode.NOT_MEASURED


def _parsed(stages: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """The changes as written; which stages there are, the run knows."""
    found: dict[str, float] = {}
    for text in stages:
        stage, equals, number = (part.strip() for part in text.partition("="))
        if not stage or not equals:
            raise UsageError(f"--stage '{text}' has no factor", "write --stage inference=0.8")
        try:
            factor = float(number)
        except ValueError:
            factor = math.nan
        if not (math.isfinite(factor) and factor > 0):
            raise UsageError(f"--stage '{text}': '{number}' is not a factor above 0", "0.8 takes 80 % of the time")
        if stage in found:
            raise UsageError(f"--stage names {stage} twice", "give each stage one factor")
        found[stage] = factor
    return tuple(found.items())


def _answers(
    folder: RunFolder, stages: tuple[tuple[str, float], ...], workers: int | None
) -> tuple[tuple[WhatIfFindings, ...], list[str]]:
    from harness.analysis.replaying import cores, whatif
    from harness.analysis.replaying.replayable import calibrate

    run, vitals = _recorded(folder)
    found = calibrate(run)
    if isinstance(found, str):
        return (whatif.refused("a replay", found),), []
    if not stages and workers is None:
        answers = whatif.by_gain(whatif.answer(found, change) for change in whatif.usual_changes(found))
        if not answers:
            return (whatif.refused("a replay", "no stage of the service is known, and nobody had to wait"),), []
    else:
        changes = _changes(found, stages, workers)
        answers = tuple(whatif.answer(found, change) for change in changes)
    most = max((answer.servers or 0) * answer.pools for answer in answers)
    now = found.queue.servers * found.queue.pools if found.queue is not None else 0
    warning = cores.warning(run.halves.intervals, vitals, most) if most > now else None
    return answers, [warning] if warning is not None else []


def _changes(found: Calibrated, stages: tuple[tuple[str, float], ...], workers: int | None) -> list[Change]:
    """All together first, then each alone."""
    from harness.analysis.replaying.whatif import Change

    for stage, _ in stages:
        if stage not in found.seconds:
            raise UsageError(f"'{stage}' is no stage of this run that can be scaled", nearest(stage, found.seconds))
    if workers is not None and found.queue is None:
        raise UsageError("nobody had to wait in this run: more workers would change nothing", "try --stage")
    changes = [Change((each,)) for each in stages]
    if workers is not None:
        changes.append(Change(servers=workers))
    return changes if len(changes) == 1 else [Change(stages, workers), *changes]


def _recorded(folder: RunFolder) -> tuple[Recorded, pa.Table]:
    """What a replay needs of a stored run, and what the service said about itself."""
    from pydantic import TypeAdapter

    from harness.analysis.replaying.replayable import Recorded
    from harness.conclude import conclude
    from harness.model import Scenario
    from harness.record import validated

    record = validated(folder.read_json("run.json"), folder.run_json)
    scenario = TypeAdapter(Scenario).validate_python(record["plan"])
    found = conclude(folder, scenario, record)
    seen = found.seen
    run = Recorded(scenario.load.arrivals, seen.samples, seen.joined.halves, found.rows, found.summary.steps)
    return run, seen.vitals
