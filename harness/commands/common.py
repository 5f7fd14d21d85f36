"""What commands share: the summary on the console and the exit code of a run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

# The commands import what they need themselves: pandas and the chart library would make `--help` slow.
if TYPE_CHECKING:
    from harness.commands.outputs import Outputs
    from harness.run import Outcome


def finish(outcome: Outcome, outputs: Outputs) -> int:
    """Print a finished run; its exit code."""
    from harness.commands.outputs import publish

    paths = (outcome.folder.path / name for name in ("report.html", "report.md"))
    code = publish(outcome.summary, outputs, notes=[f"{p.name:<12} {shown(p)}" for p in paths if p.exists()])
    for sentence in outcome.unwritten:
        say(f"error: {sentence}")
    if outcome.unwritten:
        say("hint: free some disk space, then `harness report` writes the reports again")
    return code


def print_summary(outcome: Outcome) -> None:
    """The summary, as wide and as coloured as the terminal allows."""
    from harness.report import console

    click.echo(console.render(outcome.summary, width=_width(), colour=_colour()))


def say(line: str) -> None:
    """A line for the person who watches: stdout is for results."""
    click.echo(line, err=True)


def silent(line: str) -> None:
    """Instead of `say`, when nobody wants to hear it."""
    del line


def shown(path: Path) -> str:
    """A path as short as it can be typed from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def terminal() -> dict[str, Any]:
    """How wide and coloured the terminal allows a text to be, for those that render one."""
    return {"width": _width(), "colour": _colour()}


def _width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 120)


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
