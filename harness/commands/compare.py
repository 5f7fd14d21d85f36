"""`harness compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.common import _colour, _width, say, shown
from harness.errors import ExitCode, RunFolderError, UsageError

if TYPE_CHECKING:
    from harness.comparison import CompareFindings

EXAMPLES = """
\b
Examples:
  harness compare runs/20261121T101500Z-demo runs/20261121T113000Z-demo       stage by stage, B against A
  harness compare runs/main runs/branch                                       the newest run of each folder
  harness compare runs/A runs/B --markdown comparison.md                      for a pull request
  harness compare runs/A runs/B --json -o comparison.json

\b
One run a side knows nothing of how much runs vary: a gate is `harness ab`. Exit codes: 0 compared, 2 refused
(the runs are not alike, see --force) or unreadable, 3 one of them is invalid or has no request that was answered.
"""


@click.command("compare", epilog=EXAMPLES)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Also compare runs of other machines, loads, mixes or payloads.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Also write Markdown; - is stdout.")
@click.option("-o", "output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE, not to stdout.")
def command(a: Path, b: Path, force: bool, as_json: bool, markdown: Path | None, output: Path | None) -> int:
    """Two stored runs side by side, stage by stage: how B differs from A, and what that cannot show."""
    from harness import versus
    from harness.run_folder import RunFolder

    if as_json and markdown == _STDOUT and output in (None, _STDOUT):
        raise UsageError("stdout takes one format, not two", "write one of them to a file: --markdown comparison.md")
    for path in (markdown, output):
        _refuse_nowhere(path)
    folders = []
    for name, path in (("A", a), ("B", b)):
        folder = RunFolder.open(path)
        if folder.path != path:
            say(f"{name} is {shown(folder.path)}, the newest run in {shown(path)}")
        folders.append(folder)
    found = versus.compare(*folders)
    if not force:
        _refuse_unlike(found)

    from harness.report import compare_markdown, compare_text, json_findings

    if markdown is not None:
        _write(markdown, compare_markdown.render(found))
    if as_json:
        _write(output, json_findings.render_findings(found))
    elif markdown != _STDOUT or output is not None:
        width, colour = (_FILE_WIDTH, False) if output is not None else (_width(), _colour())
        _write(output, compare_text.render(found, width=width, colour=colour))
    return ExitCode.PASSED if versus.measured(found) else ExitCode.NOT_MEASURED


_STDOUT = Path("-")
_FILE_WIDTH = 120


def _refuse_unlike(found: CompareFindings) -> None:
    """With every reason: who has to run it again wants to know all of them."""
    from harness.report.text import visible

    reasons = [visible(difference.sentence, 400) for difference in found.differences if difference.matters]
    if reasons:
        message = f"{visible(found.a.run_id)} and {visible(found.b.run_id)} are not comparable: {'; '.join(reasons)}"
        raise UsageError(message, "compare runs of one machine, load and mix, or see the figures anyway with --force")


def _refuse_nowhere(path: Path | None) -> None:
    """Before two runs are read, which may take a minute."""
    if path is not None and path != _STDOUT and not path.parent.is_dir():
        raise UsageError(
            f"{path} cannot be written: {path.parent} is no folder", "name a file in a folder that is there"
        )


def _write(path: Path | None, text: str) -> None:
    if path is None or path == _STDOUT:
        click.echo(text, nl=False)
        return
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunFolderError(f"{path} cannot be written: {reason}", "name a file in a folder that is there") from error
    say(f"wrote {shown(path)}")
