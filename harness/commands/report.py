"""`harness report`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.common import print_summary, shown
from harness.errors import UsageError


@click.command("report", epilog="\b\nExample:\n  harness report runs/20261121T101500Z-read-receipts --format html,md")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "formats", metavar="F,F", help="Files to write: any of html, md, junit, json.")
@click.option("-o", "output", type=click.Path(path_type=Path), help="A file (one format), a folder, or - for stdout.")
def command(run: Path, formats: str | None, output: Path | None) -> None:
    """Render a stored RUN again (also one that was killed before it could report)."""
    from harness.run_folder import RunFolder

    folder = RunFolder.open(run)

    from harness.report.files import check_format, render_as, write_reports
    from harness.run import reopen

    wanted = [name.strip() for name in (formats or "html").split(",") if name.strip()]
    for name in wanted:
        check_format(name)
    outcome = reopen(folder)
    if formats is None and output is None:
        print_summary(outcome)
        return
    if output == Path("-"):
        if len(wanted) != 1:
            raise UsageError(f"stdout takes one format, not {len(wanted)}", "name one: --format md -o -")
        click.echo(render_as(wanted[0], outcome.summary, outcome.ledger), nl=False)
        return
    for path in write_reports(outcome.summary, outcome.ledger, wanted, output or outcome.folder.path):
        click.echo(f"wrote {shown(path)}")
