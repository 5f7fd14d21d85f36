"""Functions a scenario names, "checks.py:plausible": found by reading the source, never by importing it."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from harness.errors import ScenarioError, nearest
from harness.scenario.document import Node
from harness.scenario.python_source import syntax_tree
from harness.scenario.values import text_of
from harness.units import quoted


def function_named(node: Node, what: str, folder: Path, takes: str) -> str:
    """ "/absolute/checks.py:plausible", a function of one argument, which `takes` names. Raises ScenarioError."""
    text = text_of(node, what).strip()
    file, _, name = text.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise ScenarioError(f"{what} {quoted(text)} names no function", "write FILE.py:FUNCTION", node.where)
    path = folder / file
    tree = syntax_tree(path, node.where, folder)
    found = _bound_names(tree).get(name, _MISSING)
    if found is _MISSING:
        functions = [n for n, bound in _bound_names(tree).items() if isinstance(bound, ast.FunctionDef)]
        hint = nearest(name, functions) if functions else f"write def {name}({takes}): ... at its top level"
        raise ScenarioError(f"{what}: {quoted(file)} defines no function {quoted(name)}", hint, node.where)
    if isinstance(found, ast.ClassDef | ast.AsyncFunctionDef):
        kind = "a class" if isinstance(found, ast.ClassDef) else "async, and nothing would await it"
        raise ScenarioError(f"{what}: {quoted(name)} is {kind}", f"write def {name}({takes}): ...", node.where)
    if isinstance(found, ast.FunctionDef) and not _takes_one(found.args):
        problem = f"{what}: {quoted(name)} is called with one argument, and does not take just one"
        raise ScenarioError(problem, f"write def {name}({takes}): ...", f"{file}:{found.lineno}")
    return f"{os.path.abspath(path)}:{name}"


_MISSING = ast.Pass()


def _bound_names(tree: ast.Module) -> dict[str, ast.stmt]:
    """What the file calls by a name at its top level, also below `if` and `try`, by that name."""
    bound: dict[str, ast.stmt] = {}
    open_nodes: list[ast.AST] = list(tree.body)
    for node in open_nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound[node.name] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name.partition(".")[0]: node for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound |= {target.id: node for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.If | ast.Try | ast.ExceptHandler | ast.With):
            open_nodes.extend(child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))
    return bound


def _takes_one(arguments: ast.arguments) -> bool:
    positional = len(arguments.posonlyargs) + len(arguments.args)
    needed = positional - len(arguments.defaults)
    keywords_needed = any(default is None for default in arguments.kw_defaults)
    return needed <= 1 and (positional >= 1 or arguments.vararg is not None) and not keywords_needed
