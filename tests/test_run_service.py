"""`harness run --cmd`: a service that is started for the run, and stopped after it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest
from cli import harness

SCENARIO = """
scenario: tiny
requests: [{name: one, http: GET /}]
load: {arrivals: constant, rate: 80/s, warmup: 0s, duration: 1s}
spans: {source: none}
slo: [p50(latency) < 5s]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(SCENARIO)
    (tmp_path / "index.html").write_text("hello")
    return tmp_path


def test_a_service_is_started_measured_and_stopped(folder: Path) -> None:
    served = f"{sys.executable} -m http.server {{port}} --bind 127.0.0.1 --protocol HTTP/1.1"
    ended = harness("run", "tiny.yaml", "--cmd", served, "--ready", "/", "--json", cwd=folder)

    assert ended.code == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert (summary["verdict"], summary["counts"]["ok"]) == ("passed", 80)
    port = summary["target"].rpartition(":")[2]
    assert not [p for p in psutil.process_iter(["cmdline"]) if {"http.server", port} <= set(p.info["cmdline"] or ())]
    assert (folder / "runs" / "service.log").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--cmd", "x {port}", "--target", "http://127.0.0.1:1"), "--target and --cmd do not go together"),
        (("--ready", "/readyz"), "--ready is about a service that is started"),
        (("--cmd", "no-such-program {port}"), "is not found"),
        (("--cmd", "sleep 5"), "does not say where the port goes"),
        (("--cmd", "x {port}", "--master", "--expect-workers", "1"), "--cmd and --master do not go together"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(folder: Path, flags: tuple[str, ...], said: str) -> None:
    ended = harness("run", "tiny.yaml", *flags, cwd=folder)

    assert ended.code == 2
    assert said in ended.stderr
    assert not list(folder.glob("runs/*tiny*"))
