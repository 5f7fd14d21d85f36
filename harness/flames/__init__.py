"""Flame graphs: where the mean request spends its time by the spans, and where Python code did by its call profiles."""

from __future__ import annotations

from harness.flames.profiles import FOLDER as FOLDER
from harness.flames.profiles import call_profiles as call_profiles
from harness.flames.spans import span_flames as span_flames
