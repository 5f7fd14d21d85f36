"""summary.json: a Summary as JSON and back, without loss.

Keys are the names of the dataclass fields, durations are seconds. Pairs of (unique name, value) become an object in
the same order; `stages` is an object keyed by stage name. A number that is not finite has no place in JSON: it is
null.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from enum import Enum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.errors import RunFolderError
from harness.findings import Summary

_SUMMARY = TypeAdapter(Summary)


def render(summary: Summary) -> str:
    """The JSON text, indented, with a newline at its end."""
    plain = _plain(Summary, summary)
    plain["stages"] = {stage.pop("stage"): stage for stage in plain["stages"]}
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # an unpaired surrogate in a damaged name can only be written escaped
        text = json.dumps(plain, indent=2, allow_nan=False)
    return text + "\n"


def parse(text: str) -> Summary:
    """The Summary that `render` wrote. Raises RunFolderError when the text is anything else."""
    try:
        plain = json.loads(text, parse_constant=_refuse_constant)
        plain["stages"] = [{"stage": name, **stage} for name, stage in plain["stages"].items()]
        plain["sentences"] = [{"text": s} if isinstance(s, str) else s for s in plain["sentences"]]  # as once written
        return _SUMMARY.validate_python(_pairs(Summary, plain))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as e:
        raise RunFolderError(
            f"this is not a summary.json of this version: {_first_line(e)}",
            "write it again from the stored run with `harness report`",
        ) from e


def schema() -> dict[str, Any]:
    """The JSON schema of what `render` writes; the committed schema file is a copy of it."""
    made: dict[str, Any] = _SUMMARY.json_schema(mode="serialization")
    definitions = made.pop("$defs")
    for definition in (made, *definitions.values()):
        definition.pop("title", None)
        for name, field in definition.get("properties", {}).items():
            field.pop("title", None)
            definition["properties"][name] = _pairs_schema(field)
    stage = definitions["StageFindings"]
    del stage["properties"]["stage"]
    stage["required"].remove("stage")
    made["properties"]["stages"] = {"type": "object", "additionalProperties": {"$ref": "#/$defs/StageFindings"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "summary.json of a harness run",
        **made,
        "$defs": definitions,
    }


def _pairs_schema(field: dict[str, Any]) -> dict[str, Any]:
    members = field.get("items", {}).get("prefixItems") if isinstance(field.get("items"), dict) else None
    return {"type": "object", "additionalProperties": members[1]} if members else field


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


# --- dataclasses <-> what JSON has ---------------------------------------------------------------------------


def _value_type_of_pairs(hint: Any) -> Any:
    """X of a field declared as tuple[tuple[str, X], ...], else None."""
    if typing.get_origin(hint) is not tuple:
        return None
    member = typing.get_args(hint)[0]
    inner = typing.get_args(member)
    is_pair = typing.get_origin(member) is tuple and len(inner) == 2 and inner[0] is str and inner[1] is not ...
    return inner[1] if is_pair else None


def _plain(hint: Any, value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if dataclasses.is_dataclass(value):
        hints = _hints(value.__class__)
        return {name: _plain(hints[name], getattr(value, name)) for name in _field_names(value)}
    inner = _value_type_of_pairs(hint)
    if inner is not None:
        return {name: _plain(inner, v) for name, v in value}
    if isinstance(value, tuple):
        return [_plain(None, v) for v in value]
    return value.value if isinstance(value, Enum) else value


def _pairs(hint: Any, plain: Any) -> Any:
    """Objects back to pairs, wherever the declaration asks for pairs."""
    if _value_type_of_pairs(hint) is not None and isinstance(plain, dict):
        return list(plain.items())
    for member in typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,):
        if isinstance(member, type) and dataclasses.is_dataclass(member) and isinstance(plain, dict):
            hints = _hints(member)
            return {name: _pairs(hints.get(name), value) for name, value in plain.items()}
    if typing.get_origin(hint) is tuple and isinstance(plain, list):
        return [_pairs(typing.get_args(hint)[0], value) for value in plain]
    return plain


@functools.cache
def _hints(declared: type) -> dict[str, Any]:
    """The types of a dataclass's fields; working them out takes longer than all else here."""
    return typing.get_type_hints(declared)


def _field_names(value: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(value)]
