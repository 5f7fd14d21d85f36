"""The shell of every page: failures in one form, the chart library, the style sheet, the socket."""

from __future__ import annotations

import gzip
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from harness.commands import ui
from harness.dashboard import loading, server
from harness.errors import UsageError
from tests.dashboard_support import dashboard

RUN = "20261122T094451Z-demo"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    runs = tmp_path_factory.mktemp("runs")
    (runs / RUN).mkdir()
    with dashboard(runs) as client:
        yield client


def test_an_address_that_is_none_names_the_nearest(client: httpx.Client) -> None:
    answer = client.get("/capcity")

    assert answer.status_code == 404
    assert "/capacity" in answer.text


def test_a_run_that_is_none_names_the_nearest(client: httpx.Client) -> None:
    assert client.get(f"/runs/{RUN}x/nothing/at/all").text.count(RUN) >= 1


def test_the_api_says_what_went_wrong_as_json(client: httpx.Client) -> None:
    for path in ("/api/nothing", "/api/runs/none/charts/latency"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert set(answer.json()) == {"error", "hint"}


def test_a_parameter_of_the_wrong_kind_is_refused_in_words(client: httpx.Client) -> None:
    answer = client.get("/?at=first")

    assert answer.status_code == 400
    assert "valid integer" in answer.text


def test_every_page_carries_the_token_and_no_script_of_its_own(client: httpx.Client) -> None:
    text = client.get("/").text

    assert '<meta name="harness-token"' in text
    assert re.findall(r"<script(?![^>]* src=)", text) == []
    assert not re.search(r"<style|\son[a-z]+=", text)


def test_the_chart_library_is_sent_zipped_and_once(client: httpx.Client) -> None:
    first = client.get("/static/vega.js")

    assert first.headers["content-encoding"] == "gzip"
    assert "vegaEmbed" in first.text
    assert client.get("/static/vega.js", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    with client.stream("GET", "/static/vega.js", headers={"Accept-Encoding": "identity"}) as plain:
        assert "content-encoding" not in plain.headers
    assert len(gzip.compress(first.content)) < 400_000


def test_the_theme_follows_light_and_dark(client: httpx.Client) -> None:
    css = client.get("/static/theme.css").text

    assert "prefers-color-scheme: dark" in css
    assert css.count("--stage-inference:") >= 2


def test_prometheus_reads_the_metrics_without_a_token_on_loopback(client: httpx.Client) -> None:
    answer = client.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_page_that_cannot_be_loaded_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "PAGES", ("none_such",))
    with dashboard(tmp_path) as client:
        assert client.get("/live").status_code == 500
        assert client.get("/").status_code == 200
    assert "none_such" in capsys.readouterr().err


# --- the socket --------------------------------------------------------------------------------------------


def test_a_taken_port_is_refused_with_a_free_one_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError) as refused:
        server.listen("127.0.0.1", taken.getsockname()[1])

    free = int(re.findall(r"--port (\d+)", refused.value.hint or "")[0])
    server.listen("127.0.0.1", free).close()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.0.2.1", False), ("name.example", False), ("", False)],
)  # fmt: skip
def test_what_only_this_machine_can_reach(host: str, loopback: bool) -> None:
    assert server.is_loopback(host) is loopback


def test_a_dashboard_knows_its_names() -> None:
    assert server.names_of("192.0.2.1", ["Bench.Example."])[0] == "192.0.2.1"
    assert "bench.example" in server.names_of("192.0.2.1", ["Bench.Example."])
    assert {"127.0.0.1", "localhost", socket.gethostname().lower()} <= set(server.names_of("0.0.0.0"))
    assert server.names_of("::1")[0] == "[::1]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "others can reach"),
        (["--host", ""], "others can reach"),
        (["--host", "0.0.0.0", "--token", "short"], "guessed"),
        (["--token", "x" * 20, "--insecure"], "exclude"),
        (["--trace-link", "http://jaeger/trace"], "no link to a trace"),
        (["--trace-link", "javascript:{trace_id}"], "no link to a trace"),
        (["--scenarios", "/nowhere"], "no folder"),
        (["--name", "http://bench.example"], "no name of a host"),
        (["--name", "bench.example:8900"], "no name of a host"),
        (["/dev/null"], "no folder"),
    ],
)
def test_a_mistake_on_the_command_line_is_answered_at_once(arguments: list[str], said: str) -> None:
    ended = CliRunner().invoke(ui.command, [*arguments, "--port", "0"])

    assert isinstance(ended.exception, UsageError)
    assert said in ended.exception.message


def test_a_single_run_is_not_a_folder_of_runs(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    ended = CliRunner().invoke(ui.command, [str(tmp_path), "--port", "0"])

    assert isinstance(ended.exception, UsageError)
    assert str(tmp_path.parent) in (ended.exception.hint or "")


def test_a_folder_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "ci-runs").mkdir()
    ended = CliRunner().invoke(ui.command, [str(tmp_path / "ci-run"), "--port", "0"])

    assert isinstance(ended.exception, UsageError)
    assert "there is no folder" in ended.exception.message
    assert f"did you mean {tmp_path / 'ci-runs'}?" in (ended.exception.hint or "")
    assert "harness run SCENARIO --out" in (ended.exception.hint or "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly_with_exit_code_0_while_somebody_is_connected(tmp_path: Path, number: signal.Signals) -> None:
    code = """
import sys, harness.dashboard.app
assert not {"pandas", "altair", "vl_convert"} & set(sys.modules), "the first page would wait for them"
from harness.commands.ui import command; command()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert child.stdout is not None
        url = re.findall(r"http://\S+", child.stdout.readline())[0]
        with httpx.Client(base_url=url, timeout=20) as client:
            assert "No runs yet" in client.get("/").text
            child.send_signal(number)
            said = child.communicate(timeout=30)[1]
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 0
    assert "Traceback" not in said
