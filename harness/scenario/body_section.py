"""The body of a request: json, text, form, body, files or python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness.errors import ScenarioError
from harness.model import BodySpec
from harness.scenario.document import Entry, Node, Scalar
from harness.scenario.files import payload_paths
from harness.scenario.functions import function_named
from harness.scenario.values import entries_of, json_of, one_or_more, text_of
from harness.units import quoted

BODIES = ("json", "body", "form", "text", "files", "python")
Pairs = tuple[tuple[str, str], ...]


def read_body(fields: Mapping[str, Entry], what: str, folder: Path) -> BodySpec:
    """The body among the fields of a request. Raises ScenarioError, also for two bodies."""
    given = [key for key in BODIES if key in fields]
    if len(given) > 1 and set(given) != {"form", "files"}:
        hint = "keep one of them; only form: goes together with files:"
        raise ScenarioError(f"{what} has two bodies: {' and '.join(given)}", hint, fields[given[1]].where)
    if not given:
        return BodySpec()
    label = {key: f"{key} of {what}" for key in BODIES}
    return BodySpec(
        json=_json(fields["json"].node, label["json"]) if "json" in fields else None,
        text=text_of(fields["text"].node, label["text"], empty=True) if "text" in fields else None,
        form=read_pairs(fields.get("form"), label["form"]),
        body=payload_paths(fields["body"].node, label["body"], folder) if "body" in fields else (),
        files=tuple(
            (pair.key, payload_paths(pair.node, f"{quoted(pair.key)} in {label['files']}", folder))
            for pair in (entries_of(fields["files"].node, label["files"]) if "files" in fields else ())
        ),
        python=function_named(fields["python"].node, label["python"], folder, "rng") if "python" in fields else None,
    )


def read_pairs(entry: Entry | None, what: str) -> Pairs:
    """Names and texts as written; a list repeats the name."""
    if entry is None:
        return ()
    return tuple(
        (pair.key, text_of(value, f"{quoted(pair.key)} in {what}", empty=is_quoted(value)))
        for pair in entries_of(entry.node, what)
        for value in one_or_more(pair.node, f"{quoted(pair.key)} in {what}")
    )


def is_quoted(node: Node) -> bool:
    """Whether an empty value is meant: it is in quotes, or made of variables."""
    return isinstance(node, Scalar) and (not node.plain or "${" in node.raw)


def _json(node: Node, what: str) -> str:
    if isinstance(node, Scalar) and node.raw.lstrip()[:1] in ("{", "["):
        hint = "take the quotes away: YAML reads JSON as it is"
        raise ScenarioError(f"{what} is JSON inside a text, and would be sent as a text", hint, node.where)
    return json.dumps(json_of(node, what), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
