"""`harness history`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.common import _colour, _width, shown
from harness.errors import UsageError

EXAMPLES = """
\b
Examples:
  harness history runs/
  harness history runs/ --scenario read-receipts --last 20
  harness history runs/ --json
"""


@click.command("history", epilog=EXAMPLES)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--scenario", metavar="NAME", help="Only the runs of this scenario.")
@click.option(
    "--last", type=click.IntRange(0), default=40, show_default=True, metavar="N",
    help="Show the newest N runs of each scenario, 0: all. Changes are looked for in all of them.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON: all runs.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Also write Markdown; - is stdout.")
def command(folder: Path, scenario: str | None, last: int, as_json: bool, markdown: Path | None) -> None:
    """The runs in DIR over time, scenario by scenario, and where their figures changed."""
    at_stdout = markdown == Path("-")
    if as_json and at_stdout:
        raise UsageError("--json and --markdown both want stdout", "give --markdown a file")

    from harness.history import histories
    from harness.report import history_text

    found = histories(folder, scenario)
    if as_json:
        from harness.report.json_findings import render_findings

        click.echo(render_findings(found), nl=False)
    elif not at_stdout:
        text = history_text.render(found.histories, found.unread, width=_width(), colour=_colour(), last=last)
        click.echo(text, nl=False)
    if markdown is not None:
        _write(history_text.markdown(found.histories, found.unread, last=last), markdown, quiet=as_json)


def _write(text: str, path: Path, quiet: bool) -> None:
    from harness.run_folder import RunFolder

    if path == Path("-"):
        click.echo(text, nl=False)
        return
    if path.is_dir():
        raise UsageError(f"--markdown '{path}' is a folder", "name a file, e.g. history.md")
    RunFolder(path.parent).write_text(path.name, text)
    if not quiet:
        click.echo(f"wrote {shown(path)}")
