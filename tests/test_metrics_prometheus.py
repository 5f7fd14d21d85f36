"""A real Prometheus reads a real run: what it stored is what was measured."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from harness.metrics import prometheus
from harness.metrics.tally import BOUNDS_S
from tests.conftest import free_port
from tests.test_metrics import tally

MISSING = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
IN_CI = os.environ.get("CI") == "true"
TOKEN = "s3cret"  # noqa: S105 - of this test
needs_prometheus = pytest.mark.skipif(bool(MISSING) and not IN_CI, reason=f"not installed: {', '.join(MISSING)}")

pytestmark = needs_prometheus


@dataclass(frozen=True)
class Scraped:
    """A run that is over, and the Prometheus that read it."""

    url: str
    samples: pd.DataFrame
    text: str  # of one scrape

    def value(self, query: str) -> float:
        (found,) = self.asked("query", query=query)["result"]
        return float(found["value"][1])

    def asked(self, path: str, **parameters: Any) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]


class _Slow(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    random = random.Random(5)

    def do_GET(self) -> None:
        time.sleep(self.random.lognormvariate(-4, 0.6))
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    assert not MISSING
    folder = tmp_path_factory.mktemp("prometheus")
    port = free_port()
    with _service() as target, _prometheus(folder, port) as url:
        texts: list[str] = []
        run = _run(folder, target, port)
        try:
            _read_now_and_then(run, port, texts)
            assert run.wait(60) == 0, (folder / "run.log").read_text()
        finally:
            run.kill()
            run.wait()
        (run_dir,) = (folder / "runs").iterdir()
        samples = pd.read_parquet(run_dir / "samples.parquet")
        yield Scraped(url, samples[samples["phase"] == "measure"], texts[-1])


@contextmanager
def _service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _prometheus(folder: Path, scraped: int) -> Iterator[str]:
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {
                "job_name": "harness", "authorization": {"credentials": TOKEN},
                "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}],
            }
        ],
    }  # fmt: skip
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    command = [
        "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("w") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()
            child.wait(20)


def _run(folder: Path, target: str, port: int) -> subprocess.Popen[bytes]:
    scenario = {
        "scenario": "scraped",
        "target": target,
        "requests": [{"name": "fine", "http": "GET /fine", "weight": 9}, {"name": "broken", "http": "GET /broken"}],
        "load": {"rate": "40/s", "warmup": "1s", "duration": "4s", "seed": 3},
        "spans": {"source": "none"},
    }
    (folder / "scenario.yaml").write_text(json.dumps(scenario))
    command = [
        sys.executable, "-m", "harness", "run", str(folder / "scenario.yaml"), "--out", str(folder / "runs"),
        "--accept-suspect", "--metrics", str(port), "--metrics-linger", "10s",
    ]  # fmt: skip
    with (folder / "run.log").open("wb") as log:
        environ = {**os.environ, "MLHARNESS_METRICS_TOKEN": TOKEN}
        return subprocess.Popen(command, stdout=log, stderr=log, env=environ)


def _read_now_and_then(run: subprocess.Popen[bytes], port: int, texts: list[str]) -> None:
    """A scrape of our own each second or so, for promtool."""
    while run.poll() is None:
        time.sleep(0.7)
        try:
            headers = {"authorization": f"Bearer {TOKEN}"}
            answer = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers, timeout=20)
        except httpx.TransportError:
            continue
        if answer.text:
            texts.append(answer.text)


MEASURED = 'last_over_time(harness_request_duration_seconds_{}{{phase="measure"}}[10m])'


def test_the_run_was_up(scraped: Scraped) -> None:
    assert scraped.value("max_over_time(up[10m])") == 1


def test_every_request_was_counted(scraped: Scraped) -> None:
    assert scraped.value(f"sum({MEASURED.format('count')})") == len(scraped.samples)
    broken = scraped.value('last_over_time(harness_requests_total{name="broken",phase="measure"}[10m])')
    assert broken == (scraped.samples["name"] == "broken").sum() > 0


def test_the_p95_of_the_histogram_is_within_a_bucket_of_the_exact_one(scraped: Scraped) -> None:
    latency = ((scraped.samples["done_ns"] - scraped.samples["scheduled_ns"]) / 1e9).to_numpy()
    exact = np.quantile(latency, 0.95, method="inverted_cdf")

    found = scraped.value(f"histogram_quantile(0.95, sum by (le) ({MEASURED.format('bucket')}))")

    assert abs(int(np.searchsorted(BOUNDS_S, found)) - int(np.searchsorted(BOUNDS_S, exact))) <= 1


def test_examples_lead_to_requests_of_the_run(scraped: Scraped) -> None:
    now = time.time()
    series = scraped.asked("query_exemplars", query="harness_request_duration_seconds_bucket", start=now - 600, end=now)

    traces = {
        one["labels"]["trace_id"]
        for each in series
        if each["seriesLabels"]["phase"] == "measure"
        for one in each["exemplars"]
    }
    assert traces
    assert traces <= set(scraped.samples["trace_id"])


def test_promtool_finds_nothing_wrong_with_a_scrape(scraped: Scraped) -> None:
    _check(scraped.text)


def test_promtool_finds_nothing_wrong_with_anything_a_run_may_tell() -> None:
    _check(prometheus.exposition([tally({"inference_s": 0.1}, {"ok": False, "what": "x"}, users=4)]).decode())


def _check(text: str) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
