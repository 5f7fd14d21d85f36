"""`harness worker`."""

from __future__ import annotations

import os
import sys

import click

from harness.commands.crew import TOKEN_VARIABLE, address_of, on_loopback, token_of
from harness.errors import UsageError


@click.command("worker", epilog="\b\nExample:\n  harness worker --master loadgen-1.internal --token $TOKEN")
@click.option("--master", metavar="HOST[:PORT]", required=True, help="Where `harness run --master` listens.")
@click.option("--token", metavar="T", help=f"What the master asks for; better in {TOKEN_VARIABLE}.")
@click.option("--insecure", is_flag=True, help="Run whatever a master without a token sends, from another machine too.")
def command(master: str, token: str | None, insecure: bool) -> None:
    """Send a share of the load of a run that another machine leads.

    It connects to the master (for up to a minute), gets the scenario and the files this machine lacks, begins when
    all workers are ready, and ends with the run; Ctrl-C leaves it early. A worker runs code that the master sends:
    join only a master you trust, and give both a token. The link is not encrypted: use a VPN or an ssh tunnel.
    """
    host, port = address_of(master, "--master")
    if port == 0:
        raise UsageError("--master has port 0", "write the port that the master says it listens on")
    known = token_of(token)
    if not known and not insecure and not on_loopback(host):
        raise UsageError(
            f"whoever answers at {host} could have this machine run its code",
            f"add --token T (or {TOKEN_VARIABLE}), the same as the master's; or --insecure",
        )
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    arguments = [sys.executable, "-m", "harness.load.worker", "--connect", at]
    environ = {**os.environ, TOKEN_VARIABLE: known}
    os.execve(sys.executable, arguments, environ)  # noqa: S606 - our own interpreter and module
