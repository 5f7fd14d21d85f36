"""The command where the tester's packages are not installed."""

from __future__ import annotations

import subprocess
import sys


def test_the_base_install_has_no_command_line_and_says_what_to_install() -> None:
    code = """
import importlib.util as util
find = util.find_spec
util.find_spec = lambda name, *more: None if name == "pandas" else find(name, *more)
import harness.__main__
harness.__main__.main()
"""

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "error: the `harness` command needs the tester's packages",
        "hint: pip install 'ml-harness[run]'",
    ]
