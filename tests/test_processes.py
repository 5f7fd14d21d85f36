"""`harness run` with many load processes, and the flags that ask for them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from harness.commands import run, worker
from harness.errors import UsageError
from tests.cli import Ended, begin, end, harness
from tests.load_support import OK, Request, raw_server

SCENARIO = """
scenario: shared
target: {target}
requests:
  - {{name: post, http: POST /predict, json: {{x: 1}}}}
load: {{arrivals: constant, rate: 40/s, warmup: 0s, duration: 5s, drain: 2s}}
spans: {{source: none}}
slo: [p50(latency) < 5s]
"""


async def answer(request: Request) -> bool:
    await asyncio.sleep(0.01)
    request.writer.write(OK)
    return True


def load_workers(of: int) -> list[psutil.Process]:
    return [p for p in psutil.Process(of).children(recursive=True) if "harness.load.worker" in p.cmdline()]


@pytest.fixture(scope="module")
def wounded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path, int]:
    """A run with two processes, one of them killed on the way: how it ended, its folder, the pid."""
    folder = tmp_path_factory.mktemp("wounded")
    with raw_server(answer) as server:
        (folder / "shared.yaml").write_text(SCENARIO.format(target=server.url))
        command = begin("run", "shared.yaml", "--processes", "2", cwd=folder)
        deadline = time.monotonic() + 40
        while sum(path.stat().st_size > 4000 for path in folder.glob("runs/*/samples-*.arrows")) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = load_workers(command.pid)
        children[0].kill()
        ended = end(command)
    assert not any(child.is_running() for child in children)
    (stored,) = (folder / "runs").iterdir()
    return ended, stored, children[0].pid


def test_a_run_that_lost_a_worker_is_invalid_and_names_it(wounded: tuple[Ended, Path, int]) -> None:
    ended, stored, pid = wounded

    assert ended.code == 3
    assert f"(pid {pid} on " in ended.stdout
    assert "was lost" in (stored / "report.md").read_text()
    assert json.loads((stored / "summary.json").read_text())["verdict"] == "invalid"
    assert "Traceback" not in ended.stderr


def test_the_record_keeps_every_worker_with_its_readings(wounded: tuple[Ended, Path, int]) -> None:
    load = json.loads((wounded[1] / "run.json").read_text())["load"]

    assert sorted(worker["state"] for worker in load["workers"]) == ["finished", "lost"]
    (finished,) = [worker["worker"] for worker in load["workers"] if worker["state"] == "finished"]
    assert {r["worker"] for r in load["readings"] if r["name"] == "lateness_p99"} == {finished}


def test_what_the_command_line_takes_is_a_reading(wounded: tuple[Ended, Path, int]) -> None:
    load = json.loads((wounded[1] / "run.json").read_text())["load"]
    (cli,) = [reading for reading in load["readings"] if reading["name"] == "cli_cpu"]

    assert 0 <= cli["value"] < 1


@pytest.mark.parametrize(
    ("flags", "said", "todo"),
    [
        (("--processes", "0"), "--processes 0 is not a number of processes", "--processes 2"),
        (("--processes", "2", "--master"), "--processes and --master are two ways", "harness worker"),
        (("--master",), "--master does not know how many workers to wait for", "--expect-workers 2"),
        (("--master", "--expect-workers", "0"), "--expect-workers 0 is not a number", "--expect-workers 2"),
        (("--expect-workers", "2"), "--expect-workers is about the workers of a master", "--master"),
        (("--token", "x"), "--token is about the workers of a master", "--master"),
        (("--bind", "127.0.0.1", "--processes", "2"), "--bind is about the workers of a master", "--master"),
        (("--master", "--expect-workers", "1", "--expect-workers-max-wait", "soon"), "'soon' is not a duration", ""),
        (("--master", "--expect-workers", "1", "--bind", "127.0.0.1:99999"), "is no address", "127.0.0.1:5557"),
        (("--master", "--expect-workers", "1", "--bind", "0.0.0.0"), "could join the run", "MLHARNESS_TOKEN"),
        (("--master", "--expect-workers", "1", "--bind", "[::]:0"), "could join the run", "--insecure"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags: tuple[str, ...], said: str, todo: str) -> None:
    refused = CliRunner().invoke(run.command, ["nowhere.yaml", *flags], env={"MLHARNESS_TOKEN": ""}).exception

    assert isinstance(refused, UsageError)
    assert said in refused.message
    assert todo in (refused.hint or "")


def test_more_processes_than_cores_are_allowed_with_a_note(tmp_path: Path) -> None:
    many = len(os.sched_getaffinity(0)) + 1

    ended = harness("run", "nowhere.yaml", "--processes", str(many), cwd=tmp_path)

    assert ended.stderr.splitlines()[0].startswith(f"note: {many} load processes share ")
    assert "nowhere.yaml" in ended.stderr.splitlines()[1]


def test_a_worker_runs_no_code_of_another_machine_without_a_token() -> None:
    refused = CliRunner().invoke(worker.command, ["--master", "192.0.2.1"], env={"MLHARNESS_TOKEN": ""}).exception

    assert isinstance(refused, UsageError)
    assert refused.message == "whoever answers at 192.0.2.1 could have this machine run its code"


def test_a_worker_of_an_unknown_host_is_refused(tmp_path: Path) -> None:
    ended = harness("worker", "--master", "no.such.host.invalid", cwd=tmp_path)

    assert ended.code == 2
    assert "the host 'no.such.host.invalid' is not known" in ended.stderr


def test_files_that_cannot_be_written_do_not_hide_the_answer(tmp_path: Path) -> None:
    with raw_server(answer) as server:
        (tmp_path / "shared.yaml").write_text(SCENARIO.format(target=server.url).replace("5s, drain", "1s, drain"))
        command = begin("run", "shared.yaml", cwd=tmp_path)
        deadline = time.monotonic() + 40
        while not list(tmp_path.glob("runs/*/run.json")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (stored,) = (tmp_path / "runs").iterdir()
        for taken in ("report.html", "ledger.parquet"):
            (stored / taken / "in the way").mkdir(parents=True)
        ended = end(command)

    assert "requests were answered" in ended.stdout
    assert "report.html cannot be written: " in ended.stderr
    assert "ledger.parquet cannot be written: " in ended.stderr
    assert "`harness report`" in ended.stderr
    assert ended.code == {"passed": 0, "invalid": 3}[json.loads((stored / "summary.json").read_text())["verdict"]]
    assert (stored / "report.md").exists()
