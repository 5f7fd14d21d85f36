"""User classes named by a scenario, "path/flow.py:ReceiptUser" or "path/flow.py:Reader,Writer", imported in the load
process."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from locust import FastHttpUser, HttpUser, TaskSet, User
from locust.argument_parser import get_parser

from harness.errors import ScenarioError, nearest
from harness.load.python_file import imported
from harness.load.users import HarnessUser

UserClass = Any  # a type; Locust's metaclass is none that mypy knows
_KINDS: tuple[UserClass, ...] = (HarnessUser, HttpUser, FastHttpUser)


def import_users(named: str, closed: bool) -> list[UserClass]:
    """The classes. Raises ScenarioError when the file cannot be imported, has no such class, or the class cannot be
    run: under an open loop (not `closed`) an arrival runs one task of one class."""
    file, _, names = named.rpartition(":")
    module = imported(Path(file).absolute(), "users:")
    found = [_checked(module, file, name, closed) for name in names.split(",")]
    found = [user for user in found if user.weight or user.fixed_count] or found
    if len(found) > 1 and not closed:
        raise ScenarioError(
            f"{file} defines {len(found)} users: {', '.join(user.__name__ for user in found)}",
            f"say which one: {file}:{found[-1].__name__}, or run them together with --users 8",
        )
    return found


def options_of_file() -> Any:
    """What user code finds in `environment.parsed_options`: Locust's options and the file's own, all at their defaults
    or from their environment variables. Raises ScenarioError when the file's own cannot do without a command line."""
    try:
        return get_parser(default_config_files=[]).parse_args(args=[])
    except SystemExit:
        raise ScenarioError(
            "the Python file adds a command line option that has to be given",
            "give the option a default, or an environment variable (env_var=...)",
        ) from None


def kind_of(user: UserClass) -> str:
    """Which client it brings: HarnessUser, HttpUser or FastHttpUser."""
    return next(str(kind.__name__) for kind in _KINDS if issubclass(user, kind))


def _checked(module: ModuleType, file: str, name: str, closed: bool) -> UserClass:
    found: Any = getattr(module, name, None)
    if not isinstance(found, type):
        users = [n for n, v in vars(module).items() if inspect.isclass(v) and issubclass(v, User)]
        users = [n for n in users if n not in {kind.__name__ for kind in _KINDS}]
        raise ScenarioError(f"{file} has no class {name!r}", nearest(name, users) if users else None)
    kinds: tuple[Any, ...] = _KINDS
    if not issubclass(found, kinds):
        raise ScenarioError(
            f"class {name} in {file} is no HarnessUser, HttpUser or FastHttpUser",
            "derive it from harness.load.HarnessUser; the tasks can stay",
        )
    found = cast(Any, found)
    if found.abstract or not found.tasks:
        raise ScenarioError(f"class {name} in {file} has no tasks", "mark at least one method with @task")
    if not closed and any(inspect.isclass(task) and issubclass(task, TaskSet) for task in found.tasks):
        raise ScenarioError(
            f"class {name} in {file} has a TaskSet among its tasks",
            "an arrival runs one task: write @task methods on the user class itself, or run it with --users 8",
        )
    return found
