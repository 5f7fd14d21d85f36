"""Other load generators, run on the generator's core with the same small POST. None where one is not installed."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from support.cores import GENERATOR, pinned
from support.ours import BODY

_LUA = 'wrk.method = "POST"\nwrk.body = [[{body}]]\nwrk.headers["Content-Type"] = "application/json"\n'
_K6 = """
import http from 'k6/http';
const params = {headers: {'Content-Type': 'application/json'}};
export default function () { http.post(%(url)s, %(body)s, params); }
export function handleSummary(found) { return {stdout: JSON.stringify(found.metrics)}; }
"""
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Figures:
    """What a generator reports, and what it used. `percentiles_s`: quantile -> seconds."""

    requests: float
    seconds: float
    cpu_s: float
    percentiles_s: dict[float, float] = field(default_factory=dict)

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds

    @property
    def per_cpu_s(self) -> float:
        return self.requests / self.cpu_s


def _run(command: list[str]) -> tuple[str, float]:
    """Its stdout, and the CPU seconds of the whole child."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(pinned(command, GENERATOR), capture_output=True, text=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode != 0:
        sys.exit(f"{command[0]} failed: {ended.stderr[-2000:]}")
    return ended.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wrk(url: str, users: int, seconds: float) -> Figures | None:
    """wrk in one thread, with its latency distribution."""
    if shutil.which("wrk") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="bench-wrk-") as folder:
        script = Path(folder) / "post.lua"
        script.write_text(_LUA.format(body=BODY))
        command = ["wrk", "-t1", f"-c{users}", f"-d{max(1, round(seconds))}s", "--timeout", "60s", "--latency"]
        said, cpu_s = _run([*command, "-s", str(script), url])
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", said)
    assert total is not None, said
    found = re.findall(r"^\s+(50|75|90|99)%\s+([\d.]+)(us|ms|s|m)\s*$", said, re.MULTILINE)
    percentiles = {int(q) / 100: float(value) * _UNITS[unit] for q, value, unit in found}
    return Figures(int(total[1]), float(total[2]) * _UNITS[total[3]], cpu_s, percentiles)


def hey(url: str, users: int, seconds: float, per_user_rate: float | None = None) -> Figures | None:
    """hey; `per_user_rate` is its `-q`, a limit of each of its workers."""
    if shutil.which("hey") is None:
        return None
    limit = [] if per_user_rate is None else ["-q", f"{per_user_rate:g}"]
    command = ["hey", "-z", f"{seconds:g}s", "-c", str(users), *limit, "-t", "60", "-m", "POST"]
    said, cpu_s = _run([*command, "-T", "application/json", "-d", BODY, url + "/"])
    rate, total = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"Total:\s+([\d.]+) secs", said)
    assert rate is not None and total is not None, said  # noqa: PT018
    found = re.findall(r"^\s+(50|75|90|95|99)%+ in ([\d.]+) secs", said, re.MULTILINE)
    percentiles = {int(q) / 100: float(value) for q, value in found}
    return Figures(float(rate[1]) * float(total[1]), float(total[1]), cpu_s, percentiles)


def k6(url: str, users: int, seconds: float) -> Figures | None:
    """k6 with as many virtual users, closed model."""
    if shutil.which("k6") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="bench-k6-") as folder:
        script = Path(folder) / "post.js"
        script.write_text(_K6 % {"url": json.dumps(url + "/"), "body": json.dumps(BODY)})
        said, cpu_s = _run(["k6", "run", "--quiet", "--vus", str(users), "--duration", f"{seconds:g}s", str(script)])
    metrics = json.loads(said)
    requests, took = metrics["http_reqs"]["values"], metrics["http_req_duration"]["values"]
    percentiles = {q: took[key] / 1e3 for q, key in ((0.5, "med"), (0.9, "p(90)"), (0.95, "p(95)")) if key in took}
    return Figures(requests["count"], requests["count"] / requests["rate"], cpu_s, percentiles)


def locust(kind: str, url: str, users: int, seconds: float, per_user_rate: float = 0.0) -> Figures:
    """Locust's FastHttpUser ("fast") or HttpUser ("http"), headless, start-up not counted; without a rate of each user
    there is no wait time."""
    child = Path(__file__).parent / "locust_child.py"
    said, _ = _run([sys.executable, str(child), kind, url, str(users), f"{seconds:g}", f"{per_user_rate:g}", BODY])
    figures = json.loads(said.splitlines()[-1])
    assert not figures["failed"], figures
    percentiles = {float(q): value for q, value in figures["percentiles_s"].items()}
    return Figures(figures["requests"], figures["seconds"], figures["cpu_s"], percentiles)
