"""The process at its edges: closed streams, full disks, readers that leave, signals, children that are killed."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli import HARNESS, Ended, begin, end, harness
from tests.test_targets import hangs, serving

SCENARIO = """
scenario: edges
target: {target}
requests:
  - {{name: 日本 grüße, http: POST /predict, json: {{x: 1}}, timeout: 500ms}}
load: {{arrivals: constant, rate: 10/s, warmup: 0s, duration: {duration}, drain: 1s}}
spans: {{source: server-timing}}
"""
FULL = "error: the output cannot be written: no space left on device"

RUNS = {
    "all closed": "run edges.yaml -q <&- >&- 2>&-",
    "reader gone": "run edges.yaml --json <&- | true",
    "both full": "run edges.yaml >/dev/full 2>/dev/full",
}
CODES = {"passed": 0, "failed": 1, "not_enough_data": 3, "invalid": 3}


def answers(connection: socket.socket) -> None:
    while connection.recv(65536):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


def written(folder: Path, target: str, duration: str = "1s") -> Path:
    path = folder / "edges.yaml"
    path.write_text(SCENARIO.format(target=target, duration=duration))
    return path


def in_shell(command: str, cwd: Path, **env: str) -> Ended:
    """`harness COMMAND`, with the exit code of harness itself, whatever it is piped into."""
    whole = f"{shlex.join(HARNESS)} {command}; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", whole], cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=60,
    )  # fmt: skip
    return Ended(ended.returncode, ended.stdout.decode("latin-1"), ended.stderr.decode("latin-1"))


@pytest.fixture(scope="module")
def short_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ended, Path]]:
    """One run of a second for each way to treat its streams, side by side."""
    folders = {name: tmp_path_factory.mktemp("run") for name in RUNS}
    with serving(answers) as target, ThreadPoolExecutor() as pool:
        for folder in folders.values():
            written(folder, target)
        ended = {name: pool.submit(in_shell, RUNS[name], folder) for name, folder in folders.items()}
        return {name: (ended[name].result(), next((folders[name] / "runs").iterdir())) for name in RUNS}


@pytest.mark.parametrize("name", RUNS)
def test_where_the_output_goes_changes_neither_run_nor_verdict(
    short_runs: dict[str, tuple[Ended, Path]], name: str
) -> None:
    ended, run = short_runs[name]

    # On a busy machine the generator may doubt itself: the verdict is what was stored.
    code = CODES[json.loads((run / "summary.json").read_text())["verdict"]]
    assert (ended.code, ended.stderr) == (code or (2 if name == "both full" else 0), "")
    assert json.loads((run / "summary.json").read_text())["counts"]["ok"] == 10
    assert (run / "report.html").stat().st_size > 10_000


ENDS_WITH = """
import sys
from harness import cli
cli._command = lambda: print("the verdict, or its \\udc80") or int(sys.argv[1])
cli.main()
"""


@pytest.mark.parametrize(("code", "full"), [(0, 2), (1, 1), (3, 3), (4, 4)])
def test_output_that_is_lost_costs_a_passed_gate_only(code: int, full: int) -> None:
    with open("/dev/full", "w") as device:
        ended = subprocess.run(
            [sys.executable, "-c", ENDS_WITH, str(code)], stdout=device, stderr=subprocess.PIPE, text=True
        )

    assert (ended.returncode, ended.stderr.strip()) == (full, FULL)


def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_everything() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    code = "from harness import cli\ncli._command = lambda: print('x' * 1_000_000) or 0\ncli.main()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=writer) as child, open(reader, "rb") as pipe:
        os.close(writer)
        time.sleep(0.5)
        assert len(pipe.read()) == 1_000_001
    assert child.returncode == 0


@pytest.mark.parametrize("command", ["--help", "report {run} --format json -o -"])
def test_no_command_minds_a_reader_that_left_and_each_says_that_the_disk_is_full(
    short_runs: dict[str, tuple[Ended, Path]], command: str
) -> None:
    run = short_runs["all closed"][1]
    typed = command.format(run=run)

    left = in_shell(f"{typed} | true", run)
    full = in_shell(f"{typed} >/dev/full", run)

    assert (left.code, left.stderr) == (0, "")
    assert (full.code, full.stderr.strip()) == (2, FULL)


@pytest.mark.parametrize(
    "environ", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_signs_that_the_terminal_does_not_have_are_replaced(tmp_path: Path, environ: dict[str, str]) -> None:
    written(tmp_path, "http://127.0.0.1:1")

    ended = in_shell("check edges.yaml", tmp_path, **environ)

    assert (ended.code, ended.stderr) == (0, "")
    assert "gr" in ended.stdout
    assert "?? gr\u00fc\u00dfe" in ended.stdout or "PYTHONIOENCODING" not in environ


def test_a_pipe_in_place_of_run_json_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")

    ended = harness("report", tmp_path, cwd=tmp_path)

    assert ended.code == 2
    assert ended.stderr.startswith(f"error: {tmp_path}/run.json is not a regular file\nhint: ")


def test_a_damaged_run_json_is_one_line_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema_version": 1, "run_id": "r", "status": "finished", "started_ns": 1e30}')

    ended = harness("report", tmp_path, cwd=tmp_path)

    assert ended.code == 2
    assert ended.stderr.startswith(f"error: {tmp_path}/run.json does not describe a run: started_ns: ")
    assert len(ended.stderr.splitlines()) == 2


# --- signals -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def loading(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A long run whose load child has just been started: the command, and the pid of that child."""
    with serving(hangs) as target:
        path = written(folder, target, duration="60s")
        child = begin("run", path, "-q", cwd=folder)
        try:
            yield child, load_child_of(child)
        finally:
            child.kill()
            child.communicate()


def load_child_of(parent: subprocess.Popen[str]) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert parent.poll() is None
        for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if b"harness.load.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
        time.sleep(0.005)
    raise AssertionError("no load child was started")


def test_a_load_child_that_is_killed_before_its_first_sample_has_measured_nothing(tmp_path: Path) -> None:
    with loading(tmp_path) as (child, load):
        os.kill(load, signal.SIGKILL)
        ended = end(child)

    assert ended.code == 3
    assert ended.stderr.startswith("error: the load process was killed by SIGKILL before the run was over\nhint: ")


def test_two_interrupts_before_the_first_sample_are_an_interrupted_run(tmp_path: Path) -> None:
    with loading(tmp_path) as (child, _):
        child.send_signal(signal.SIGINT)
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        ended = end(child)

    assert ended.code == 4
    assert ended.stderr == "error: interrupted before anything was measured\n"


def test_a_terminal_that_closes_ends_the_run_and_keeps_what_was_measured(tmp_path: Path) -> None:
    with loading(tmp_path) as (child, _):
        (run,) = (tmp_path / "runs").iterdir()
        while not (run / "samples-0.arrows").exists():
            time.sleep(0.02)
        time.sleep(0.5)
        child.send_signal(signal.SIGHUP)
        ended = end(child)

    assert ended.code == 4
    assert "Traceback" not in ended.stderr
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    assert json.loads((run / "summary.json").read_text())["interrupted"] is True
