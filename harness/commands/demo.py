"""`harness demo`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.common import finish, say
from harness.commands.outputs import Outputs


@click.command("demo", epilog="\b\nExample:\n  harness demo --out /tmp/runs")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Parent folder.")
def command(out: Path) -> int:
    """Start the sample service, stress it for half a minute, report. Takes under a minute."""
    from harness.demo import run_demo
    from harness.interrupt import Interrupt
    from harness.report import live

    with Interrupt() as interrupt, live.progress() as show:
        outcome = run_demo(out, show, interrupt, say)
    return finish(outcome, Outputs())
