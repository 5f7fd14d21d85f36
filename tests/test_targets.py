"""Targets that are down, broken or hostile: the run ends by itself, says so in one line, with the right exit code."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.cli import Ended, begin, end, harness
from tests.conftest import free_port

SCENARIO = """
scenario: hostile
target: {target}
requests:
  - {{name: post, http: POST /predict, json: {{x: 1}}, timeout: 500ms}}
load: {{arrivals: constant, rate: 10/s, warmup: 0s, duration: 2s, drain: 2s}}
spans: {{source: server-timing}}
"""


def answers_500(connection: socket.socket) -> None:
    while connection.recv(65536):
        connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\nno")


def hangs(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def resets(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def speaks_garbage(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x00\xff SSH-2.0 what? \r\n\r\n" * 20)


TARGETS: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "500": (answers_500, "status 500"),
    "hang": (hangs, "timeout"),
    "reset": (resets, "connection reset"),
    "garbage": (speaks_garbage, "not HTTP"),
}


@contextmanager
def serving(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                behave(self.request)
            except OSError:
                pass
            finally:
                self.request.close()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def written(folder: Path, target: str) -> Path:
    path = folder / "hostile.yaml"
    path.write_text(SCENARIO.format(target=target))
    return path


@pytest.fixture(scope="module")
def hostile_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ended, dict[str, object]]]:
    """One short run against each hostile target, side by side."""
    with ExitStack() as servers:
        children = {}
        for name, (behave, _) in TARGETS.items():
            folder = tmp_path_factory.mktemp(name)
            target = servers.enter_context(serving(behave))
            children[name] = begin("run", written(folder, target), cwd=folder), folder
        found = {}
        for name, (child, folder) in children.items():
            ended = end(child)
            (summary,) = folder.glob("runs/*/summary.json")
            found[name] = ended, json.loads(summary.read_text())
        return found


@pytest.mark.parametrize("name", TARGETS)
def test_a_hostile_target_is_counted_named_and_not_passed(
    hostile_runs: dict[str, tuple[Ended, dict[str, object]]], name: str
) -> None:
    ended, summary = hostile_runs[name]
    counts = summary["counts"]

    assert ended.code == 3
    assert summary["verdict"] == "not_enough_data"
    assert isinstance(counts, dict)
    assert (counts["ok"], counts["failed"] + counts["censored"]) == (0, 20)
    assert next(iter(counts["errors"])).startswith(TARGETS[name][1])
    assert "no request was answered as expected" in ended.stdout
    assert "Traceback" not in ended.stderr


def test_a_target_that_is_down_is_one_line_and_a_hint(tmp_path: Path) -> None:
    target = f"http://127.0.0.1:{free_port()}"

    ended = harness("run", written(tmp_path, target), cwd=tmp_path)

    assert ended.code == 3
    assert ended.stdout == ""
    assert ended.stderr.splitlines()[-2:] == [
        f"error: nothing answers at {target}: connection refused",
        "hint: start the service, or give its address with --target",
    ]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        (("timeout: 500ms", "timeuot: 500ms"), 5, "did you mean 'timeout'?"),
        (("json: {x: 1}", "files: {image: nowhere/*.jpg}"), 5, "nowhere/*.jpg"),
        (("rate: 10/s", "rate: fast"), 6, "'fast' is not a rate"),
    ],
)
def test_a_mistake_in_the_scenario_names_file_and_line(
    tmp_path: Path, change: tuple[str, str], line: int, said: str
) -> None:
    path = written(tmp_path, "http://127.0.0.1:1")
    path.write_text(path.read_text().replace(*change))

    ended = harness("run", path, cwd=tmp_path)

    assert ended.code == 2
    assert f"hostile.yaml:{line}: " in ended.stderr
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run",), "Missing argument 'SCENARIO'"),
        (("run", "x.yaml", "--rtae", "5/s"), "--rate"),
        (("rnu",), "No such command 'rnu'"),
        (("run", "missing.yaml"), "does not exist"),
        (("report", "missing"), "does not exist"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_a_hint(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    ended = harness(*arguments, cwd=tmp_path)

    assert ended.code == 2
    assert said in ended.stderr
    assert ended.stderr.startswith("error: ")
    assert "hint: " in ended.stderr


def test_a_taken_port_for_spans_names_a_free_one(tmp_path: Path) -> None:
    with serving(hangs) as target, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = written(tmp_path, target)
        path.write_text(path.read_text().replace("{source: server-timing}", f"{{listen: 127.0.0.1:{port}}}"))

        ended = harness("run", path, cwd=tmp_path)

    assert ended.code == 2
    assert f"127.0.0.1:{port} is taken" in ended.stderr
    assert "is free" in ended.stderr
