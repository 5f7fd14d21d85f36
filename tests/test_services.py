"""Starting and stopping the service under test: real child processes, none of which may be left."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError, Interrupted, UsageError
from harness.interrupt import Interrupt
from harness.services import Start, parse_command, running, service

PYTHON = shlex.quote(sys.executable)
HTTP = f"{PYTHON} -m http.server {{port}} --bind 127.0.0.1"
LISTENING = """
    import http.server, os, signal, subprocess, sys
    def serve(port):
        http.server.HTTPServer(("127.0.0.1", int(port)), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether the process ended: one that nobody collected has ended, too."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """Python text -> the command that runs it."""

    def write(text: str) -> str:
        path = tmp_path / "service.py"
        path.write_text(textwrap.dedent(LISTENING) + textwrap.dedent(text))
        return f"{PYTHON} {shlex.quote(str(path))} {{port}}"

    return write


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "service.log"


# --- the command -------------------------------------------------------------------------------------------


def test_leading_assignments_are_environment_and_the_port_goes_everywhere() -> None:
    parsed = parse_command("MODEL='tiny net' ADDRESS=127.0.0.1:{port} ./serve --port={port} A=1").with_port(81)

    assert parsed.environment == (("MODEL", "tiny net"), ("ADDRESS", "127.0.0.1:81"))
    assert parsed.words == ("./serve", "--port=81", "A=1")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("", "names no program"),
        ("PORT={port}", "names no program"),
        ("uvicorn app:app", "does not say where the port goes"),
        ("uvicorn 'app:app --port {port}", "a quote is not closed"),
        ("serve {port} \\", "cannot be read: no escaped character"),
        ("cd app && uvicorn app:app --port {port}", "uses '&&', which only a shell knows"),
        ("serve {port} > out.log", "uses '>', which only a shell knows"),
        ("serve\0 {port}", "NUL"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_with_a_hint(command: str, says: str) -> None:
    with pytest.raises(UsageError, match=r".") as caught:
        parse_command(command)

    assert says in caught.value.message
    assert caught.value.hint


@given(st.text(st.sampled_from("a= '\"\\{port}&;|\n\0é"), max_size=30))
def test_any_text_is_a_command_or_refused(text: str) -> None:
    try:
        parsed = parse_command(text)
    except UsageError as error:
        told = error.message.isprintable()
    else:
        told = len(parsed.words) > 0
    assert told


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("no-such-program-anywhere {port}", "is not found"),
        ("./missing {port}", "is not found"),
        ("./plain.txt {port}", "is not executable"),
        ("./unmarked.sh {port}", "cannot be started: exec format error"),
        ("~/serve {port}", "is not found"),
    ],
)
def test_a_program_that_cannot_be_started_is_refused(tmp_path: Path, log: Path, command: str, says: str) -> None:
    (tmp_path / "plain.txt").write_text("text")
    (tmp_path / "unmarked.sh").write_text("echo\n")
    (tmp_path / "unmarked.sh").chmod(0o755)

    with pytest.raises(UsageError) as caught, running(Start(command, cwd=tmp_path), log, Interrupt()):
        pass

    assert says in caught.value.message
    assert caught.value.hint


# --- ready -------------------------------------------------------------------------------------------------


def test_a_service_answers_while_it_runs_and_is_gone_afterwards(tmp_path: Path, log: Path) -> None:
    (tmp_path / "ok.txt").write_text("ready")

    with running(Start(HTTP, ready="/ok.txt", cwd=tmp_path), log, Interrupt()) as started:
        with urlopen(f"{started.target}/ok.txt") as answer:  # noqa: S310
            assert answer.read() == b"ready"
        assert started.died() is None

    assert gone(started.pid)
    assert started.ended == "the service was ended by SIGTERM"
    assert "GET /ok.txt" in log.read_text()


def test_the_environment_has_the_port_and_what_the_command_sets_wins(tmp_path: Path, log: Path) -> None:
    show = f'{PYTHON} -c \'import os; print(*map(os.environ.get, ("PORT", "NAME", "OTHER")), "{{port}}")\''

    with (
        pytest.raises(HarnessError, match="ended with exit code 0"),
        running(Start(f"NAME=mine {show}"), log, Interrupt(), {"NAME": "theirs", "OTHER": "theirs"}),
    ):
        pass

    port, name, other, placed = log.read_text().split()
    assert (name, other) == ("mine", "theirs")
    assert port == placed


def test_a_service_that_dies_at_once_is_told_with_its_last_words(script: Callable[[str], str], log: Path) -> None:
    start = Start(script("sys.exit('no model in /models')"))

    says = "ended with exit code 1 before it was ready: no model in /models"
    with pytest.raises(HarnessError, match=says) as caught, running(start, log, Interrupt()):
        pass

    assert str(log) in (caught.value.hint or "")


def test_a_service_that_never_listens_is_stopped_and_told(script: Callable[[str], str], log: Path) -> None:
    start = Start(script("print(os.getpid(), flush=True); import time; time.sleep(60)"), ready_within_s=1.0)

    with (
        pytest.raises(HarnessError, match="not ready within 1 s: nothing listens on"),
        running(start, log, Interrupt()),
    ):
        pass

    assert gone(int(log.read_text()))


def test_a_service_that_never_says_it_is_ready_is_told_with_its_answer(log: Path) -> None:
    start = Start(HTTP, ready="/readyz", ready_within_s=1.0)

    with pytest.raises(HarnessError, match="GET /readyz answers 404"), running(start, log, Interrupt()):
        pass


@pytest.mark.parametrize(
    ("start", "says"), [(Start(HTTP, ready="readyz"), "is no path"), (Start(HTTP, cwd=Path("nowhere")), "is not there")]
)
def test_a_path_or_folder_that_is_none_is_refused(log: Path, start: Start, says: str) -> None:
    with pytest.raises(UsageError, match=says), running(start, log, Interrupt()):
        pass


def test_an_interrupt_ends_the_wait(script: Callable[[str], str], log: Path) -> None:
    interrupt = Interrupt()
    interrupt.presses = 1

    with pytest.raises(Interrupted), running(Start(script("import time; time.sleep(60)")), log, interrupt):
        pass


def test_a_port_that_was_taken_in_between_is_replaced_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Path
) -> None:
    (tmp_path / "ours.txt").touch()
    with running(Start(HTTP, cwd=tmp_path.parent), log, Interrupt()) as stranger:
        taken, free = int(stranger.target.rpartition(":")[2]), service._free_port()
        ports = iter([taken, free])
        monkeypatch.setattr(service, "_free_port", lambda: next(ports))
        start = Start(HTTP, ready="/ours.txt", cwd=tmp_path)
        with running(start, log.with_name("second.log"), Interrupt()) as ours:
            assert ours.target == f"http://127.0.0.1:{free}"


def test_a_port_that_a_connection_came_to_use_is_replaced_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        ports = iter([client.getsockname()[1], service._free_port()])
        monkeypatch.setattr(service, "_free_port", lambda: next(ports))
        with running(Start(HTTP, cwd=tmp_path), log, Interrupt()) as ours:
            assert ours.died() is None


def test_a_port_that_is_taken_again_is_told(monkeypatch: pytest.MonkeyPatch, log: Path) -> None:
    with running(Start(HTTP), log, Interrupt()) as stranger:
        monkeypatch.setattr(service, "_free_port", lambda: int(stranger.target.rpartition(":")[2]))
        second = running(Start(HTTP, ready="/ours.txt"), log.with_name("second.log"), Interrupt())
        with pytest.raises(HarnessError, match="Address already in use"), second:
            pass


# --- the end -----------------------------------------------------------------------------------------------


def test_a_service_that_dies_during_the_run_is_told(script: Callable[[str], str], log: Path) -> None:
    dies = script("""
        class Dying(http.server.SimpleHTTPRequestHandler):
            def do_GET(self):
                print("out of memory", file=sys.stderr, flush=True)
                os._exit(7)
        http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Dying).serve_forever()
    """)

    with running(Start(dies), log, Interrupt()) as started:
        with pytest.raises(OSError, match=r"."):
            urlopen(started.target)  # noqa: S310
        assert gone(started.pid)
        assert started.died() == "the service ended with exit code 7 during the run: out of memory"

    assert started.died() == started.ended == "the service ended with exit code 7 during the run: out of memory"


def test_a_service_that_ignores_sigterm_is_killed(
    monkeypatch: pytest.MonkeyPatch, script: Callable[[str], str], log: Path
) -> None:
    monkeypatch.setattr(service, "STOP_WITHIN_S", 0.3)
    start = Start(script("signal.signal(signal.SIGTERM, signal.SIG_IGN); serve(sys.argv[1])"))

    with running(start, log, Interrupt()) as started:
        pass

    assert gone(started.pid, 1.0)
    assert started.ended == "the service was ended by SIGKILL, not having ended within 0.3 s"


def test_pressing_twice_does_not_wait_for_the_service(script: Callable[[str], str], log: Path) -> None:
    interrupt = Interrupt()
    before = time.monotonic()

    with running(Start(script("signal.signal(15, signal.SIG_IGN); serve(sys.argv[1])")), log, interrupt) as started:
        interrupt.presses = 2

    assert gone(started.pid, 1.0)
    assert time.monotonic() - before < service.STOP_WITHIN_S


def test_what_the_service_started_ends_with_it(script: Callable[[str], str], log: Path) -> None:
    start = Start(
        script("""
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            print(child.pid, flush=True)
            serve(sys.argv[1])
        """)
    )

    with running(start, log, Interrupt()):
        grandchild = int(log.read_text().split()[0])
        assert not gone(grandchild, 0.1)

    assert gone(grandchild, 1.0)


def test_the_service_dies_with_us_even_when_we_are_killed(tmp_path: Path, log: Path) -> None:
    us = tmp_path / "us.py"
    us.write_text(
        "import sys, time; from pathlib import Path\n"
        "from harness.interrupt import Interrupt; from harness.services import Start, running\n"
        "with running(Start(sys.argv[1]), Path(sys.argv[2]), Interrupt()) as started:\n"
        "    print(started.pid, flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, str(us), HTTP, str(log)]
    environ = {**os.environ, "PYTHONPATH": str(Path(service.__file__).parents[2])}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)

    assert gone(pid)
