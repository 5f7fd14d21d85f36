"""What goes inside the API under test: `instrument(app)` once, `stage("...")` around the parts that matter."""

from __future__ import annotations

from harness.instrument.install import instrument
from harness.instrument.marks import stage

__all__ = ["instrument", "stage"]
