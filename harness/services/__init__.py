"""The service under test, started and stopped by a command."""

from __future__ import annotations

from harness.services.command import Parsed, Start, parse_command
from harness.services.service import Service, running
from harness.services.span_port import span_port

__all__ = ["Parsed", "Service", "Start", "parse_command", "running", "span_port"]
