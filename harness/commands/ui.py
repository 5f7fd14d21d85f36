"""`harness ui`."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import click

from harness.commands.common import say, shown
from harness.errors import UsageError

EXAMPLES = """
\b
Examples:
  harness ui                                         the runs in runs/, at http://127.0.0.1:8900
  harness ui ci-runs --scenarios load-tests --open
  harness ui --trace-link 'http://127.0.0.1:16686/trace/{trace_id}'
  MLHARNESS_UI_TOKEN=... harness ui --host 0.0.0.0   for others too: they have to know the token
\b
From elsewhere without opening it to others: ssh -L 8900:127.0.0.1:8900 HOST
"""


@click.command("ui", epilog=EXAMPLES)
@click.argument("given", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option("--port", type=click.IntRange(0, 65535), default=8900, show_default=True, help="0: any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--token", envvar="MLHARNESS_UI_TOKEN", show_envvar=True,
    help="Everyone who opens it is asked for this. Needed where others can reach it.",
)  # fmt: skip
@click.option("--insecure", is_flag=True, help="Let others in without a token: they can start load tests from here.")
@click.option("--name", "names", metavar="HOST", multiple=True, help="Another name it is reached by. Repeatable.")
@click.option(
    "--scenarios", type=click.Path(path_type=Path), metavar="DIR",
    help="Scenarios that may be started from a page lie below this folder.  [default: scenarios, else .]",
)  # fmt: skip
@click.option("--trace-link", metavar="URL", help="Where a trace is shown, with {trace_id} in it.")
@click.option("--open/--no-open", "opens", default=False, help="Also open it in the browser.")
@click.option("--verbose", is_flag=True, help="Print every request.")
def command(
    given: Path | None,
    port: int,
    host: str,
    token: str | None,
    insecure: bool,
    names: tuple[str, ...],
    scenarios: Path | None,
    trace_link: str | None,
    opens: bool,
    verbose: bool,
) -> None:
    """The dashboard: look at the runs in DIR (default: runs), watch one, start one, compare two."""
    from harness.dashboard import server
    from harness.dashboard.memory import give_back_at_once

    runs = _runs(given)
    _check(runs, host, token, insecure, trace_link, server.is_loopback(host), server.LEAST_TOKEN)
    _check_names(names)
    below = _scenarios(scenarios)
    give_back_at_once()
    with server.listen(host, port) as listening:
        from harness.dashboard.app import create_app
        from harness.dashboard.settings import Settings
        from harness.dashboard.tokens import new_token

        settings = Settings(
            runs=runs,
            scenarios=below,
            token=token or new_token(),
            guarded=token is not None,
            hosts=server.names_of(host, names),
            trace_link=trace_link,
        )
        address = server.address_of(listening, settings)

        def ready() -> None:
            click.echo(f"the dashboard over {shown(runs)}: {address}")
            if not runs.is_dir():
                say("there are no runs yet: `harness demo` makes one")
            if insecure and not server.is_loopback(host):
                say("warning: whoever can reach this port can see the runs and start load tests from this machine")
            say("Ctrl-C ends it")
            if opens:
                click.launch(address)

        server.serve(create_app(settings), listening, verbose=verbose, ready=ready)


def _runs(given: Path | None) -> Path:
    """The folder of the runs. Only the one that nobody named may be missing: the first run makes it."""
    if given is None:
        return Path("runs")
    if not given.exists():
        try:
            beside = {each.name: each for each in given.parent.iterdir() if each.is_dir()}
        except OSError:
            beside = {}
        close = difflib.get_close_matches(given.name, beside, 1)
        meant = f"did you mean {beside[close[0]]}? " if close else ""
        raise UsageError(f"there is no folder {given}", f"{meant}`harness run SCENARIO --out {given}` makes it")
    return given


def _scenarios(given: Path | None) -> Path:
    if given is None:
        return Path("scenarios") if Path("scenarios").is_dir() else Path()
    if not given.is_dir():
        raise UsageError(f"{given} is no folder", "give the folder of your scenarios with --scenarios")
    return given


def _check_names(names: tuple[str, ...]) -> None:
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]", name):
            raise UsageError(f"'{name}' is no name of a host", "e.g. --name bench.example, without http:// and port")


def _check(
    runs: Path, host: str, token: str | None, insecure: bool, trace_link: str | None, loopback: bool, least: int
) -> None:
    if runs.exists() and not runs.is_dir():
        raise UsageError(f"{runs} is no folder", "name the folder that `harness run` writes to, e.g. runs/")
    if (runs / "run.json").is_file():
        raise UsageError(f"{runs} is a single run", f"name the folder that it lies in: harness ui {runs.parent}")
    if token is not None and insecure:
        raise UsageError("--token and --insecure exclude each other", "give one of them")
    if not loopback and token is None and not insecure:
        hint = "give a --token that everyone is asked for, or say --insecure"
        raise UsageError(f"others can reach {host or 'every address'} and start load tests from here", hint)
    if token is not None and (len(token) < least or not token.isascii() or not token.isprintable() or " " in token):
        raise UsageError("the token can be guessed", f"give at least {least} letters, digits or signs, without blanks")
    if trace_link is not None and (
        "{trace_id}" not in trace_link or not trace_link.startswith(("http://", "https://"))
    ):
        raise UsageError(f"'{trace_link}' is no link to a trace", "e.g. http://127.0.0.1:16686/trace/{trace_id}")
