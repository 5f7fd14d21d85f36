"""Python files a scenario names, read without being run."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path

from harness.errors import ScenarioError
from harness.scenario.files import read_text
from harness.units import quoted


def syntax_tree(path: Path, where: str | None, folder: Path | None) -> ast.Module:
    """The tree of a file that a scenario names. Raises ScenarioError; `where` and `folder` as for `read_text`."""
    source = read_text(path, "Python file", where, folder)
    try:
        with warnings.catch_warnings(action="ignore"):  # the file's own warnings are no concern of ours
            return ast.parse(source)
    except SyntaxError as error:
        hint = f"`python -m py_compile {path}` shows the place"
        raise ScenarioError(f"not valid Python: {error.msg}", hint, f"{path}:{error.lineno or 1}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ScenarioError(f"{quoted(path)} is not Python that can be read", None, where) from None
