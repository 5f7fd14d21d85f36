"""`harness demo`: the sample service under a short load, in one go."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HarnessError, Interrupted, UsageError
from harness.interrupt import Interrupt
from harness.load.drive import OnEvent
from harness.run import Outcome, execute
from harness.scenario import Overrides, load_scenario
from harness.spans import listen

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 5.0


def run_demo(parent: Path, on_event: OnEvent, interrupt: Interrupt, say: Callable[[str], None]) -> Outcome:
    """Start the sample service on a free port, run the demo scenario against it, stop it."""
    scenario_path = _scenario()
    listener = listen.bind("127.0.0.1:0")
    host, port = listener.getsockname()[:2]
    target = f"http://127.0.0.1:{_free_port()}"
    say(f"starting the sample service on {target} (real models: it takes a few seconds) ...")
    with _sample_service(target, f"http://{host}:{port}", parent, interrupt):
        scenario = load_scenario(scenario_path, Overrides(target=target))
        say("stressing it ...")
        return execute(scenario, parent, on_event, interrupt, listener)


def _scenario() -> Path:
    """demo.yaml: beside the package in a checkout, inside it when installed."""
    found = importlib.util.find_spec("sample_service")
    missing = [name for name in ("fastapi", "cv2", "onnxruntime", "rapidocr", "magika") if not _installed(name)]
    if found is None or found.origin is None or missing:
        raise UsageError("the sample service is not installed", "pip install 'ml-harness[run,sample]'")
    package = Path(found.origin).parent
    for folder in (package / "scenarios", package.parent / "scenarios"):
        if (folder / "demo.yaml").exists():
            return folder / "demo.yaml"
    raise UsageError("demo.yaml is not beside the sample service", "run from a complete checkout, or reinstall")


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def _sample_service(target: str, otlp: str, parent: Path, interrupt: Interrupt) -> Iterator[None]:
    port = target.rpartition(":")[2]
    log_path = parent / "sample-service.log"
    parent.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp, "OTEL_SERVICE_NAME": "sample-service"}
    with log_path.open("wb") as log:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "sample_service", "--host", "127.0.0.1", "--port", port],
            env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            _await_ready(child, f"{target}/readyz", log_path, interrupt)
            yield
        finally:
            child.terminate()
            try:
                child.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _await_ready(child: subprocess.Popen[bytes], url: str, log: Path, interrupt: Interrupt) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if interrupt.stop:
            raise Interrupted("interrupted while the sample service was starting")
        if child.poll() is not None:
            tail = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
            raise HarnessError(f"the sample service stopped: {tail[0]}", f"its whole output is in {log}")
        try:
            with urllib.request.urlopen(url, timeout=1.0):  # noqa: S310 - a loopback http address made above
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise HarnessError(f"the sample service was not ready within {READY_WITHIN_S:.0f} s", f"its output is in {log}")
