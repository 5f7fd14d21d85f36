"""`harness gate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.outputs import output_options, outputs_of, publish, reporting
from harness.errors import RunFolderError, UsageError

if TYPE_CHECKING:
    from harness.baseline.stored import Stored
    from harness.comparison import BaselineFindings
    from harness.findings import Summary
    from harness.run_folder import RunFolder
    from harness.slo import Slo

EXAMPLES = """
\b
Examples:
  harness gate runs/20261121T101500Z-read-receipts                            its own SLOs, judged again
  harness gate runs/20261121T101500Z-read-receipts --slo "p99(latency) < 2s"  and one more
  harness gate runs/ --slo "p95(latency) < 800ms" --only-these                the newest run, this limit alone
  harness gate runs/ --baseline runs/ --allowed 5%                            the newest run against the ones before

\b
A baseline needs 8 stored runs of the same scenario, load, payloads and machine. To compare two versions with fewer,
run them in interleaved pairs: harness ab.

\b
Exit codes: 0 passed, 1 failed, 2 bad usage, 3 not enough data or an invalid measurement, 4 the run was interrupted.
"""


@click.command("gate", epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--slo", "slos", metavar="EXPR", multiple=True, help="One more limit: 'p95(latency) < 1s'. Repeatable.")
@click.option("--only-these", is_flag=True, help="Judge the limits given here, and not those of the scenario.")
@click.option(
    "--baseline", "baselines", metavar="RUN", multiple=True, type=click.Path(path_type=Path),
    help="A stored run to be held against, or a folder: all runs of the scenario in it. Repeatable.",
)  # fmt: skip
@click.option("--allowed", default="5%", show_default=True, metavar="SHARE", help="Slow-down that a baseline allows.")
@click.option(
    "--strict", is_flag=True, help="Pass only with a healthy generator, an SLO, and 15% more ruled out by --baseline."
)
@click.option("--accept-suspect", is_flag=True, help="Judge an invalid measurement nevertheless; the verdict says so.")
@output_options
def command(
    run: Path, slos: tuple[str, ...], only_these: bool, baselines: tuple[Path, ...], allowed: str, strict: bool,
    accept_suspect: bool, **options: Any,
) -> int:  # fmt: skip
    """Judge a stored RUN: by the SLOs of its scenario, by the ones given here, and against earlier runs.

    The run is left as it is.
    """
    outputs = outputs_of(options)
    with reporting(outputs, run.name):
        asked = _parsed(slos)
        share = _share(allowed)
        if only_these and not asked and not baselines:
            raise UsageError("--only-these leaves nothing to judge", "name a limit: --slo 'p95(latency) < 200ms'")
        source = click.get_current_context().get_parameter_source("allowed")
        if not baselines and source is not click.core.ParameterSource.DEFAULT:
            raise UsageError("--allowed says nothing without a baseline", "name earlier runs: --baseline runs/")

        from harness.run_folder import RunFolder

        folder = RunFolder.open(run)
        for path in baselines:
            _check_there(path)
        summary = _judged(folder, asked, only_these, strict, accept_suspect)
        if not baselines:
            return publish(summary, outputs)
        found = _held_against(folder, summary, baselines, share, strict)
    summary = _together(summary, found)
    return publish(summary, outputs, partial(_shown, summary, found), baseline=found)


def _parsed(expressions: Sequence[str]) -> list[Slo]:
    from harness.slo import parse_slos

    return [slo for expression in expressions for slo in parse_slos(expression)]


def _share(allowed: str) -> float:
    from harness.units import UnitError, parse_share

    try:
        return parse_share(allowed)
    except UnitError as error:
        raise UsageError(f"--allowed: {error.message}", error.hint) from None


def _judged(folder: RunFolder, asked: list[Slo], only_these: bool, strict: bool, accept_suspect: bool) -> Summary:
    """The run concluded again with the SLOs that are wanted. Nothing is written."""
    from pydantic import TypeAdapter

    from harness.conclude import conclude
    from harness.model import Scenario
    from harness.record import validated
    from harness.slo import check_names

    record = validated(folder.read_json("run.json"), folder.run_json)
    scenario = TypeAdapter(Scenario).validate_python(record["plan"])
    names = [request.name for request in scenario.requests] if scenario.users is None else None
    for slo in asked:
        check_names(slo, names, len(scenario.load.steps))
    wanted = asked if only_these else [*_parsed(scenario.slo), *asked]
    once: dict[Slo, str] = {}
    for slo in wanted:
        once.setdefault(replace(slo, expression=""), slo.expression)
    scenario = replace(scenario, slo=tuple(once.values()))
    accept = accept_suspect or record.get("accept_suspect") is True
    return conclude(folder, scenario, {**record, "accept_suspect": accept}, strict=strict).summary


# --- against earlier runs ----------------------------------------------------------------------------------


def _check_there(path: Path) -> None:
    """What is missing is told before the run is judged, which may take a while."""
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise RunFolderError(f"--baseline {path} {what}", "name a stored run, or a folder that holds runs, e.g. runs/")


def _held_against(
    folder: RunFolder, summary: Summary, paths: Sequence[Path], allowed: float, strict: bool
) -> BaselineFindings:
    from harness.baseline import judge
    from harness.baseline.stored import of_summary

    earlier, left_out = _earlier(paths, folder, summary.scenario)
    return judge(of_summary(folder, summary), earlier, allowed, strict, left_out)


def _earlier(paths: Sequence[Path], judged: RunFolder, scenario: str) -> tuple[list[Stored], list[tuple[str, str]]]:
    """The runs that were named, and those of the scenario in folders that were; and what cannot be read, why."""
    from harness.baseline.stored import runs_in, stored

    found: list[Stored] = []
    left_out: list[tuple[str, str]] = []
    for path in paths:
        for name, folder in runs_in(path):
            try:
                if isinstance(folder, RunFolderError):
                    raise folder
                if folder.path.resolve() == judged.path.resolve():
                    continue
                run = stored(folder)
            except RunFolderError as error:
                left_out.append((name, error.message))
                continue
            is_named = folder.path == path
            if is_named or run.run.scenario == scenario:
                found.append(run)
    return found, left_out


def _together(summary: Summary, found: BaselineFindings) -> Summary:
    """The run's verdict, with what its baseline says: the worse of both counts. To a measurement that is invalid itself
    a baseline says that it is; where an SLO alone cannot be judged, a failure is one, as beside other SLOs.
    """
    from harness.findings import Verdict

    if found.verdict in (Verdict.PASSED, Verdict.INVALID):
        return summary
    reasons = tuple(f"against earlier runs: {reason}" for reason in found.reasons)
    if summary.verdict is found.verdict:
        return replace(summary, reasons=(*summary.reasons, *reasons))
    if summary.verdict is Verdict.PASSED or found.verdict is Verdict.FAILED:
        return replace(summary, verdict=found.verdict, reasons=reasons)
    return summary


def _shown(summary: Summary, found: BaselineFindings, *, width: int, colour: bool) -> str:
    """The run on the terminal, and below it the runs that it was held against."""
    from harness.report import baseline_text, console

    parts = [
        console.render(summary, width=width, colour=colour),
        baseline_text.render(found, width=width, colour=colour),
    ]
    return "\n".join(parts if summary.slo else reversed(parts))  # what was judged comes first
