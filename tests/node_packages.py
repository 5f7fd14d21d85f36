"""What the tests need from npm (tests/package.json), installed at first use; in CI a test that lacks it fails."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLACE = Path(sys.prefix) / "node"
NODE_MODULES = PLACE / "node_modules"
IN_CI = os.environ.get("CI") == "true"


def lacking(why: str | None) -> None:
    """Skip the test for a tool that is not here, with this reason; in CI it fails. None: nothing is lacking."""
    if why is not None:
        (pytest.fail if IN_CI else pytest.skip)(why)


@functools.cache
def why_no_packages() -> str | None:
    """Why the packages are not here; None when they are."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed: scripts/install-node .venv/node"
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two workers of one test run do not install at once
        return _install()


def _install() -> str | None:
    try:
        done = subprocess.run(
            [str(ROOT / "scripts/install-node"), str(PLACE)], capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        return "scripts/install-node took more than a minute"
    return None if done.returncode == 0 else f"scripts/install-node failed: {(done.stderr.splitlines() or ['?'])[0]}"
