"""`harness gate` called in this process, on no build server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.commands.gate import command
from harness.errors import HarnessError
from tests.stored_runs import CPU

SUSPECT = {"load": {"readings": [CPU | {"value": 0.9}]}}
INVALID = {"load": {"readings": [CPU | {"value": 0.99}]}}
"""Of run.json: a generator that was too busy."""

_NOWHERE = {"GITHUB_ACTIONS": None, "GITHUB_STEP_SUMMARY": None}


def gate(*arguments: Any) -> tuple[int, str]:
    """The exit code and what was printed. Raises what the command raises."""
    words = [str(argument) for argument in arguments]
    result: Result = CliRunner().invoke(command, words, standalone_mode=False, env=_NOWHERE)
    if result.exception is not None:
        raise result.exception
    return int(result.return_value), result.output


def refused(*arguments: Any) -> HarnessError:
    """The mistake that it was."""
    with pytest.raises(HarnessError) as refusal:
        gate(*arguments)
    return refusal.value


def summary(*arguments: Any) -> dict[str, Any]:
    """What --json prints."""
    content: dict[str, Any] = json.loads(gate(*arguments, "--json")[1])
    return content
