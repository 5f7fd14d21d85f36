"""`harness check`."""

from __future__ import annotations

import click

from harness.commands.run import overrides_of
from harness.errors import NothingMeasured


@click.command("check", epilog="\b\nExample:\n  harness check scenarios/read-receipts.yaml --spans")
@click.argument("scenario")
@click.option("--target", metavar="URL", help="Where the API is; overrides the scenario.")
@click.option("--connect", "show_connect", is_flag=True, help="Show how a service sends its spans here.")
@click.option("--spans", "show_spans", is_flag=True, help="Send one request of each kind; show what came back.")
def command(scenario: str, target: str | None, show_connect: bool, show_spans: bool) -> None:
    """Validate SCENARIO and show the plan: arrivals, payloads, SLOs, what each number needs."""
    from harness.report import connect, plan_text
    from harness.scenario import load_scenario, plan

    loaded = load_scenario(scenario, overrides_of({"target": target}))
    click.echo(plan_text.render(loaded, plan(loaded)))
    if show_connect:
        click.echo("\n" + connect.render(loaded.spans.listen))
    if show_spans:
        from harness.interrupt import Interrupt
        from harness.report import spans_text
        from harness.run import dry_request

        with Interrupt() as interrupt:
            outcome = dry_request(loaded, interrupt)
        click.echo("\n" + spans_text.render(outcome.ledger, outcome.spans, outcome.summary))
        if outcome.summary.counts.ok == 0:
            raise NothingMeasured("no request was answered as expected", "compare the scenario with what the API takes")
