"""What the tests of `harness init` share: a folder to write into, and the command called in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.commands import init
from harness.errors import HarnessError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"jpeg")
    return tmp_path


def said(*arguments: str) -> Result:
    return CliRunner().invoke(init.command, list(arguments))


def refusal(*arguments: str) -> tuple[str, str]:
    error = said(*arguments).exception
    assert isinstance(error, HarnessError), error
    return error.message, error.hint or ""
