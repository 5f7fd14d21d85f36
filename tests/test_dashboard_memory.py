"""What the dashboard keeps of a large run when nobody looks at it any more."""

from __future__ import annotations

import subprocess
import sys

BEGINS = """
import harness.commands.ui, harness.dashboard.server
from harness.dashboard.memory import give_back_at_once

give_back_at_once()
import pyarrow
print(pyarrow.default_memory_pool().backend_name)
"""


def test_arrow_leaves_memory_to_the_system_because_nothing_imports_it_earlier() -> None:
    ended = subprocess.run([sys.executable, "-c", BEGINS], capture_output=True, text=True, check=True, timeout=60)

    assert ended.stdout.strip() == "system"
