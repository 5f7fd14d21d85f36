"""The sample service reports to nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_loading_the_models_leaves_no_telemetry_behind(tmp_path: Path) -> None:
    environ = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | {"HOME": str(tmp_path)}
    code = "from sample_service.models import load_models; load_models(1, 1)"

    subprocess.run([sys.executable, "-c", code], env=environ, check=True, cwd=Path(__file__).parent.parent)

    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
