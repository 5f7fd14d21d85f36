"""The command before the command line is there: packages that are not installed, streams that are closed, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


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


@pytest.mark.parametrize("while_importing", ["click", "pandas"])
def test_ctrl_c_while_packages_are_imported_is_one_line(tmp_path: Path, while_importing: str) -> None:
    (tmp_path / f"{while_importing}.py").write_text(f"import os\nos.kill(os.getpid(), {int(signal.SIGINT)})\n")
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text('{"schema_version": 1}')
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}

    ended = subprocess.run(
        [sys.executable, "-m", "harness", "report", run], env=environ, capture_output=True, text=True
    )

    assert ended.returncode == 4
    assert ended.stderr.split("\n", 1)[0 if while_importing == "click" else 1].strip() == "error: interrupted"


STREAMS = """
import os, sys
for descriptor in (0, 1, 2):
    os.close(descriptor)
sys.stdin = sys.stdout = sys.stderr = None
from harness.__main__ import _open_standard_streams
_open_standard_streams()
first = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
print("nobody reads this", file=sys.stdout, flush=True)
print("nor this", file=sys.stderr, flush=True)
os.write(first, f"{first > 2} {sys.stdin.read()!r} {[os.get_inheritable(d) for d in (0, 1, 2)]}".encode())
"""


def test_streams_that_the_caller_closed_are_there_again_and_keep_their_numbers(tmp_path: Path) -> None:
    said = tmp_path / "said"

    ended = subprocess.run([sys.executable, "-c", STREAMS, said])

    assert ended.returncode == 0
    assert said.read_text() == "True '' [True, True, True]"
