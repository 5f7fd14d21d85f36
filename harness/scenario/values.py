"""Tree nodes -> typed values; each reader names what it was reading in its refusal."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from harness.errors import HarnessError, ScenarioError, nearest
from harness.scenario.document import Block, Entry, Items, Node, Scalar
from harness.units import quoted

_Value = TypeVar("_Value")

_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}$]*))?\}|\$\{")
_NULLS = ("", "~", "null", "Null", "NULL")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 100


def fields_of(
    node: Node, what: str, known: Collection[str], later: Mapping[str, str] | None = None
) -> dict[str, Entry]:
    """The entries of a block by key. `later` are keys that are refused with what works instead."""
    entries = entries_of(node, what)
    for entry in entries:
        if entry.key in (later or {}):
            raise ScenarioError(f"'{entry.key}' in {what} is not supported yet", (later or {})[entry.key], entry.where)
        if entry.key not in known:
            raise ScenarioError(f"unknown key {quoted(entry.key)} in {what}", nearest(entry.key, known), entry.where)
    return {entry.key: entry for entry in entries}


def entries_of(node: Node, what: str) -> tuple[Entry, ...]:
    """The entries of a block, whatever their keys."""
    if not isinstance(node, Block):
        raise ScenarioError(f"{what} should be `key: value` lines, but is {_kind(node)}", _SHAPE_HINT, node.where)
    return node.entries


def items_of(node: Node, what: str) -> tuple[Node, ...]:
    """The items of a list that is not empty."""
    if not isinstance(node, Items):
        raise ScenarioError(f"{what} should be a list, but is {_kind(node)}", _LIST_HINT, node.where)
    if not node.nodes:
        raise ScenarioError(f"{what} is an empty list", "give at least one, or leave the key out", node.where)
    return node.nodes


def one_or_more(node: Node, what: str) -> tuple[Node, ...]:
    """The items of a list, or the value itself as the only one."""
    return items_of(node, what) if isinstance(node, Items) else (node,)


def text_of(node: Node, what: str, *, empty: bool = False) -> str:
    """The text as written (`no` stays "no"), with `${NAME}` and `${NAME:-default}` replaced, `$$` made `$`."""
    if not isinstance(node, Scalar):
        raise ScenarioError(f"{what} should be a single value, but is {_kind(node)}", _SINGLE_HINT, node.where)
    text = _expanded(node, what)
    if not empty and (not text.strip() or (node.plain and text in _NULLS)):
        raise ScenarioError(f"{what} has no value", "write one, or leave the key out", node.where)
    return text


def adds_nothing(node: Node, text: str) -> bool:
    """Whether `text`, the value of `node`, holds variables and all of them are empty: "Bearer ${TOKEN:-}"."""
    if not isinstance(node, Scalar) or node.environ is None or "${" not in node.raw:
        return False
    return text == _VARIABLE.sub(lambda match: "$" if match[0] == "$$" else "", node.raw)


def parsed(node: Node, what: str, parse: Callable[[str], _Value]) -> _Value:
    """The text through a parser whose HarnessError is given the place it lacks; "" when it names its subject."""
    text = text_of(node, what)
    try:
        return parse(text)
    except HarnessError as error:
        # A flag is named by its place; everything else is named here.
        message = error.message if node.where.startswith("--") or not what else f"{what}: {error.message}"
        raise ScenarioError(message, error.hint, node.where) from None


def choice_of(node: Node, what: str, valid: Collection[str], later: Mapping[str, str] | None = None) -> str:
    """One of a few words. `later` are words that are refused with what works instead."""
    word = text_of(node, what)
    if word in (later or {}):
        raise ScenarioError(f"{what} {quoted(word)} is not supported yet", (later or {})[word], node.where)
    if word not in valid:
        raise ScenarioError(f"{what} cannot be {quoted(word)}", nearest(word, valid), node.where)
    return word


def number_of(node: Node, what: str, example: str) -> float:
    """A finite number without a unit."""
    text = text_of(node, what).strip()
    number = float(text) if len(text) <= _LONGEST_NUMBER and _DECIMAL.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ScenarioError(
            f"{what} should be a number, not {quoted(text)}", f"write a number such as {example}", node.where
        )
    return number


def whole_of(node: Node, what: str, low: int, high: int, example: str) -> int:
    """A whole number in [low, high]."""
    text = text_of(node, what).strip()
    number = int(text) if len(text) <= _LONGEST_NUMBER and _INTEGER.fullmatch(text) else None
    if number is None or not low <= number <= high:
        problem = f"{what} should be a whole number from {low} to {high}, not {quoted(text)}"
        raise ScenarioError(problem, f"write {example} for example", node.where)
    return number


def json_of(node: Node, what: str) -> object:
    """A JSON value: numbers, true, false and null are taken as such unless quoted; dates and `no` stay text."""
    if isinstance(node, Block):
        return {entry.key: json_of(entry.node, what) for entry in node.entries}
    if isinstance(node, Items):
        return [json_of(item, what) for item in node.nodes]
    text = text_of(node, what, empty=True)
    return _plain_value(text, node.where, what) if node.plain else text


def _plain_value(text: str, where: str, what: str) -> object:
    if text in _NULLS:
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if not _DECIMAL.fullmatch(text):
        return text
    number: float | None = None
    if len(text) <= _LONGEST_NUMBER:
        number = int(text) if _INTEGER.fullmatch(text) else float(text)
    if number is None or math.isinf(number):
        raise ScenarioError(f"{what}: number {quoted(text, 30)} is too large", "put it in quotes to send text", where)
    return number


def _expanded(node: Scalar, what: str) -> str:
    environ = node.environ
    text = node.raw if environ is None else _VARIABLE.sub(lambda m: _variable(m, environ, node, what), node.raw)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ScenarioError(f"{what} is not text that UTF-8 can carry", "remove the stray bytes", node.where) from None
    return text


def _variable(match: re.Match[str], environ: Mapping[str, str], node: Scalar, what: str) -> str:
    name, default = match[1], match[2]
    if match[0] == "$$":
        return "$"
    if name is None:
        problem = f"{what}: the variable at {quoted(node.raw[match.start() :], 30)} cannot be read"
        raise ScenarioError(problem, "write ${NAME} or ${NAME:-default}; $${ is a literal ${", node.where)
    found = environ.get(name)
    if default is not None:
        return found or default
    if found is None:
        hint = f"set it, or give a default: ${{{name}:-value}}"
        raise ScenarioError(f"{what}: the environment variable {name} is not set", hint, node.where)
    return found


_SHAPE_HINT = "indent `key: value` lines below it, or write {key: value}"
_SINGLE_HINT = "write one value; put it in quotes if it contains ': ' or starts with a bracket"
_LIST_HINT = "write [a, b], or one line each that starts with a dash"


def _kind(node: Node) -> str:
    if isinstance(node, Block):
        return "`key: value` lines"
    if isinstance(node, Items):
        return "a list"
    return "empty" if node.plain and node.raw in _NULLS else f"the single value {quoted(node.raw, 30)}"
