"""Python files of the user's own, imported in the load process; functions in them, "/absolute/checks.py:plausible"."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import ScenarioError, nearest


@cache
def function_of(named: str) -> Callable[[Any], Any]:
    """The function. Raises ScenarioError when the file cannot be imported or has no such function."""
    file, _, name = named.rpartition(":")
    module = imported(Path(file), "python:")
    found = getattr(module, name, None)
    if not callable(found):
        functions = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise ScenarioError(f"{file} has no function {name!r}", nearest(name, functions) if functions else None)
    function: Callable[[Any], Any] = found
    return function


@cache
def imported(path: Path, key: str) -> ModuleType:
    """The module. Raises ScenarioError, which names the `key` of the scenario, when there is none or it breaks."""
    name = f"_harness_{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ScenarioError(f"no Python file {path}", f"check `{key}` in the scenario")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # so that it finds the modules beside it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # user code may do anything while it is imported
        traceback.print_exc()
        words = " ".join(str(error).split())[:200]
        hint = f"`python {path}` shows the same error"
        raise ScenarioError(f"cannot import it: {type(error).__name__}: {words}", hint, place_in(path, error)) from None
    return module


def place_in(path: Path, error: BaseException) -> str:
    """ "file:line" of the last line of this file that an exception came through; the file when there is none."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)
