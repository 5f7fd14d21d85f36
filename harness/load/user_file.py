"""A user class named by a scenario, "path/flow.py:ReceiptUser", imported in the load process."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType

from locust import TaskSet

from harness.errors import ScenarioError, nearest
from harness.load.users import HarnessUser


def import_user(named: str) -> type[HarnessUser]:
    """The class. Raises ScenarioError when the file cannot be imported or has no such class."""
    file, _, name = named.rpartition(":")
    module = _imported(Path(file).absolute())
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        users = [n for n, v in vars(module).items() if inspect.isclass(v) and issubclass(v, HarnessUser)]
        users = [n for n in users if n != "HarnessUser"]
        raise ScenarioError(f"{file} has no class {name!r}", nearest(name, users) if users else None)
    if not issubclass(found, HarnessUser):
        raise ScenarioError(
            f"class {name} in {file} is no HarnessUser", "derive it from harness.load.HarnessUser; the tasks can stay"
        )
    if found.abstract or not found.tasks:
        raise ScenarioError(f"class {name} in {file} has no tasks", "mark at least one method with @task")
    if any(inspect.isclass(task) and issubclass(task, TaskSet) for task in found.tasks):
        raise ScenarioError(
            f"class {name} in {file} has a TaskSet among its tasks",
            "an arrival runs one task: write @task methods on the user class itself",
        )
    return found


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_harness_users_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ScenarioError(f"no Python file {path}", "check `users:` in the scenario")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))  # so that it finds the modules beside it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # user code may do anything while it is imported
        traceback.print_exc()
        line = _line_in(path, error)
        where = f"{path}:{line}" if line else str(path)
        words = " ".join(str(error).split())[:200]
        raise ScenarioError(
            f"cannot import it: {type(error).__name__}: {words}", f"`python {path}` shows the same error", where
        ) from None
    return module


def _line_in(path: Path, error: BaseException) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return lines[-1] if lines else None
