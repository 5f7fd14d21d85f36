"""`harness report`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.common import print_summary, shown
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.run import Outcome
    from harness.views import Views

_COMPARISONS = ("ab.json", "calibration.json")


@click.command("report", epilog="\b\nExample:\n  harness report runs/20261121T101500Z-read-receipts --format html,md")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "formats", metavar="F,F", help="Files to write: any of html, md, junit, json.")
@click.option("-o", "output", type=click.Path(path_type=Path), help="A file (one format), a folder, or - for stdout.")
@click.option("--baseline", metavar="RUN", type=click.Path(path_type=Path), help="Draw its percentiles beside (html).")
def command(run: Path, formats: str | None, output: Path | None, baseline: Path | None) -> None:
    """Render a stored RUN again (also one that was killed before it could report), or a stored comparison."""
    if (pairs := next((run / name for name in _COMPARISONS if (run / name).is_file()), None)) is not None:
        if baseline is not None:
            raise UsageError("a comparison has no --baseline", "its two sides are compared already")
        _comparison(pairs, formats, output)
        return

    from harness.run_folder import RunFolder

    folder = RunFolder.open(run)

    from harness.report.files import check_format, render_as, write_reports
    from harness.run import reopen

    wanted = [name.strip() for name in (formats or "html").split(",") if name.strip()]
    for name in wanted:
        check_format(name)
    if baseline is not None and "html" not in wanted:
        raise UsageError("--baseline draws a curve, and only html has one", "add --format html")
    outcome = reopen(folder)
    views = _views(outcome, baseline)
    if formats is None and output is None and baseline is None:
        print_summary(outcome)
        return
    if output == Path("-"):
        if len(wanted) != 1:
            raise UsageError(f"stdout takes one format, not {len(wanted)}", "name one: --format md -o -")
        click.echo(render_as(wanted[0], outcome.summary, outcome.ledger, views), nl=False)
        return
    for path in write_reports(outcome.summary, outcome.ledger, wanted, output or outcome.folder.path, views):
        click.echo(f"wrote {shown(path)}")


def _views(outcome: Outcome, baseline: Path | None) -> Views:
    """What the page shows beside the summary, with the percentiles of another run. Raises RunFolderError."""
    if baseline is None:
        return outcome.views

    from harness.errors import RunFolderError
    from harness.run_folder import RunFolder
    from harness.viewing import baseline_curve

    curve = baseline_curve(RunFolder.open(baseline))
    if curve is None:
        hint = "name a run whose requests were answered, and that was concluded (`harness report`)"
        raise RunFolderError(f"{baseline} has no latencies to draw beside these", hint)
    return replace(outcome.views, baseline=curve)


def _comparison(stored: Path, formats: str | None, output: Path | None) -> None:
    """What `harness ab` or `harness calibrate` found, for the terminal or in one format."""
    from harness.commands.common import terminal
    from harness.comparison import SCHEMA_VERSION, AbFindings, CalibrationFindings
    from harness.errors import RunFolderError
    from harness.report import ab_text, calibration_text, job_summary, json_findings, junit

    try:
        written = stored.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{stored} cannot be read: {error}", "restore it from a copy") from error
    found: AbFindings | CalibrationFindings
    if stored.name == "ab.json":
        found = json_findings.parse_findings(AbFindings, written)
        text = ab_text.as_text(found)
    else:
        found = json_findings.parse_findings(CalibrationFindings, written)
        text = calibration_text.as_text(found)
    if found.schema_version != SCHEMA_VERSION:
        message = f"{stored} has schema version {found.schema_version}, this harness reads {SCHEMA_VERSION}"
        raise RunFolderError(message, "render it with the version that wrote it, or measure again")
    if formats is None and output is None:
        click.echo(text(**terminal()).rstrip("\n"))
        return
    wanted = (formats or "").strip()
    renders: dict[str, Callable[..., str]] = {
        "md": job_summary.render,
        "junit": junit.render,
        "json": json_findings.render_findings,
    }
    if wanted not in renders:
        raise UsageError(f"a comparison has no format '{wanted}'", f"give one of {', '.join(renders)}")
    if output is None:
        raise UsageError("where to?", f"harness report {stored.parent} --format {wanted} -o FILE, or - for stdout")
    rendered = renders[wanted](found)
    if output == Path("-"):
        click.echo(rendered, nl=False)
        return
    try:
        output.write_text(rendered, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunFolderError(f"{output} cannot be written: {reason}", "choose another place with -o") from error
    click.echo(f"wrote {shown(output)}")
