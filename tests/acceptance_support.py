"""What the acceptance tests share: services as child processes, runs of the command, what a stopwatch expects."""

from __future__ import annotations

import http.client
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from harness.errors import ExitCode
from harness.model import STAGES
from harness.run import reopen
from harness.run_folder import RunFolder
from tests.cli import begin, end
from tests.plain_serving import READY

ROOT = Path(__file__).parent.parent
WORK = ("queue", "preprocess", "inference", "postprocess")


# --- services ----------------------------------------------------------------------------------------------


@contextmanager
def service(*command: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of a service that says `ready on URL` first; it is stopped at the end."""
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(
            command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            said = _first_line(child, 60)
            if not said.startswith(READY):
                log.seek(0)
                raise AssertionError(f"{command} did not start: {said!r}\n{log.read()}")
            yield said.removeprefix(READY).strip()
        finally:
            stop(child)


def python_service(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> AbstractContextManager[str]:
    return service(sys.executable, "-m", module, *arguments, env=env)


def stop(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _first_line(child: subprocess.Popen[str], within_s: float) -> str:
    lines: queue.Queue[str] = queue.Queue()
    assert child.stdout is not None
    threading.Thread(target=lambda stream: lines.put(stream.readline()), args=(child.stdout,), daemon=True).start()
    try:
        return lines.get(timeout=within_s)
    except queue.Empty:
        return "(nothing)"


def stopwatch(url: str) -> Any:
    """What the service timed, as its `/stopwatch` hands it out."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("GET", "/stopwatch")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


# --- runs --------------------------------------------------------------------------------------------------


def run(folder: Path, scenario: Mapping[str, object]) -> Path:
    """`harness run` in `folder`: the run folder."""
    (ran,) = run_all(folder, {"only": scenario}).values()
    return ran


def run_all(folder: Path, scenarios: Mapping[str, Mapping[str, object]]) -> dict[str, Path]:
    """Several at once, each in a folder of its own. The scenarios are written as JSON, which is YAML."""
    children = {}
    for name, scenario in scenarios.items():
        (folder / name).mkdir()
        (folder / name / "scenario.yaml").write_text(json.dumps(scenario))
        children[name] = begin("run", "scenario.yaml", cwd=folder / name)
    ran = {}
    for name, child in children.items():
        ended = end(child, within_s=180)
        # A busy machine may make the generator late and the run invalid: what is compared here, both sides saw.
        assert ended.code in (ExitCode.PASSED, ExitCode.NOT_MEASURED), ended.stderr
        assert "Traceback" not in ended.stderr, ended.stderr
        (ran[name],) = (folder / name / "runs").iterdir()
    return ran


RECORDED = ("run.json", "samples.parquet", "spans.parquet")


def copied(run_dir: Path, to: Path, *names: str) -> Path:
    """A copy of a run folder as it was before it was concluded; of the files named only."""
    to.mkdir(parents=True, exist_ok=True)
    for name in names or RECORDED:
        shutil.copy(run_dir / name, to / name)
    return to


def concluded(run_dir: Path) -> pd.DataFrame:
    """The ledger of a stored run, concluded again."""
    ledger: Any = reopen(RunFolder.open(run_dir)).ledger
    return ledger if isinstance(ledger, pd.DataFrame) else ledger.to_pandas()


def from_source(run_dir: Path, source: str) -> None:
    """Let a stored run take its server halves from somewhere else."""
    path = run_dir / "run.json"
    record = json.loads(path.read_text())
    record["plan"]["spans"]["source"] = source
    path.write_text(json.dumps(record))


def largest_gap_s(ledger: pd.DataFrame) -> float:
    """How far the stages of any row are from its latency."""
    stages = ledger[[f"{stage}_s" for stage in STAGES]].sum(axis=1)
    return float((stages - ledger["latency_s"]).abs().max())


# --- what a stopwatch expects ------------------------------------------------------------------------------


def expected(watch: Mapping[str, Any]) -> dict[str, float]:
    """Seconds per stage of one request, from its laps.

    A lap is charged its length, less the laps inside it, less half of what it has in common with the one beside it.
    """
    charged: dict[str, float] = defaultdict(float)
    laps = watch["laps"]
    for lap in laps:
        charged[lap["stage"]] += _length(lap)
        if lap["inside"]:
            (outer,) = (other for other in laps if other["name"] == lap["inside"])
            charged[outer["stage"]] -= _length(lap)
        if lap["beside"]:
            (other,) = (o for o in laps if o["beside"] == lap["beside"] and o is not lap)
            common = min(lap["end_ns"], other["end_ns"]) - max(lap["begin_ns"], other["begin_ns"])
            charged[lap["stage"]] -= max(0, common) / 2 / 1e9
    return {stage: charged.get(stage, 0.0) for stage in WORK}


def waited(watch: Mapping[str, Any], resource: str) -> float:
    """Seconds one request waited for a resource."""
    return sum(_length(lap) for lap in watch["laps"] if lap["resource"] == resource)


def _length(lap: Mapping[str, Any]) -> float:
    return float(lap["end_ns"] - lap["begin_ns"]) / 1e9


def beside(ledger: pd.DataFrame, timed: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The ledger rows that the service timed, with what it expects of each stage in `expected_<stage>_s`."""
    rows = {watch["trace_id"]: expected(watch) for watch in timed}
    wanted = pd.DataFrame.from_dict(rows, orient="index").add_prefix("expected_").add_suffix("_s")
    return ledger.join(wanted, on="trace_id", how="inner")


def far(found_s: float, expected_s: float, at_most_s: float, share: float) -> bool:
    """Whether two means differ by more than both an absolute and a relative tolerance allow."""
    return abs(found_s - expected_s) > max(at_most_s, share * expected_s)
