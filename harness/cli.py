"""The command line: parses, prints, exits. Nobody imports this."""

from __future__ import annotations

import errno
import io
import os
import select
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from harness import __version__
from harness.errors import ExitCode, HarnessError, NothingMeasured, UsageError

# The commands import what they need themselves: pandas and the chart library would make `--help` slow.
if TYPE_CHECKING:
    from harness.run import Outcome
    from harness.scenario import Overrides

EXAMPLES = """
\b
Examples:
  harness demo                                       a real service, a real run, a report: one minute
  harness check scenarios/read-receipts.yaml         what would be sent, and what each number needs
  harness run scenarios/read-receipts.yaml           stress, split, judge, report
  harness run flow.yaml --target http://host:8000 --rate 20/s --duration 2min
  harness report runs/20261121T101500Z-read-receipts --format html,md

\b
Exit codes: 0 passed (or no SLO), 1 gate failed, 2 bad usage or scenario,
            3 invalid or not enough data, 4 interrupted.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Load-test an ML API and see which stage of each request takes the time."""


# --- run ---------------------------------------------------------------------------------------------------


@cli.command("run", epilog="\b\nExample:\n  harness run scenarios/read-receipts.yaml --rate 8/s --duration 60s")
@click.argument("scenario")
@click.option("--target", metavar="URL", help="Where the API is; overrides the scenario.")
@click.option("--rate", metavar="R", help="Arrivals per second or minute, e.g. 20/s; replaces the scenario's steps.")
@click.option("--duration", metavar="D", help="Measured time per step, e.g. 60s.")
@click.option("--warmup", metavar="D", help="Time before the measured part, e.g. 10s.")
@click.option("--seed", metavar="N", help="Seed of arrivals, request mix and payloads.")
@click.option("--slo", metavar="EXPR", multiple=True, help="One more limit, e.g. 'p95(latency) < 200ms'. Repeatable.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Parent folder.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json on stdout and nothing else.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def run_command(scenario: str, out: Path, as_json: bool, quiet: bool, **overrides: object) -> int:
    """Stress the API as SCENARIO says, split every request, judge, report."""
    from harness.scenario import load_scenario, plan

    loaded = load_scenario(scenario, _overrides(overrides))  # before the heavy imports: mistakes are answered at once

    from harness.interrupt import Interrupt
    from harness.report import live, plan_text
    from harness.run import execute

    say = _silent if as_json or quiet else _say
    say(plan_text.headline(loaded, plan(loaded)))
    with Interrupt() as interrupt, live.progress(quiet=as_json or quiet) as show:
        outcome = execute(loaded, out, show, interrupt)
    return _finish(outcome, as_json)


def _overrides(options: Mapping[str, object]) -> Overrides:
    """Flags as the scenario reader takes them: text, validated there with the same rules as the file."""
    from harness.scenario import Overrides

    slo = options.get("slo")
    texts = {name: str(value) for name, value in options.items() if name != "slo" and value is not None}
    return Overrides(**texts, slo=tuple(slo) if isinstance(slo, tuple) else ())


def _finish(outcome: Outcome, as_json: bool) -> int:
    if as_json:
        from harness.report import json_report

        click.echo(json_report.render(outcome.summary), nl=False)
    else:
        _print_summary(outcome)
        for name in ("report.html", "report.md"):
            if (outcome.folder.path / name).exists():
                click.echo(f"{name:<12} {_shown(outcome.folder.path / name)}")
    return _exit_code(outcome)


def _print_summary(outcome: Outcome) -> None:
    from harness.report import console

    click.echo(console.render(outcome.summary, width=_width(), colour=_colour()))


def _exit_code(outcome: Outcome) -> int:
    if outcome.summary.interrupted:
        return ExitCode.INTERRUPTED
    return {"passed": ExitCode.PASSED, "failed": ExitCode.GATE_FAILED}.get(
        outcome.summary.verdict, ExitCode.NOT_MEASURED
    )


# --- check -------------------------------------------------------------------------------------------------


@cli.command("check", epilog="\b\nExample:\n  harness check scenarios/read-receipts.yaml --spans")
@click.argument("scenario")
@click.option("--target", metavar="URL", help="Where the API is; overrides the scenario.")
@click.option("--connect", "show_connect", is_flag=True, help="Show how a service sends its spans here.")
@click.option("--spans", "show_spans", is_flag=True, help="Send one request of each kind; show what came back.")
def check_command(scenario: str, target: str | None, show_connect: bool, show_spans: bool) -> None:
    """Validate SCENARIO and show the plan: arrivals, payloads, SLOs, what each number needs."""
    from harness.report import connect, plan_text
    from harness.scenario import load_scenario, plan

    loaded = load_scenario(scenario, _overrides({"target": target}))
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


# --- report ------------------------------------------------------------------------------------------------


@cli.command("report", epilog="\b\nExample:\n  harness report runs/20261121T101500Z-read-receipts --format html,md")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "formats", metavar="F,F", help="Files to write: any of html, md, junit, json.")
@click.option("-o", "output", type=click.Path(path_type=Path), help="A file (one format), a folder, or - for stdout.")
def report_command(run: Path, formats: str | None, output: Path | None) -> None:
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
        _print_summary(outcome)
        return
    if output == Path("-"):
        if len(wanted) != 1:
            raise UsageError(f"stdout takes one format, not {len(wanted)}", "name one: --format md -o -")
        click.echo(render_as(wanted[0], outcome.summary, outcome.ledger), nl=False)
        return
    for path in write_reports(outcome.summary, outcome.ledger, wanted, output or outcome.folder.path):
        click.echo(f"wrote {_shown(path)}")


