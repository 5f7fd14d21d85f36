"""The real sample service as a child process on a free port."""

from __future__ import annotations

import atexit
import functools
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
READY = "sample service ready on "


@contextmanager
def start_sample_service(env: Mapping[str, str] | None = None) -> Iterator[str]:
    """The base URL of a sample service that is ready; it is stopped at the end. `env` is added to the environment."""
    command = [sys.executable, "-m", "sample_service", "--port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            line = _first_line(process, within_s=60)
            if not line.startswith(READY):
                process.kill()
                log.seek(0)
                raise AssertionError(f"the sample service did not start: {line!r}\n{log.read()}")
            yield line.removeprefix(READY).strip()
        finally:
            _stop(process)


@functools.cache
def shared_sample_service() -> str:
    """The base URL of one sample service with two reader threads, started at first use and stopped at exit."""
    running = ExitStack()
    url = running.enter_context(start_sample_service({"READER_THREADS": "2"}))
    atexit.register(running.close)
    return url


def _first_line(process: subprocess.Popen[str], within_s: float) -> str:
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    reader = threading.Thread(target=lambda stream: lines.put(stream.readline()), args=(process.stdout,), daemon=True)
    reader.start()
    try:
        return lines.get(timeout=within_s)
    except queue.Empty:
        process.kill()
        return "(nothing within a minute)"


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()
