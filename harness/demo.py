"""`harness demo`: the sample service under a short load, in one go."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from harness.errors import UsageError
from harness.interrupt import Interrupt
from harness.load.drive import OnEvent
from harness.run import Outcome, execute
from harness.scenario import Overrides, load_scenario
from harness.services import Start, running
from harness.spans import listen

SERVICE = Start(f"{shlex.quote(sys.executable)} -m sample_service --host 127.0.0.1 --port {{port}}", ready="/readyz")


def run_demo(parent: Path, on_event: OnEvent, interrupt: Interrupt, say: Callable[[str], None]) -> Outcome:
    """Start the sample service on a free port, run the demo scenario against it, stop it."""
    scenario_path = _scenario()
    listener = listen.bind("127.0.0.1:0")
    host, port = listener.getsockname()[:2]
    tell = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host}:{port}", "OTEL_SERVICE_NAME": "sample-service"}
    say("starting the sample service (real models: it takes a few seconds) ...")
    with running(SERVICE, parent / "sample-service.log", interrupt, tell) as service:
        scenario = load_scenario(scenario_path, Overrides(target=service.target))
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
