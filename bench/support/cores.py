"""Generator on one core, server on another; short or long runs."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence

_USABLE = sorted(os.sched_getaffinity(0))
GENERATOR, SERVER = _USABLE[0], _USABLE[-1]
FULL = os.environ.get("FULL", "") not in ("", "0")


def pinned(command: Sequence[str], core: int) -> list[str]:
    """The command, bound to one core together with all that it starts."""
    return ["taskset", "-c", str(core), *command] if shutil.which("taskset") else list(command)


def pin(pid: int, core: int) -> None:
    """Bind a running process to one core."""
    os.sched_setaffinity(pid, {core})


def headline() -> str:
    """Make this process ready to measure; where generator and server run, and what else goes on."""
    os.sched_setaffinity(0, {SERVER})  # what the bench itself does must not disturb the generator
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # the servers are stopped, too
    apart = f"generator on core {GENERATOR}, server on core {SERVER}"
    if GENERATOR == SERVER:
        apart = "ONE CORE for generator and server: the ratios say little"
    return f"{apart}; load average {os.getloadavg()[0]:.2f}"


def options(doc: str | None, rounds: tuple[int, int], seconds: tuple[float, float]) -> argparse.Namespace:
    """`--rounds` and `--seconds`; each default is (short, FULL=1)."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds[FULL], help="interleaved rounds; medians are shown")
    parser.add_argument("--seconds", type=float, default=seconds[FULL], help="length of one measurement")
    return parser.parse_args()


def stop(child: subprocess.Popen[bytes], within_s: float = 5.0) -> None:
    """End a child that this bench started, and wait for it."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(within_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
