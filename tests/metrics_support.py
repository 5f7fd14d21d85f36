"""Prometheus and its tools, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

MISSING = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
IN_CI = os.environ.get("CI") == "true"
TOKEN = "s3cret"  # noqa: S105 - of the tests

needs_prometheus = pytest.mark.skipif(bool(MISSING) and not IN_CI, reason=f"not installed: {', '.join(MISSING)}")


def checked(text: str) -> None:
    """promtool finds nothing wrong with a scrape."""
    assert not MISSING
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
