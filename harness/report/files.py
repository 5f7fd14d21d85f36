"""Which report goes into which file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from harness.errors import UsageError, nearest
from harness.findings import Summary
from harness.report import html, json_report, junit, markdown
from harness.run_folder import RunFolder
from harness.views import Views

FORMATS = {"html": "report.html", "md": "report.md", "junit": "junit.xml", "json": "summary.json"}
"""Format -> its file name in a run folder."""


def check_format(wanted: str) -> None:
    """Raises UsageError for an unknown format."""
    if wanted not in FORMATS:
        raise UsageError(f"'{wanted}' is no report format", nearest(wanted, FORMATS))


def render_as(wanted: str, summary: Summary, ledger: pd.DataFrame | None, views: Views = html.NO_VIEWS) -> str:
    """One report as text. `views` is what only the page shows. Raises UsageError for an unknown format."""
    if wanted == "html":
        return html.render(summary, ledger, views)
    if wanted == "md":
        return markdown.render(summary)
    if wanted == "junit":
        return junit.render(summary)
    check_format(wanted)
    return json_report.render(summary)


def write_reports(
    summary: Summary, ledger: pd.DataFrame | None, formats: Sequence[str], output: Path, views: Views = html.NO_VIEWS
) -> tuple[Path, ...]:
    """Write the reports below `output`, or as `output` itself when it is one format and no folder."""
    as_file = len(formats) == 1 and not output.is_dir()
    texts = [(wanted, render_as(wanted, summary, ledger, views)) for wanted in formats]
    folder = RunFolder(output.parent if as_file else output)
    return tuple(folder.write_text(output.name if as_file else FORMATS[wanted], text) for wanted, text in texts)
