"""What may be started from a page: the scenarios below one folder, and what the fields of the form make of them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError, nearest
from harness.model import Scenario
from harness.report import plan_text
from harness.scenario import Overrides, Plan, load_scenario, plan

_SUFFIXES = (".yaml", ".yml")
_DEEPEST, _MOST_FOLDERS, _MOST_SCENARIOS = 4, 500, 50
_PASSED_OVER = frozenset({"node_modules", "__pycache__", "site-packages", "venv", "runs"})
_LARGEST = 512 * 1024
_TARGET = re.compile(r"^(target|scenario)\s*:", re.MULTILINE)
_LOAD = re.compile(r"^(requests|users)\s*:", re.MULTILINE)
LABELS = {"target": "Target", "rate": "Rate", "users": "Users", "duration": "Duration", "warmup": "Warm-up"}
"""What the form calls the flags of `harness run`."""
_FLAG = re.compile(rf"(?<![\w'=-])--({'|'.join(LABELS)})\b")
_WITH_FLAG = re.compile(rf"\bwith {_FLAG.pattern}(?! \S*[:/\d])")
LONGEST = 300  # characters of a field


@dataclass(frozen=True, slots=True)
class Wanted:
    """The form: a scenario by its path below the folder, and what replaces parts of it. Empty fields leave it."""

    scenario: str
    target: str = ""
    rate: str = ""
    users: str = ""
    duration: str = ""
    warmup: str = ""

    @property
    def overrides(self) -> dict[str, Any]:
        """The flags of `harness run` that are given, without their dashes."""
        named = {each.name: getattr(self, each.name).strip() for each in fields(self) if each.name != "scenario"}
        return {name: text for name, text in named.items() if text}


@dataclass(frozen=True, slots=True)
class Ready:
    """A run that could be started. `line` says what it would do; `elsewhere` is the host when it is not this one."""

    path: Path
    scenario: Scenario
    line: str
    elsewhere: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """A scenario that was found. `wrong` says why it cannot be run as it is written."""

    name: str
    line: str
    target: str
    closed: bool
    wrong: str | None = None


def of_the_form(said: str) -> str:
    """A sentence about flags, as one about the fields that stand for them."""
    said = _WITH_FLAG.sub(lambda found: f"in the field {LABELS[found[1]]}", said)
    return _FLAG.sub(lambda found: LABELS[found[1]], said)


def choices(folder: Path) -> tuple[Choice, ...]:
    """The scenarios below the folder, by name. Files that are no scenarios are left out."""
    return tuple(_choice(folder, name) for name in _names(folder))


def ready(folder: Path, wanted: Wanted) -> Ready:
    """Read and check what is wanted, as `harness run` would. Raises HarnessError in the words of the form."""
    path = _path_of(folder, wanted.scenario)
    try:
        scenario = load_scenario(path, Overrides(**wanted.overrides))
        planned = plan(scenario)
    except HarnessError as error:
        raise UsageError(of_the_form(error.message), error.hint and of_the_form(error.hint)) from error
    return Ready(path, scenario, _line(scenario, planned), None if planned.loopback else planned.host)


def _choice(folder: Path, name: str) -> Choice:
    try:
        found = ready(folder, Wanted(name))
    except HarnessError as error:
        return Choice(name, "", "", False, error.message.replace(f"{folder.resolve()}{os.sep}", ""))
    return Choice(name, found.line, found.scenario.target, found.scenario.load.arrivals.value == "users")


def _line(scenario: Scenario, planned: Plan) -> str:
    """One line; that it goes to another host is said apart."""
    return plan_text.headline(scenario, planned).partition("\n")[0]


def _path_of(folder: Path, name: str) -> Path:
    """The file of a scenario below the folder. Raises UsageError for a name that leads elsewhere."""
    refused = UsageError(f"there is no scenario '{name[:80]}' here", nearest(name[:200], _names(folder)))
    if "\0" in name or not name.endswith(_SUFFIXES):
        raise refused
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise refused
    except OSError:
        raise refused from None
    return path


def _names(folder: Path) -> list[str]:
    """Paths below the folder; neither hidden folders nor links to others are followed."""
    found: list[str] = []
    for number, (place, below, files) in enumerate(os.walk(folder)):
        here = Path(place)
        depth = len(here.relative_to(folder).parts)
        below[:] = (
            sorted(n for n in below if not n.startswith(".") and n not in _PASSED_OVER) if depth < _DEEPEST else []
        )
        found += [str((here / n).relative_to(folder)) for n in files if n.endswith(_SUFFIXES) and _is_one(here / n)]
        if number >= _MOST_FOLDERS or len(found) >= _MOST_SCENARIOS:
            break
    return sorted(name for name in found if _is_inside(folder, name))[:_MOST_SCENARIOS]


def _is_inside(folder: Path, name: str) -> bool:
    try:
        return (folder / name).resolve().is_relative_to(folder.resolve())
    except OSError:
        return False


def _is_one(path: Path) -> bool:
    """Whether a YAML file looks like a scenario."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return False
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return bool(_TARGET.search(text) and _LOAD.search(text))
