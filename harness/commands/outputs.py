"""Flags -> where the verdict goes besides the terminal: JSON, JUnit, Markdown, annotations, a job summary."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from harness.commands.common import _colour, _width, say
from harness.errors import ExitCode, HarnessError, UsageError

if TYPE_CHECKING:
    from harness.comparison import BaselineFindings
    from harness.report.cases import Findings

Command = Callable[..., Any]
STDOUT = Path("-")

_OPTIONS = (
    click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else."),
    click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Also write JUnit XML; - is stdout."),
    click.option(
        "--markdown", type=click.Path(path_type=Path), metavar="FILE",
        help="Also write a short Markdown summary, for a comment; - is stdout.",
    ),
    click.option(
        "--annotations", type=click.Choice(["auto", "on", "off"]), default="auto", show_default=True,
        help="Annotations and job summary of GitHub Actions; auto: when run there.",
    ),
    click.option("--quiet", "-q", is_flag=True, help="No progress; only the verdict, on one line."),
)  # fmt: skip


class Text(Protocol):
    """The findings as text of at most `width` columns; escape codes only with `colour`."""

    def __call__(self, *, width: int, colour: bool) -> str: ...


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the verdict goes."""

    as_json: bool = False
    junit: Path | None = None
    markdown: Path | None = None
    annotate: bool = False
    job_summary: Path | None = None  # appended to
    quiet: bool = False

    @property
    def silent(self) -> bool:
        """Whether nobody wants to see progress."""
        return self.quiet or self.on_stdout is not None

    @property
    def on_stdout(self) -> str | None:
        """The flag that has stdout for itself, if one has."""
        if self.as_json:
            return "--json"
        return next((f for f, path in (("--junit", self.junit), ("--markdown", self.markdown)) if path == STDOUT), None)


