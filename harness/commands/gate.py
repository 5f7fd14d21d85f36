"""`harness gate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from harness.findings import Summary
    from harness.run import Outcome
    from harness.run_folder import RunFolder

EXAMPLES = """
\b
Examples:
  harness gate runs/20261121T101500Z-read-receipts                            its own SLOs, judged again
  harness gate runs/20261121T101500Z-read-receipts --slo "p99(latency) < 2s"  and one more
  harness gate runs/ --slo "p95(latency) < 800ms" --only-these                the newest run, this limit alone

\b
Exit codes: 0 passed, 1 failed, 2 bad usage, 3 not enough data or an invalid measurement.
"""

INTERRUPTED = "the run was interrupted: what was measured until then is not what the scenario asks for"


@click.command("gate", epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--slo", "slos", metavar="EXPR", multiple=True, help="One more limit: 'p95(latency) < 200ms'. Repeatable."
)
@click.option("--only-these", is_flag=True, help="Judge the limits given here, and not those of the scenario.")
@click.option("--strict", is_flag=True, help="What is not shown is not passed: a suspect generator, no SLO at all.")
@click.option("--accept-suspect", is_flag=True, help="Judge an invalid measurement nevertheless; the verdict says so.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    run: Path, slos: tuple[str, ...], only_these: bool, strict: bool, accept_suspect: bool, as_json: bool
) -> int:
    """Judge a stored RUN: by the SLOs of its scenario, and by the ones given here. The run is left as it is."""
    from harness.slo import parse_slo

    asked = [parse_slo(expression).expression for expression in slos]
    if only_these and not asked:
        raise UsageError("--only-these leaves nothing to judge", "name a limit: --slo 'p95(latency) < 200ms'")

    from harness.run_folder import RunFolder

    folder = RunFolder.open(run)
    outcome = _judged(folder, asked, only_these, strict, accept_suspect)
    _print(outcome, as_json)
    return _exit_code(outcome.summary)


def _judged(folder: RunFolder, asked: list[str], only_these: bool, strict: bool, accept_suspect: bool) -> Outcome:
    """The run concluded again with the SLOs that are wanted. Nothing is written."""
    from pydantic import TypeAdapter

    from harness.conclude import conclude
    from harness.model import Scenario
    from harness.record import validated
    from harness.run import Outcome

    record = validated(folder.read_json("run.json"), folder.run_json)
    scenario = TypeAdapter(Scenario).validate_python(record["plan"])
    wanted = asked if only_these else [*scenario.slo, *asked]
    scenario = replace(scenario, slo=tuple(dict.fromkeys(" ".join(expression.split()) for expression in wanted)))
    if accept_suspect:
        record = {**record, "accept_suspect": True}
    found = conclude(folder, scenario, record)
    return Outcome(folder, _whole(found.summary), found.rows)


def _whole(summary: Summary) -> Summary:
    """What was measured up to an interruption can fail, but it does not stand for the whole run."""
    from harness.findings import Verdict

    if not summary.interrupted or summary.verdict is not Verdict.PASSED:
        return summary
    return replace(summary, verdict=Verdict.NOT_ENOUGH_DATA, reasons=(INTERRUPTED,))


def _print(outcome: Outcome, as_json: bool) -> None:
    from harness.commands.common import print_summary
    from harness.report import json_report

    if as_json:
        click.echo(json_report.render(outcome.summary), nl=False)
    else:
        print_summary(outcome)


def _exit_code(summary: Summary) -> ExitCode:
    from harness.findings import Verdict

    codes = {Verdict.PASSED: ExitCode.PASSED, Verdict.FAILED: ExitCode.GATE_FAILED}
    return codes.get(summary.verdict, ExitCode.NOT_MEASURED)
