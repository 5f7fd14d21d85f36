"""Files a scenario names: the scenario itself, payloads, Python. Missing ones are refused with the nearest name."""

from __future__ import annotations

import difflib
import glob
import os
from pathlib import Path

from harness.errors import ScenarioError
from harness.scenario.document import Node
from harness.scenario.values import one_or_more, text_of
from harness.units import format_bytes, format_count, quoted

LARGEST_TEXT = 512 * 1024
MOST_PAYLOADS = 10_000


def read_text(path: Path, what: str, where: str | None = None, folder: Path | None = None) -> str:
    """The text of a file a person wrote, UTF-8. Raises ScenarioError.

    `where` and `folder` are set when a scenario names the file: its line, and the folder its paths start at.
    """
    _check_file(path, what, where, folder)
    name = f"{what} {quoted(_shown(path, folder))}"
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_TEXT + 1)
    except OSError as error:
        raise ScenarioError(f"{name} cannot be read: {error.strerror}", "check its permissions", where) from None
    if len(content) > LARGEST_TEXT:
        problem = f"{name} is larger than {format_bytes(LARGEST_TEXT)}"
        raise ScenarioError(problem, "put large bodies into files of their own: body: PATH", where)
    if b"\0" in content:
        raise ScenarioError(f"{name} is a binary file", "give the text file that describes the run", where)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ScenarioError(f"{name} is not UTF-8 text (line {line})", "save it again as UTF-8", where) from None


def payload_paths(node: Node, what: str, folder: Path) -> tuple[str, ...]:
    """Absolute paths of the files that a path, a glob or a list of them names, each once; a glob's are sorted."""
    found: dict[str, None] = {}
    for item in one_or_more(node, what):
        pattern = text_of(item, what).strip()
        found |= dict.fromkeys(_matches(pattern, what, folder, item.where))
        if len(found) > MOST_PAYLOADS:
            problem = f"{what}: {quoted(pattern)} matches more than {format_count(MOST_PAYLOADS)} files"
            raise ScenarioError(problem, "name a smaller folder", item.where)
    return tuple(found)


def _matches(pattern: str, what: str, folder: Path, where: str) -> list[str]:
    path = folder / pattern
    if not glob.has_magic(pattern) or _exists(path):  # a name may contain brackets
        _check_file(path, f"{what}: file", where, folder)
        if not os.access(path, os.R_OK):
            raise ScenarioError(f"{what}: file {quoted(pattern)} may not be read", "change its permissions", where)
        return [os.path.abspath(path)]
    matches: list[str] = []
    for match in glob.iglob(str(path), recursive=True):
        if os.path.isfile(match) and os.access(match, os.R_OK):
            matches.append(os.path.abspath(match))
        if len(matches) > MOST_PAYLOADS:
            break
    if not matches:
        hint = (
            f"paths start at the folder of the scenario, {os.path.abspath(folder)}; {_inventory(path.parent, folder)}"
        )
        raise ScenarioError(f"{what}: no file matches {quoted(pattern)}", hint, where)
    return sorted(matches)


def _check_file(path: Path, what: str, where: str | None, folder: Path | None) -> None:
    name = f"{what} {quoted(_shown(path, folder))}"
    if not _exists(path):
        raise ScenarioError(f"{name} does not exist", _nearest_file(path, folder), where)
    if path.is_dir():
        inside = sorted(_names(path), key=lambda own: not own.endswith((".yaml", ".yml")))
        hint = f"name a file in it, such as {_shown(path / inside[0], folder)}" if inside else "the folder is empty"
        raise ScenarioError(f"{name} is a folder", hint, where)
    if not path.is_file():
        raise ScenarioError(f"{name} is not a regular file", "copy its content into a file", where)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or a NUL in it
        return False


def _nearest_file(path: Path, folder: Path | None) -> str:
    names = _names(path.parent)
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {quoted(_shown(path.parent / close[0], folder), 200)}?"
    start = f"; paths start at the folder of the scenario, {os.path.abspath(folder)}" if folder else ""
    return f"{_inventory(path.parent, folder, path.suffix)}{start}"


def _inventory(directory: Path, folder: Path | None, suffix: str = "") -> str:
    """What a folder has to offer instead, in a few words."""
    if not _exists(directory):
        return f"there is no folder {quoted(_shown(directory, folder))}"
    names = [name for name in _names(directory) if name.endswith(suffix)]
    some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"folder {quoted(_shown(directory, folder))} has {some or 'no such file'}"


def _shown(path: Path, folder: Path | None) -> str:
    """The path as it would be written in the scenario, or on the command line."""
    return os.path.relpath(path, folder) if folder is not None and path.is_relative_to(folder) else str(path)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith("."))
    except (OSError, ValueError):
        return []
