"""`harness` and `python -m harness`: the command line, where the tester's packages are installed."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

NEEDED = ("click", "yaml", "jmespath", "pydantic", "pandas", "pyarrow", "locust", "rich", "uvicorn")
INTERRUPTED = 4  # ExitCode.INTERRUPTED, which is not imported yet when it may be needed


def main() -> None:
    """The base install is for services: it has no command line, and says so."""
    _open_standard_streams()
    try:
        _run()
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(INTERRUPTED)


def _run() -> None:
    if any(find_spec(name) is None for name in NEEDED):
        sys.stderr.write("error: the `harness` command needs the tester's packages\n")
        sys.stderr.write("hint: pip install 'ml-harness[run]'\n")
        sys.exit(2)
    from harness.cli import main as run

    run()


def _open_standard_streams() -> None:
    """What the caller closed (`<&-`, `>&-`) is /dev/null: else the next file that is opened would take its number."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened == descriptor:
                os.set_inheritable(opened, True)
            else:
                os.dup2(opened, descriptor)
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    main()
