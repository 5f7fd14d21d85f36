"""One run, its server halves read four ways: OTLP over HTTP, over gRPC, behind a real collector, and Server-Timing."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.chunks import read_chunks
from harness.model import Span
from harness.spans.listen import ReceiverProcess, bind, bind_grpc, start
from tests.acceptance_support import WORK, concluded, copied, from_source, largest_gap_s, python_service, run, stop
from tests.conftest import free_port

SHARE = 0.01
OTLP = ("http", "grpc", "collector")
CHANNELS = (*OTLP, "server-timing")
STAGES = ("transfer", "upload", "download", *WORK, "other")


@contextmanager
def receiver(folder: Path, *, grpc: bool = False) -> Iterator[ReceiverProcess]:
    """A span receiver beside the one of the run."""
    folder.mkdir()
    child = start(bind("127.0.0.1:0"), folder, grpc=bind_grpc("127.0.0.1:0") if grpc else None)
    try:
        yield child
    finally:
        child.stop()


@contextmanager
def collector(folder: Path, to: str) -> Iterator[str]:
    """The endpoint of a collector that takes OTLP over HTTP and passes it on to `to`, over HTTP as well."""
    found = importlib.util.find_spec("rotel")
    assert found is not None
    assert found.origin is not None
    http, grpc = free_port(), free_port()
    command = [
        str(Path(found.origin).parent / "rotel-agent"), "start",
        "--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
        "--exporter", "otlp", "--otlp-exporter-endpoint", to, "--otlp-exporter-protocol", "http",
    ]  # fmt: skip
    with (folder / "collector.log").open("w") as log:
        child = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, text=True)
        try:
            _until_open(http, child)
            yield f"http://127.0.0.1:{http}"
        finally:
            stop(child)


def _until_open(port: int, child: subprocess.Popen[str], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and child.poll() is None:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"the collector opened no port; its exit code is {child.poll()}")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A run folder per channel: the same samples, with the spans that came that way."""
    folder = tmp_path_factory.mktemp("channels")
    found = {name: folder / name for name in CHANNELS}
    with ExitStack() as running:
        over_grpc = running.enter_context(receiver(found["grpc"], grpc=True))
        behind = running.enter_context(receiver(found["collector"]))
        hop = running.enter_context(collector(folder, behind.endpoint))
        own = free_port()
        exporters = f"http=http://127.0.0.1:{own} grpc={over_grpc.grpc_endpoint} http={hop}"
        url = running.enter_context(python_service("tests.known_delay_app", env={"KNOWN_DELAY_EXPORTERS": exporters}))
        run_dir = run(folder, _scenario(url, own))
        for child in (over_grpc, behind):
            child.drained(quiet_s=0.5, deadline_s=10)
    for name in ("grpc", "collector"):
        copied(run_dir, found[name], "run.json", "samples.parquet")
    copied(run_dir, found["http"])
    copied(run_dir, found["server-timing"], "run.json", "samples.parquet")
    from_source(found["server-timing"], "server-timing")
    return found


def _scenario(url: str, port: int) -> dict[str, object]:
    paths = ("plain", "async", "gather", "threads", "lock", "batch")
    return {
        "scenario": "channels",
        "target": url,
        "requests": [{"name": path, "http": f"GET /{path}"} for path in paths],
        "load": {"rate": "60/s", "warmup": "1s", "duration": "2.5s", "seed": 3},
        "spans": {"listen": f"127.0.0.1:{port}", "source": "otlp"},
    }


@pytest.fixture(scope="module")
def ledgers(folders: Mapping[str, Path]) -> Mapping[str, pd.DataFrame]:
    return {name: concluded(path) for name, path in folders.items()}


def spans_in(run_dir: Path) -> set[tuple[object, ...]]:
    """What every span says, in any order."""
    sealed = run_dir / "spans.parquet"
    table = pq.read_table(sealed) if sealed.exists() else read_chunks(sorted(run_dir.glob("spans*.arrows")), Span)
    names = ("trace_id", "span_id", "parent_id", "name", "kind", "start_ns", "end_ns")
    return set(zip(*(table.column(name).to_pylist() for name in names), strict=True))


@pytest.mark.parametrize("channel", ["grpc", "collector"])
def test_the_same_spans_arrive(folders: Mapping[str, Path], channel: str) -> None:
    arrived = spans_in(folders[channel])

    assert len(arrived) > 500
    assert arrived == spans_in(folders["http"])


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_request_is_split(ledgers: Mapping[str, pd.DataFrame], channel: str) -> None:
    ledger = ledgers[channel]

    assert len(ledger) > 150
    assert set(ledger["split"]) == {"marks"}
    assert largest_gap_s(ledger) <= 1e-6


@pytest.mark.parametrize("channel", CHANNELS[1:])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_the_same_mean_whatever_way_it_came(
    ledgers: Mapping[str, pd.DataFrame], channel: str, stage: str
) -> None:
    here, there = (ledgers[name][f"{stage}_s"].mean() for name in ("http", channel))

    assert here > 0.00001
    assert there == pytest.approx(here, rel=SHARE)
