"""`harness ab` and `harness calibrate` as they are typed, against services that they start themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cli import harness
from click.testing import CliRunner

from harness.commands.ab import command
from harness.errors import UsageError

SCENARIO = """
scenario: tiny
requests: [{name: one, http: GET /}]
load: {arrivals: constant, rate: 50/s, warmup: 300ms, duration: 900ms}
spans: {source: none}
"""
SERVICE = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer takes 40 ms
    def do_GET(self):
        time.sleep(float(sys.argv[2]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(SCENARIO)
    (tmp_path / "service.py").write_text(SERVICE)
    return tmp_path


def serving(delay_s: float) -> str:
    return f"{sys.executable} service.py {{port}} {delay_s}"


def test_a_slower_candidate_fails_the_build_and_leaves_the_proof(folder: Path) -> None:
    ended = harness(
        "ab", "tiny.yaml", "--a-cmd", serving(0.002), "--b-cmd", serving(0.03), "--pairs", "3", "--junit", "j.xml",
        "--accept-suspect", cwd=folder,
    )  # fmt: skip  # on a busy machine the generator is late now and then

    assert ended.code == 1, ended.stderr
    assert ended.stdout.startswith("FAILED: B is slower than A")
    stored = json.loads(next(folder.glob("runs/*-ab/ab.json")).read_text())
    assert [pair["order"] for pair in stored["pairs"]] == ["AB", "BA", "AB"]
    assert stored["verdict"] == "failed"
    assert {path.name for path in next(folder.glob("runs/*-ab")).iterdir()} >= {"report.md", "junit.xml", "runs"}
    assert len(list(folder.glob("runs/*-ab/runs/*"))) == 6
    assert "<failure" in (folder / "j.xml").read_text()


def test_a_candidate_that_does_not_start_is_named_with_its_last_words(folder: Path) -> None:
    dies = f"{sys.executable} -c 'raise SystemExit(\"no model {{port}}\")'"
    ended = harness("ab", "tiny.yaml", "--a-cmd", dies, "--b-cmd", serving(0.01), cwd=folder)

    assert ended.code == 2
    assert "before it was ready: no model" in ended.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--a and --a-cmd are both missing"),
        (("--a", "http://127.0.0.1:1"), "--b and --b-cmd are both missing"),
        (("--a", "x", "--b", "y"), "has no http:// or https:// in front"),
        (("--a-cmd", "sleep 1", "--b", "http://127.0.0.1:1"), "does not say where the port goes"),
        (("--a", "http://127.0.0.1:1", "--b", "http://127.0.0.1:1", "--allowed", "5"), "--allowed"),
        (("--a", "http://127.0.0.1:1", "--b", "http://127.0.0.1:1", "--rule-out", "1%"), "--rule-out is below"),
        (("--a", "http://127.0.0.1:1", "--b", "http://127.0.0.1:1", "--gate", "p59"), "is no metric"),
        (("--a", "http://127.0.0.1:1", "--b", "http://127.0.0.1:1", "--gate", "throughput"), "it cannot change"),
        (("--a", "http://127.0.0.1:1", "--b", "http://127.0.0.1:1", "--a-dir", "."), "--a-dir is where"),
        (("--a", "http://127.0.0.1:1", "--b", "http://127.0.0.1:1", "--ready", "/x"), "--ready is about a service"),
    ],
)
def test_a_wrong_flag_is_answered_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(folder)
    ended = CliRunner().invoke(command, ["tiny.yaml", *flags])

    assert isinstance(ended.exception, UsageError)
    assert said in ended.exception.message
    assert not (folder / "runs").exists()
