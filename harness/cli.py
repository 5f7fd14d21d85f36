"""The command line: parses, prints, exits. Nobody imports this."""

from __future__ import annotations

import errno
import io
import select
import sys
from typing import Any, TextIO

import click

from harness import __version__
from harness.commands import (
    ab,
    calibrate,
    check,
    compare,
    demo,
    export,
    gate,
    history,
    init,
    report,
    run,
    ui,
    whatif,
    worker,
)
from harness.errors import ExitCode, HarnessError

EXAMPLES = """
\b
Examples:
  harness demo                                       a real service, a real run, a report: one minute
  harness init http://127.0.0.1:8000                 a first scenario, from the service's openapi.json
  harness check scenarios/read-receipts.yaml         what would be sent, and what each number needs
  harness run scenarios/read-receipts.yaml           stress, split, judge, report
  harness run flow.yaml --target http://host:8000 --rate 20/s --duration 2min
  harness run locustfile.py --target http://host:8000 --users 16
  harness report runs/20261121T101500Z-read-receipts --format html,md
  harness gate runs/20261121T101500Z-read-receipts --slo 'p95(latency) < 200ms' --junit junit.xml
  harness ab scenario.yaml --a http://old:8000 --b http://new:8000
  harness compare runs/20261121T101500Z-read-receipts runs/20261122T101500Z-read-receipts
  harness whatif runs/20261121T101500Z-read-receipts --stage inference=0.8
  harness ui                                         the dashboard over runs/
  harness export runs/20261121T101500Z-read-receipts --format chrome,speedscope

\b
Exit codes: 0 passed (or no SLO), 1 gate failed, 2 bad usage or scenario,
            3 invalid or not enough data, 4 interrupted.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Load-test an ML API and see which stage of each request takes the time."""


for _module in (run, check, init, report, gate, compare, ab, calibrate, history, ui, export, whatif, demo, worker):
    cli.add_command(_module.command)


# --- the edge ----------------------------------------------------------------------------------------------


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
