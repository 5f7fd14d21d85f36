"""A real run of two load processes, with spans and failures, watched by everything that can: a follower in another
process, a real Prometheus, a receiver of OTLP metrics, somebody who asks now and then."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from harness.following import Follower, Seen, running
from harness.metrics.tally import BOUNDS_S
from harness.run_folder import RunFolder
from harness.views import LiveFrame
from tests.cli import begin, end
from tests.conftest import free_port
from tests.instrument_support import a_service
from tests.metrics_support import MISSING, TOKEN, checked, needs_prometheus

Counted = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[str, str]]:
    """A service that exports spans: its URL, and the address it exports to."""
    listen = f"127.0.0.1:{free_port()}"
    with a_service(f"http://{listen}", app="instrument_app") as running:
        yield f"http://127.0.0.1:{running.port}", listen


def scenario(folder: Path, service: tuple[str, str], duration: str) -> Path:
    path = folder / "items.yaml"
    path.write_text(f"""
scenario: items
target: {service[0]}
requests:
  - {{name: item, weight: 9, http: GET /items/3}}
  - {{name: absent, http: GET /nothing}}
load: {{rate: 50/s, warmup: 1s, duration: {duration}}}
spans: {{listen: "{service[1]}"}}
""")
    return path


def followed(runs: Path, within_s: float = 20) -> Follower:
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        for folder in running(runs):
            return Follower(RunFolder(folder))
        time.sleep(0.05)
    raise AssertionError("no run is on")


def to_the_end(follower: Follower, within_s: float = 60) -> Iterator[Seen]:
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        yield (seen := follower.poll())
        if seen.over:
            return
        time.sleep(0.5)
    raise AssertionError("the run does not end")


@dataclass(frozen=True)
class Watched:
    """All that was seen of the run. `url` of the Prometheus, empty where there is none."""

    frames: list[LiveFrame]
    rows: pd.DataFrame
    folder: Path
    texts: list[str]  # of scrapes
    pushed: list[ExportMetricsServiceRequest]
    url: str

    @property
    def ledger(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "ledger.parquet").set_index("request_id")

    @property
    def measured(self) -> pd.DataFrame:
        ledger = self.ledger
        return ledger[ledger["phase"] == "measure"]

    def value(self, query: str) -> float:
        (found,) = self.asked("query", query=query)["result"]
        return float(found["value"][1])

    def asked(self, path: str, **parameters: Any) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, service: tuple[str, str]) -> Iterator[Watched]:
    folder, port = tmp_path_factory.mktemp("watched"), free_port()
    texts: list[str] = []
    with prometheus(folder, port) if not MISSING else nullcontext("") as url, receiver() as taking:
        child = begin(
            "run", scenario(folder, service, "3s"), "--processes", "2", "--accept-suspect", "--metrics", str(port),
            "--metrics-linger", "10s", "--metrics-otlp", taking.url, cwd=folder, env={"MLHARNESS_METRICS_TOKEN": TOKEN},
        )  # fmt: skip
        try:
            seen = []
            for each in to_the_end(followed(folder / "runs")):
                seen.append(each)
                texts += scraped(port)
            texts += scraped(port)
        finally:
            ended = end(child)
        assert ended.code == 0, ended.stderr
        (stored,) = (folder / "runs").iterdir()
        rows = pd.concat([each.rows for each in seen if len(each.rows)]).set_index("request_id")
        yield Watched([each.frame for each in seen], rows, stored, texts, taking.taken, url)


def scraped(port: int) -> list[str]:
    try:
        headers = {"authorization": f"Bearer {TOKEN}"}
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers, timeout=20).text
    except httpx.TransportError:
        return []
    return [text] if text else []


@dataclass
class Receiver:
    url: str = ""
    taken: list[ExportMetricsServiceRequest] = field(default_factory=list)


@contextmanager
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.taken.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def prometheus(folder: Path, scraped: int) -> Iterator[str]:
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


def test_every_request_of_all_workers_is_given_once(run: Watched) -> None:
    assert run.rows.index.is_unique
    assert sorted(run.rows.index) == sorted(run.ledger.index)
    assert len(run.rows) > 120


def test_a_row_says_what_the_ledger_says_later(run: Watched) -> None:
    rows, ledger = run.rows.sort_index(), run.ledger.sort_index()

    assert (rows["latency_s"] - ledger["latency_s"]).abs().max() < 1e-6
    both = rows["split"] == ledger["split"]
    assert both.mean() > 0.9  # a machine that is busy may bring some spans late
    for stage in ("inference_s", "preprocess_s", "other_s"):
        assert (rows.loc[both, stage] - ledger.loc[both, stage]).abs().max() < 1e-3, stage


def test_the_p95_of_all_rows_is_that_of_the_report(run: Watched) -> None:
    measured = run.rows[run.rows["phase"] == "measure"]["latency_s"].where(run.rows["ok"], float("inf")).sort_values()
    rank = -(-len(measured) * 95 // 100) - 1
    later = run.ledger[run.ledger["phase"] == "measure"]
    same = later["latency_s"].where(later["ok"], float("inf")).sort_values()

    assert measured.iloc[rank] == pytest.approx(same.iloc[rank], abs=1e-6)


def test_the_phases_come_in_their_order(run: Watched) -> None:
    order = ["starting", "waiting", "warmup", "measure", "drain", "spans", "report", "finished"]
    phases = [order.index(frame.phase) for frame in run.frames]

    assert phases == sorted(phases)
    assert run.frames[-1].phase == "finished"


def test_the_frames_say_what_is_going_on(run: Watched) -> None:
    last = [frame for frame in run.frames if frame.phase == "measure"][-1]

    assert (last.offered_per_s, last.total_s) == (50.0, 4.0)
    assert last.n > 50
    assert last.p50_s is not None
    assert 0.008 < last.p50_s <= (last.p95_s or 0) <= (last.p99_s or 0)
    assert last.errors[0][0] == "status 404"
    assert {"queue", "preprocess", "inference"} <= {stage for stage, seconds in last.stages if seconds > 0.001}
    assert any(frame.health is not None for frame in run.frames)


def test_the_counts_at_the_end_are_those_of_the_run(run: Watched) -> None:
    load = json.loads((run.folder / "run.json").read_text())["load"]
    last = run.frames[-1]

    assert (last.ok, last.failed, last.censored) == (load["ok"], load["failed"], load["censored"])
    assert last.ok + last.failed == len(run.rows)


def test_who_comes_when_all_is_over_gets_the_rows_of_the_ledger(run: Watched) -> None:
    seen = list(to_the_end(Follower(RunFolder(run.folder))))
    rows = pd.concat([each.rows for each in seen if len(each.rows)]).set_index("request_id").sort_index()

    assert len(rows) == len(run.ledger)
    assert (rows["done_ns"] == run.rows.sort_index()["done_ns"]).all()
    assert rows["what"].notna().sum() == (~run.ledger["ok"]).sum()
    assert (seen[-1].frame.phase, seen[-1].frame.errors) == ("finished", run.frames[-1].errors)


# --- metrics ---------------------------------------------------------------------------------------------------------

MEASURED = 'last_over_time(harness_request_duration_seconds_{}{{phase="measure"}}[10m])'


def counted(text: str) -> Counted:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        if family.type in ("counter", "histogram")
        for sample in family.samples
    }


def test_what_is_counted_only_grows_and_ends_with_every_request(run: Watched) -> None:
    told = [counted(text) for text in run.texts]

    for before, after in itertools.pairwise(told):
        assert all(after[key] >= value for key, value in before.items())
    assert sum(value for (name, _), value in told[-1].items() if name == "harness_requests_total") == len(run.rows)


def test_a_receiver_is_told_the_same_with_requests_and_spans_as_examples(run: Watched) -> None:
    (resource,) = run.pushed[-1].resource_metrics
    (metric,) = [one for one in resource.scope_metrics[0].metrics if one.name == "harness.request.duration"]
    points = metric.histogram.data_points
    samples = pd.read_parquet(run.folder / "samples.parquet")
    spans = set(zip(samples["trace_id"], samples["span_id"], strict=True))

    examples = [(one.trace_id.hex(), one.span_id.hex()) for point in points for one in point.exemplars]
    assert sum(point.count for point in points) == len(run.rows)
    assert examples
    assert set(examples) <= spans


@needs_prometheus
def test_prometheus_found_it_up_and_every_request_counted(run: Watched) -> None:
    assert run.value("max_over_time(up[10m])") == 1
    assert run.value(f"sum({MEASURED.format('count')})") == len(run.measured)
    absent = run.value('last_over_time(harness_requests_total{name="absent",phase="measure"}[10m])')
    assert absent == (run.measured["name"] == "absent").sum() > 0


@needs_prometheus
def test_the_p95_of_the_histogram_is_within_a_bucket_of_the_exact_one(run: Watched) -> None:
    exact = np.quantile(run.measured["latency_s"].to_numpy(), 0.95, method="inverted_cdf")

    found = run.value(f"histogram_quantile(0.95, sum by (le) ({MEASURED.format('bucket')}))")

    assert abs(int(np.searchsorted(BOUNDS_S, found)) - int(np.searchsorted(BOUNDS_S, exact))) <= 1


@needs_prometheus
def test_examples_lead_to_requests_of_the_run(run: Watched) -> None:
    now = time.time()
    series = run.asked("query_exemplars", query="harness_request_duration_seconds_bucket", start=now - 600, end=now)

    traces = {one["labels"]["trace_id"] for each in series for one in each["exemplars"]}
    assert traces
    assert traces <= set(run.ledger["trace_id"])


@needs_prometheus
def test_promtool_finds_nothing_wrong_with_a_scrape(run: Watched) -> None:
    checked(run.texts[-1])


# --- its end ---------------------------------------------------------------------------------------------------------


def test_a_run_that_is_killed_is_broken_and_its_rows_are_kept(tmp_path: Path, service: tuple[str, str]) -> None:
    child = begin("run", scenario(tmp_path, service, "60s"), cwd=tmp_path)
    try:
        follower = followed(tmp_path / "runs")
        give_up = time.monotonic() + 30
        while follower.poll().frame.n < 20 and time.monotonic() < give_up:
            time.sleep(0.2)
    finally:
        child.send_signal(signal.SIGKILL)
        end(child)
    seen = list(to_the_end(follower))

    assert (seen[-1].frame.phase, running(tmp_path / "runs")) == ("broken", ())
    assert seen[-1].frame.ok >= 20
