"""YAML text -> a tree that knows the line of every key and value, and nothing of scenarios.

Only plain YAML is taken: no tags (so nothing is ever constructed), bounded depth, aliases and size, no key twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from harness.errors import ScenarioError
from harness.units import quoted

MAX_DEPTH = 30
MAX_ALIASES = 100
MAX_NODES = 50_000
EMPTY_HINT = "a first one: target: http://127.0.0.1:8000, requests: [{http: GET /}], load: {rate: 4/s}, one a line"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value as written. `environ` is what `${NAME}` is looked up in; None leaves `$` alone."""

    raw: str
    where: str  # "file:line", or the flag it came from
    plain: bool = True  # not in quotes, so it may be a number, true or null
    start: int = 0  # characters of the text it was read from
    end: int = 0
    environ: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    nodes: tuple[Node, ...]
    where: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key: value` of a block."""

    key: str
    where: str
    node: Node


@dataclass(frozen=True, slots=True)
class Block:
    """`key: value` lines, no key twice."""

    entries: tuple[Entry, ...]
    where: str


Node = Scalar | Items | Block


def parse_document(text: str, shown: str, environ: Mapping[str, str]) -> Node:
    """The tree of a YAML text. `shown` is the file name for messages. Raises ScenarioError."""
    try:
        loader = _BoundedLoader(text, shown)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, shown) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ScenarioError(
            f"character U+{_code(error.character):04X} is not allowed in YAML",
            "delete it, or save the file again as plain UTF-8 text",
            where=f"{shown}:{line}",
        ) from None
    if root is None:
        raise ScenarioError("the scenario is empty", EMPTY_HINT, where=shown)
    return _Converter(shown, environ).node(root, 0)


class _BoundedLoader(yaml.SafeLoader):
    """Composes nodes, refusing what a scenario never needs before it can cost time or memory."""

    def __init__(self, text: str, shown: str) -> None:
        super().__init__(text)
        self._shown = shown
        self._depth = 0
        self._aliases = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        where = f"{self._shown}:{event.start_mark.line + 1}"
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            tag = tag.replace("tag:yaml.org,2002:", "!!")
            raise ScenarioError(f"YAML tag {quoted(tag)} is not allowed", "write the value without a tag", where=where)
        self._aliases += isinstance(event, yaml.AliasEvent)
        if self._aliases > MAX_ALIASES:
            raise ScenarioError(f"more than {MAX_ALIASES} YAML aliases (*name)", "write the values out", where=where)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _too_large(where)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ScenarioError(
                f"nested more than {MAX_DEPTH} levels deep", "put it into a file: body: PATH", where=where
            )
        node: yaml.Node | None = super().compose_node(parent, index)  # type: ignore[arg-type]
        self._depth -= 1
        return node


@dataclass(slots=True)
class _Converter:
    shown: str
    environ: Mapping[str, str]
    nodes: int = 0

    def node(self, node: yaml.Node, depth: int) -> Node:
        self.nodes += 1
        where = f"{self.shown}:{node.start_mark.line + 1}"
        # Aliases make a small text a large tree, and a tree that holds itself an endless one.
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise _too_large(where)
        if isinstance(node, yaml.MappingNode):
            return Block(self._entries(node, depth), where)
        if isinstance(node, yaml.SequenceNode):
            return Items(tuple(self.node(item, depth + 1) for item in node.value), where)
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101 - there is no fourth kind
        return Scalar(
            node.value, where, not node.style, node.start_mark.index, node.end_mark.index, environ=self.environ
        )

    def _entries(self, node: yaml.MappingNode, depth: int) -> tuple[Entry, ...]:
        entries: dict[str, Entry] = {}
        for key_node, value in node.value:
            line = key_node.start_mark.line + 1
            where = f"{self.shown}:{line}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise ScenarioError("a key must be a single word", "write `key: value`", where=where)
            key = key_node.value
            if key == "<<" and not key_node.style:
                raise ScenarioError("merge keys (<<) are not supported", "write the keys out", where=where)
            if any("\ud800" <= character <= "\udfff" for character in key):
                raise ScenarioError(f"key {quoted(key)} is not text that UTF-8 can carry", "retype it", where=where)
            if key in entries:
                raise ScenarioError(
                    f"key {quoted(key)} is given twice (first on line {entries[key].where.rpartition(':')[2]})",
                    "keep one of the two",
                    where=where,
                )
            entries[key] = Entry(key, where, self.node(value, depth + 1))
        return tuple(entries.values())


def _syntax_error(error: yaml.MarkedYAMLError, text: str, shown: str) -> ScenarioError:
    mark = error.problem_mark or error.context_mark
    number = mark.line + 1 if mark else 1
    lines = text.splitlines()
    line = lines[number - 1] if number <= len(lines) else ""
    problem = (error.problem or error.context or "unreadable").replace("\n", " ")
    if "another document" in problem:
        problem, hint = "a second document starts here (---)", "keep one scenario in a file"
    elif "\t" in line[: len(line) - len(line.lstrip())] or r"'\t'" in problem:
        hint = "indent with spaces, not with tabs"
    elif "${" in line:
        hint = 'put a value with ${...} in quotes: "${NAME}"'
    elif problem.startswith("mapping values are not allowed"):
        hint = "a value that contains ': ' needs quotes, and keys of one block the same indentation"
    elif "found undefined alias" in problem:
        hint = "a value that starts with * needs quotes"
    else:
        hint = "check indentation, quotes and brackets on this line and the one before"
    return ScenarioError(f"this is not valid YAML: {problem}", hint, where=f"{shown}:{number}")


def _too_large(where: str) -> ScenarioError:
    problem = f"too large: more than {MAX_NODES:,} values or {MAX_DEPTH} levels, aliases (*name) written out"
    return ScenarioError(problem, "put large bodies into a file: body: PATH", where=where)


def _code(character: object) -> int:
    return ord(character) if isinstance(character, str) else int(str(character))