# --- demo --------------------------------------------------------------------------------------------------


@cli.command("demo", epilog="\b\nExample:\n  harness demo --out /tmp/runs")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Parent folder.")
def demo_command(out: Path) -> int:
    """Start the sample service, stress it for half a minute, report. Takes under a minute."""
    from harness.demo import run_demo
    from harness.interrupt import Interrupt
    from harness.report import live

    with Interrupt() as interrupt, live.progress() as show:
        outcome = run_demo(out, show, interrupt, _say)
    return _finish(outcome, as_json=False)


# --- the edge ----------------------------------------------------------------------------------------------


def _say(line: str) -> None:
    click.echo(line, err=True)


def _silent(line: str) -> None:
    del line


def _shown(path: Path) -> str:
    """A path as short as it can be typed from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 120)


def _colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _fail(message: str, hint: str | None, exit_code: int) -> int:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    return exit_code


class _Descriptor(io.FileIO):
    """stdout or stderr whose writes always succeed; why one did not is kept in `failure`.

    Where the output goes says nothing about the run: a full disk or a reader that left must not change the exit code,
    wherever the text came from (the commands, `--help`, the progress bar, the interpreter's flush at its end).
    """

    failure: OSError | None = None

    def write(self, chunk: Any, /) -> int:
        while self.failure is None:
            try:
                written = super().write(chunk)
            except OSError as error:
                self.failure = error
            else:
                if written is not None:
                    return written
                select.select([], [self], [])  # a pipe that its other users made non-blocking, and full
        return memoryview(chunk).nbytes


def _unfailing(stream: TextIO) -> tuple[TextIO, _Descriptor]:
    """The stream again, such that neither its device nor a character it has no code for can raise."""
    stream.flush()
    device = _Descriptor(stream.fileno(), "w", closefd=False)
    text = io.TextIOWrapper(
        io.BufferedWriter(device),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=bool(stream.line_buffering),
    )
    return text, device


def _command() -> int:
    """The only place that turns errors into exit codes."""
    try:
        code = cli.main(prog_name="harness", standalone_mode=False)
        return code if isinstance(code, int) else ExitCode.PASSED
    except HarnessError as error:
        return _fail(error.message, error.hint, error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "harness"
        return _fail(error.format_message(), f"see '{command} --help'", ExitCode.USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), None, ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", None, ExitCode.INTERRUPTED)


def main() -> None:
    """The entry point."""
    sys.stdout, device = _unfailing(sys.stdout)
    sys.stderr, _ = _unfailing(sys.stderr)
    code = _command()
    sys.stdout.flush()
    if device.failure is not None and device.failure.errno != errno.EPIPE:
        reason = (device.failure.strerror or str(device.failure)).lower()
        written = _fail(f"the output cannot be written: {reason}", None, ExitCode.USAGE)
        code = code or written
    sys.exit(code)
