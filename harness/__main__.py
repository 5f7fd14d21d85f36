"""`harness` and `python -m harness`: the command line, where the tester's packages are installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec

NEEDED = ("click", "yaml", "jmespath", "pydantic", "pandas", "pyarrow", "locust", "rich", "uvicorn")


def main() -> None:
    """The base install is for services: it has no command line, and says so."""
    if any(find_spec(name) is None for name in NEEDED):
        sys.stderr.write("error: the `harness` command needs the tester's packages\n")
        sys.stderr.write("hint: pip install 'ml-harness[run]'\n")
        sys.exit(2)
    from harness.cli import main as run

    run()


if __name__ == "__main__":
    main()