def output_options(command: Command) -> Command:
    """Adds the flags that `outputs_of` reads: --json, --junit, --markdown, --annotations, --quiet."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def outputs_of(options: dict[str, Any]) -> Outputs:
    """Takes its flags out of `options`. Raises UsageError for those that do not go together."""
    given = {name: options.pop(name) for name in ("as_json", "junit", "markdown", "annotations", "quiet")}
    wanted = given.pop("annotations")
    annotate = wanted == "on" or (wanted == "auto" and os.environ.get("GITHUB_ACTIONS") == "true")
    summary = os.environ.get("GITHUB_STEP_SUMMARY", "") if wanted != "off" else ""
    outputs = Outputs(**given, annotate=annotate, job_summary=Path(summary) if summary else None)
    _check(outputs)
    return outputs


def _check(outputs: Outputs) -> None:
    """What would only fail after the measurement is refused before it."""
    files = (("--junit", outputs.junit), ("--markdown", outputs.markdown))
    at_stdout = [flag for flag, path in files if path == STDOUT]
    if outputs.as_json:
        at_stdout.insert(0, "--json")
    if len(at_stdout) > 1:
        raise UsageError(f"{' and '.join(at_stdout)} both want stdout", "give one of them a file")
    for flag, path in files:
        if path is not None and os.path.isdir(path):
            raise UsageError(f"{flag} {str(path)!r} is a folder", f"name a file, e.g. {flag} {path / 'verdict'}")
        if path is not None and path != STDOUT:
            _check_place(flag, path)
    if outputs.junit is not None and outputs.junit == outputs.markdown and not at_stdout:
        raise UsageError("--junit and --markdown name the same file", "give each a file of its own")


def _check_place(flag: str, path: Path) -> None:
    """Folders that are missing will be made; what stands in their way, or is not ours to write to, is told now."""
    whole = path.absolute()
    there = next(each for each in (whole, *whole.parents) if os.path.exists(each))
    if there != whole and not there.is_dir():
        wrong = "is no folder"
    elif not os.access(there, os.W_OK):
        wrong = "cannot be written to"
    else:
        return
    raise UsageError(f"{flag} {str(path)!r}: {str(there)!r} {wrong}", "name another file")


def publish(
    found: Findings,
    outputs: Outputs,
    text: Text | None = None,
    *,
    baseline: BaselineFindings | None = None,
    notes: Sequence[str] = (),
    code: int | None = None,
) -> int:
    """Write and print what was found; the exit code, which is `code` where the caller knows better than the verdict.

    `text` renders it for the terminal (a Summary has its own), `notes` are lines below that, `baseline` is judged
    beside a Summary. A file that cannot be written turns a pass into exit code 2, and no other verdict.
    """
    from harness.report import annotations, job_summary, junit

    all_found = [found] if baseline is None else [found, baseline]
    unwritten = _write_files(outputs, lambda: junit.render(*all_found), lambda: job_summary.render(*all_found))
    if outputs.annotate:
        _say_all(annotations.lines(*all_found))
    if outputs.on_stdout is None:
        _show(found, baseline, outputs, text, notes)
    elif outputs.as_json:
        click.echo(_as_json(found, baseline), nl=False)
    code = exit_code_of(found) if code is None else code
    return ExitCode.USAGE if unwritten and code == ExitCode.PASSED else code


@contextmanager
def reporting(outputs: Outputs, name: str) -> Iterator[None]:
    """A HarnessError in here is also told to the build server, before it goes on: no file of an earlier run, and no
    missing one, is taken for a pass. `name` is the scenario, as it is called in the file.
    """
    try:
        yield
    except HarnessError as error:
        from harness.report import annotations, job_summary, junit

        kept, at_ns = error, time.time_ns()
        _write_files(
            outputs, lambda: junit.render_refusal(kept, name, at_ns), lambda: job_summary.render_refusal(kept, name)
        )
        if outputs.annotate:
            _say_all(annotations.refusal(error, name))
        raise


def exit_code_of(found: Findings) -> ExitCode:
    """What the verdict means to a shell."""
    from harness.findings import Verdict
    from harness.report.cases import told

    if getattr(found, "interrupted", False):
        return ExitCode.INTERRUPTED
    codes = {Verdict.PASSED: ExitCode.PASSED, Verdict.FAILED: ExitCode.GATE_FAILED}
    return codes.get(told(found).verdict, ExitCode.NOT_MEASURED)


def _show(
    found: Findings, baseline: BaselineFindings | None, outputs: Outputs, text: Text | None, notes: Sequence[str]
) -> None:
    from harness.findings import Summary
    from harness.report import console
    from harness.report.cases import one_line

    if outputs.quiet:
        click.echo(one_line(found, baseline))
        return
    if text is None and isinstance(found, Summary):
        click.echo(console.render(found, width=_width(), colour=_colour()).rstrip("\n"))
    elif text is not None:
        click.echo(text(width=_width(), colour=_colour()).rstrip("\n"))
    for note in notes:
        click.echo(note)


def _as_json(found: Findings, baseline: BaselineFindings | None) -> str:
    from harness.comparison import BaselineFindings
    from harness.findings import Summary
    from harness.report import json_findings, json_report

    if not isinstance(found, Summary):
        return json_findings.render_findings(found)
    made = json_report.as_object(found)
    if baseline is not None:
        made["baseline"] = json_findings.plain(BaselineFindings, baseline)
    return json_findings.as_text(made)


# --- files -----------------------------------------------------------------------------------------------------------


def _write_files(outputs: Outputs, junit: Callable[[], str], markdown: Callable[[], str]) -> bool:
    """Whether a file that was asked for is missing. The job summary is an extra: it only costs a warning."""
    unwritten = False
    for path, render in ((outputs.junit, junit), (outputs.markdown, markdown)):
        if path == STDOUT:
            click.echo(render(), nl=False)
        elif path is not None:
            reason = _failure(lambda p=path, r=render: _write(p, r()))  # type: ignore[misc]
            if reason is not None:
                say(f"error: {path} cannot be written: {reason}")
                unwritten = True
    summary = outputs.job_summary
    if summary is not None:
        reason = _failure(lambda: _append(summary, markdown()))
        if reason is not None:
            say(f"warning: the job summary cannot be written: {reason}")
    return unwritten


def _failure(write: Callable[[], None]) -> str | None:
    try:
        write()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _append(path: Path, text: str) -> None:
    """Other steps of the job write there, too."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def _say_all(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)
