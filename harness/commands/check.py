"""`harness check`."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from harness.commands.common import say
from harness.commands.run import overrides_of
from harness.errors import NothingMeasured, UsageError
from harness.slo import GRAMMAR

if TYPE_CHECKING:
    from harness.model import Scenario


EXAMPLES = f"""
\b
Examples:
  harness check scenarios/read-receipts.yaml             the plan, and what each SLO needs
  harness check scenarios/read-receipts.yaml --spans     and what comes back

\b
SLOs, one or several joined by `and` (the whole language: python -m pydoc harness.slo):
{textwrap.indent(GRAMMAR, "  ")}"""


@click.command("check", epilog=EXAMPLES)
@click.argument("scenario", required=False)
@click.option("--target", metavar="URL", help="Where the API is; overrides the scenario.")
@click.option("--connect", "show_connect", is_flag=True, help="Show how a service sends its spans here.")
@click.option(
    "--spans", "show_spans", is_flag=True, help="Send a few requests; show what came back of one of each kind."
)
@click.option(
    "--generator",
    "show_generator",
    is_flag=True,
    help="Half a minute: what this machine's generator holds.",
)
def command(
    scenario: str | None, target: str | None, show_connect: bool, show_spans: bool, show_generator: bool
) -> None:
    """Validate SCENARIO and show the plan: arrivals, payloads, SLOs, what each number needs.

    With --generator alone no SCENARIO is needed.
    """
    if scenario is None and (show_connect or show_spans or not show_generator):
        raise UsageError("SCENARIO is missing", "name a scenario file; only --generator goes without one")
    if scenario is not None:
        _plan(scenario, target, show_connect, show_spans)
    if show_generator:
        _generator(after_plan=scenario is not None)


def _plan(path: str, target: str | None, show_connect: bool, show_spans: bool) -> None:
    from harness.report import connect, plan_text
    from harness.scenario import load_scenario, plan

    loaded = load_scenario(path, overrides_of({"target": target}))
    click.echo(plan_text.render(loaded, plan(loaded)))
    if show_connect:
        click.echo("\n" + connect.render(loaded.spans))
    if show_spans:
        _spans(loaded)


def _spans(scenario: Scenario) -> None:
    from harness.chunks import schema_of
    from harness.interrupt import Interrupt
    from harness.model import Span
    from harness.report import spans_text
    from harness.run import dry_request

    with Interrupt() as interrupt:
        outcome = dry_request(scenario, interrupt)
    spans = outcome.spans if outcome.spans is not None else schema_of(Span).empty_table()
    click.echo("\n" + spans_text.render(outcome.ledger, spans, outcome.summary, scenario.spans))
    if outcome.summary.counts.ok == 0:
        raise NothingMeasured("no request was answered as expected", "compare the scenario with what the API takes")


def _generator(after_plan: bool) -> None:
    from harness import generator
    from harness.interrupt import Interrupt
    from harness.report import generator_text

    with Interrupt() as interrupt:
        found = generator.calibrate(generator.LENGTHS, interrupt, say)
    click.echo(("\n" if after_plan else "") + generator_text.render(found))
