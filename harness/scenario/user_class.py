"""User classes that a scenario names, "flow.py:ReceiptUser" or several, "flow.py:Reader,Writer": found by reading the
source, never by importing it."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from harness.errors import ScenarioError, nearest
from harness.scenario.python_source import syntax_tree
from harness.units import quoted

BASE = "HarnessUser"
BASES = frozenset({BASE, "HttpUser", "FastHttpUser"})
"""Whose requests can be recorded: ours, and the two of Locust."""


def split_user(text: str) -> tuple[str, str | None]:
    """File and class of "flow.py:ReceiptUser"; the class is None when only a file is named."""
    file, colon, name = text.rpartition(":")
    return (file, name) if colon and file.endswith(".py") else (text, None)


def find_user(
    path: Path, name: str | None, where: str | None = None, folder: Path | None = None, *, several: bool = False
) -> str:
    """ "/absolute/flow.py:ReceiptUser". Without a name: the one user class of the file, or, if `several` may be run
    together, all of them, "/absolute/flow.py:Reader,Writer"; a name may list several, too."""
    classes = _classes(path, where, folder)
    bases = {own: names for own, (names, _) in classes.items()}
    users = [own for own, (_, abstract) in classes.items() if _is_user(own, bases) and not abstract]
    if name is None:
        return f"{os.path.abspath(path)}:{','.join(_all_users(path, users, where, several))}"
    names = [part.strip() for part in name.split(",")]
    for own in names:
        _check(own, path, bases, users, where)
    return f"{os.path.abspath(path)}:{','.join(names)}"


def _all_users(path: Path, users: list[str], where: str | None, several: bool) -> list[str]:
    if not users:
        hint = f"write class MyUser({BASE}): ... at the top level of the file"
        raise ScenarioError(f"{quoted(path)} defines no class derived from {BASE}", hint, where)
    if len(users) > 1 and not several:
        hint = f"say which one: {path}:{users[-1]}"
        raise ScenarioError(f"{quoted(path)} defines {len(users)} users: {', '.join(users)}", hint, where)
    return users


def _check(name: str, path: Path, bases: dict[str, list[str]], users: list[str], where: str | None) -> None:
    if name not in bases:
        hint = nearest(name, users or bases) if bases else "the file defines no class at its top level"
        raise ScenarioError(f"{quoted(path)} defines no class {quoted(name)}", hint, where)
    if not _is_user(name, bases) and not _imported_bases(name, bases):
        hint = f"write class {name}({BASE}): ..."
        raise ScenarioError(f"class {quoted(name)} in {quoted(path)} is not derived from {BASE}", hint, where)


def _classes(path: Path, where: str | None, folder: Path | None) -> dict[str, tuple[list[str], bool]]:
    """Base class names (import aliases undone) and `abstract = True`, of every class at the top level by its name."""
    tree = syntax_tree(path, where, folder)
    aliases = {
        alias.asname: alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    return {
        node.name: ([aliases.get(base, base) for base in map(_last_name, node.bases)], _is_abstract(node))
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


def _is_abstract(node: ast.ClassDef) -> bool:
    return any(ast.unparse(line) == "abstract = True" for line in node.body if isinstance(line, ast.Assign))


def _last_name(base: ast.expr) -> str:
    if isinstance(base, ast.Attribute):
        return base.attr
    return base.id if isinstance(base, ast.Name) else ""


def _ancestors(name: str, bases: dict[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    open_names = list(bases[name])
    while open_names:
        base = open_names.pop()
        if base not in seen:
            seen.add(base)
            open_names.extend(bases.get(base, ()))
    return seen


def _is_user(name: str, bases: dict[str, list[str]]) -> bool:
    return not BASES.isdisjoint(_ancestors(name, bases))


def _imported_bases(name: str, bases: dict[str, list[str]]) -> set[str]:
    """Bases the file does not define itself: they may be users for all the source tells."""
    return _ancestors(name, bases) - set(bases) - {"object"}
